// Ends what does not go on.
#ifndef SERVER_RPC_DOOR_IDLE_WATCH_H_
#define SERVER_RPC_DOOR_IDLE_WATCH_H_

#include <grpcpp/alarm.h>

#include <chrono>
#include <functional>
#include <memory>

#include "server/core/mutex.h"

namespace attention::rpc {

// Looks at a call again and again, at intervals. Thread-safe.
class IdleWatch {
 public:
  IdleWatch() = default;
  ~IdleWatch() = default;
  IdleWatch(const IdleWatch&) = delete;
  IdleWatch& operator=(const IdleWatch&) = delete;

  // Calls `goes_on` after each `interval`, on a thread of gRPC, until it is
  // false, Stop has been called or `owner`, who has this object, has ended.
  // Once. `goes_on` does not refer to the owner's shared_ptr.
  void Start(std::weak_ptr<void> owner, std::chrono::duration<double> interval,
             std::function<bool()> goes_on);

  // Nothing is looked at any more, but for a look that has begun.
  void Stop();

 private:
  void SetAlarm();

  std::weak_ptr<void> owner_;
  std::chrono::system_clock::duration interval_{};
  std::function<bool()> goes_on_;
  core::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_IDLE_WATCH_H_
