// The uploads that are under way.
#ifndef SERVER_RPC_WEIGHTS_UPLOADS_H_
#define SERVER_RPC_WEIGHTS_UPLOADS_H_

#include <functional>
#include <list>

#include "server/core/mutex.h"

namespace attention::rpc {

// Knows which upload began last: it gives way when one that began before it
// needs memory and there is none. Thread-safe.
class Uploads {
 public:
  // An upload's place among the others, for as long as this lives. It must not
  // outlive its Uploads.
  class Place {
   public:
    Place() = default;
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    friend class Uploads;
    struct Entry {
      std::function<void()> refuse;
    };
    Uploads* uploads_ = nullptr;
    std::list<Entry>::iterator at_;
  };

  // An upload begins: it is the youngest now. `refuse` ends it; it is called on
  // any thread, and may be called when it has ended.
  void Begin(std::function<void()> refuse, Place& place);

  // Refuses the youngest; false if that is the one at `place`, which is left to
  // the caller.
  bool RefuseYoungerThan(const Place& place);

 private:
  void End(std::list<Place::Entry>::iterator at);

  core::Mutex mutex_;
  std::list<Place::Entry> oldest_first_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_WEIGHTS_UPLOADS_H_
