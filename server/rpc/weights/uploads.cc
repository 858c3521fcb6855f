#include "server/rpc/weights/uploads.h"

#include <utility>

namespace attention::rpc {

Uploads::Place::~Place() {
  if (uploads_ != nullptr) uploads_->End(at_);
}

void Uploads::Begin(std::function<void()> refuse, Place& place) {
  const core::MutexLock lock(mutex_);
  place.at_ = oldest_first_.insert(oldest_first_.end(), {std::move(refuse)});
  place.uploads_ = this;
}

void Uploads::End(std::list<Place::Entry>::iterator at) {
  const core::MutexLock lock(mutex_);
  oldest_first_.erase(at);
}

bool Uploads::RefuseYoungerThan(const Place& place) {
  std::function<void()> refuse;
  {
    const core::MutexLock lock(mutex_);
    if (&oldest_first_.back() == &*place.at_) return false;
    refuse = oldest_first_.back().refuse;
  }
  refuse();
  return true;
}

}  // namespace attention::rpc
