#include "server/rpc/weights/uploads.h"

#include <utility>

namespace attention::rpc {

Uploads::Place::~Place() {
  if (uploads_ == nullptr) return;
  const std::lock_guard<std::mutex> lock(uploads_->mutex_);
  uploads_->oldest_first_.erase(at_);
}

void Uploads::Begin(std::function<void()> refuse, Place& place) {
  const std::lock_guard<std::mutex> lock(mutex_);
  place.at_ = oldest_first_.insert(oldest_first_.end(), {std::move(refuse)});
  place.uploads_ = this;
}

bool Uploads::RefuseYoungerThan(const Place& place) {
  std::function<void()> refuse;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (&oldest_first_.back() == &*place.at_) return false;
    refuse = oldest_first_.back().refuse;
  }
  refuse();
  return true;
}

}  // namespace attention::rpc
