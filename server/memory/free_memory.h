// Memory that the allocator keeps free.
#ifndef SERVER_MEMORY_FREE_MEMORY_H_
#define SERVER_MEMORY_FREE_MEMORY_H_

#include <cstdint>
#include <thread>

#include "server/core/mutex.h"
#include "server/memory/ledger.h"

namespace attention::memory {

// A thread that gives back to the system what the allocator keeps free: it
// would be resident beside what the ledger lends again
// (docs/adr/0008-tcmalloc.md). While there is work, `kept_bytes` are left for
// it, since to clear pages anew takes time; when nothing is under way any more,
// none.
class FreeMemory {
 public:
  // The ledger outlives this.
  FreeMemory(const Ledger& ledger, int64_t kept_bytes);
  ~FreeMemory();
  FreeMemory(const FreeMemory&) = delete;
  FreeMemory& operator=(const FreeMemory&) = delete;

 private:
  void Run();
  void Stop();
  // Whether nothing is held but versions.
  bool IsIdle() const;

  const Ledger& ledger_;
  const int64_t kept_bytes_;
  core::Mutex mutex_;
  core::CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace attention::memory

#endif  // SERVER_MEMORY_FREE_MEMORY_H_
