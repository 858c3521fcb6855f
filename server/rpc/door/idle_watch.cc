#include "server/rpc/door/idle_watch.h"

#include <utility>

namespace attention::rpc {

void IdleWatch::Start(std::weak_ptr<void> owner,
                      std::chrono::duration<double> interval,
                      std::function<bool()> goes_on) {
  owner_ = std::move(owner);
  interval_ =
      std::chrono::duration_cast<std::chrono::system_clock::duration>(interval);
  goes_on_ = std::move(goes_on);
  SetAlarm();
}

void IdleWatch::Stop() {
  const core::MutexLock lock(mutex_);
  stopped_ = true;
  if (alarm_ != nullptr) alarm_->Cancel();
}

void IdleWatch::SetAlarm() {
  const core::MutexLock lock(mutex_);
  if (stopped_) return;
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(std::chrono::system_clock::now() + interval_,
              [this, owner = owner_](bool due) {
                const auto alive = owner.lock();
                if (due && alive != nullptr && goes_on_()) SetAlarm();
              });
}

}  // namespace attention::rpc
