// Touches what a lock guards without it: clang must refuse this file
// (CMakeLists.txt beside it).
#include "server/core/mutex.h"

namespace attention::core {

class Counter {
 public:
  int Next() { return ++count_; }

 private:
  Mutex mutex_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

int NextOf(Counter& counter);
int NextOf(Counter& counter) { return counter.Next(); }

}  // namespace attention::core
