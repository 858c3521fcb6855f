#include "server/rpc/door/admission.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/core/pool/brief_lock.h"
#include "server/core/saturating.h"
#include "server/rpc/door/status.h"

namespace attention::rpc {

void Admission::Ticket::Release() {
  const auto lock = core::BriefLock(admission_.mutex_);
  if (!std::exchange(entered_, false)) return;
  admission_.bytes_ -= bytes_;
  if (!answered_) --admission_.requests_;
  --admission_.tickets_;
}

absl::Status Admission::Ticket::Take(int64_t bytes) {
  const auto lock = core::BriefLock(admission_.mutex_);
  return admission_.TakeLocked(*this, bytes);
}

void Admission::Ticket::Answered() {
  const auto lock = core::BriefLock(admission_.mutex_);
  if (!std::exchange(answered_, true)) --admission_.requests_;
}

absl::Status Admission::Enter(int64_t bytes, Ticket& ticket) {
  const auto lock = core::BriefLock(mutex_);
  if (draining_) {
    return WithReason(absl::UnavailableError("the server is draining"),
                      v1::ERROR_REASON_DRAINING);
  }
  if (bytes > limits_.max_message_bytes) {
    return OverLimit("bytes of the request message:", bytes,
                     limits_.max_message_bytes, "max-message-bytes");
  }
  if (requests_ >= limits_.max_requests_in_flight) {
    return MayFitLater(WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            "the server already holds ", requests_,
            " requests, the limit that --max-requests-in-flight sets")),
        v1::ERROR_REASON_BUSY, {{"flag", "--max-requests-in-flight"}}));
  }
  absl::Status status = TakeLocked(ticket, bytes);
  if (!status.ok()) return status;
  ticket.entered_ = true;
  ++requests_;
  ++tickets_;
  return status;
}

absl::StatusOr<std::shared_ptr<Admission::Ticket>> Admission::Enter(
    int64_t bytes) {
  auto ticket = std::make_shared<Ticket>(*this);
  absl::Status status = Enter(bytes, *ticket);
  if (!status.ok()) return status;
  return ticket;
}

absl::Status Admission::TakeLocked(Ticket& ticket, int64_t bytes) {
  const int64_t max_bytes = limits_.max_bytes_in_flight;
  const int64_t of_request = core::SaturatingAdd(ticket.bytes_, bytes);
  if (of_request > max_bytes) {
    return OverLimit("bytes of this request:", of_request, max_bytes,
                     "max-bytes-in-flight");
  }
  if (core::SaturatingAdd(bytes_, bytes) > max_bytes) {
    return MayFitLater(WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            "this request takes ", of_request, " bytes and the server holds ",
            bytes_ - ticket.bytes_, " for others, together over the limit of ",
            max_bytes, " that --max-bytes-in-flight sets")),
        v1::ERROR_REASON_BUSY, {{"flag", "--max-bytes-in-flight"}}));
  }
  bytes_ += bytes;
  ticket.bytes_ = of_request;
  return absl::OkStatus();
}

void Admission::Drain() {
  std::list<std::function<void()>> listeners;
  {
    const auto lock = core::BriefLock(mutex_);
    draining_ = true;
    listeners = drain_listeners_;
  }
  for (const auto& listener : listeners) listener();
}

Admission::DrainWatch Admission::OnDrain(
    const std::function<void()>& listener) {
  DrainWatch watch;
  bool now = false;
  {
    const auto lock = core::BriefLock(mutex_);
    watch.listener_ = drain_listeners_.insert(drain_listeners_.end(), listener);
    watch.admission_ = this;
    now = draining_;
  }
  if (now) listener();
  return watch;
}

Admission::DrainWatch::~DrainWatch() {
  if (admission_ == nullptr) return;
  const std::lock_guard<std::mutex> lock(admission_->mutex_);
  admission_->drain_listeners_.erase(listener_);
}

Admission::DrainWatch& Admission::DrainWatch::operator=(
    DrainWatch&& other) noexcept {
  std::swap(admission_, other.admission_);
  std::swap(listener_, other.listener_);
  return *this;
}

int32_t Admission::requests() const {
  const auto lock = core::BriefLock(mutex_);
  return requests_;
}

bool Admission::idle() const {
  const auto lock = core::BriefLock(mutex_);
  return tickets_ == 0;
}

}  // namespace attention::rpc
