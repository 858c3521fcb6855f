#include "server/rpc/door/admission.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/core/pool/brief_lock.h"
#include "server/core/saturating.h"
#include "server/rpc/door/status.h"

namespace attention::rpc {
namespace {

absl::Status Busy(absl::string_view what, const char* flag) {
  return MayFitLater(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                    what, ", the limit that ", flag, " sets")),
                                v1::ERROR_REASON_BUSY, {{"flag", flag}}));
}

}  // namespace

void Admission::Ticket::Release() {
  const auto lock = core::BriefLock(admission_.mutex_);
  if (!std::exchange(entered_, false)) return;
  for (size_t kind = 0; kind < memory::kKinds; ++kind) {
    if (taken_[kind] == 0) continue;
    admission_.ledger_.Give(static_cast<memory::Kind>(kind), taken_[kind]);
  }
  if (is_stream_) {
    --admission_.streams_;
  } else if (!answered_) {
    --admission_.requests_;
  }
  --admission_.tickets_;
}

absl::Status Admission::Ticket::Take(memory::Kind kind, int64_t bytes) {
  const auto lock = core::BriefLock(admission_.mutex_);
  return admission_.TakeLocked(*this, kind, bytes);
}

void Admission::Ticket::Return(memory::Kind kind, int64_t bytes) {
  const auto lock = core::BriefLock(admission_.mutex_);
  if (!entered_) return;  // given back already
  admission_.ledger_.Give(kind, bytes);
  taken_[static_cast<size_t>(kind)] -= bytes;
  bytes_ -= bytes;
}

void Admission::Ticket::Answered() {
  const auto lock = core::BriefLock(admission_.mutex_);
  if (!std::exchange(answered_, true) && !is_stream_) --admission_.requests_;
}

absl::Status Admission::Enter(int64_t bytes, Ticket& ticket) {
  const auto lock = core::BriefLock(mutex_);
  absl::Status status = CheckLocked(bytes);
  if (!status.ok()) return status;
  if (requests_ >= limits_.max_requests_in_flight) {
    return Busy(
        absl::StrCat("the server already holds ", requests_, " requests"),
        "--max-requests-in-flight");
  }
  return EnterLocked(bytes, ticket, requests_);
}

absl::Status Admission::EnterStream(int64_t bytes, Ticket& ticket) {
  const auto lock = core::BriefLock(mutex_);
  absl::Status status = CheckLocked(bytes);
  if (!status.ok()) return status;
  if (streams_ >= limits_.max_open_streams) {
    return Busy(absl::StrCat(streams_, " streams are open"),
                "--max-open-streams");
  }
  ticket.is_stream_ = true;
  return EnterLocked(bytes, ticket, streams_);
}

absl::Status Admission::CheckLocked(int64_t bytes) const {
  if (draining_) {
    return WithReason(absl::UnavailableError("the server is draining"),
                      v1::ERROR_REASON_DRAINING);
  }
  if (bytes <= limits_.max_message_bytes) return absl::OkStatus();
  return OverLimit("bytes of the request message:", bytes,
                   limits_.max_message_bytes, "max-message-bytes");
}

absl::Status Admission::EnterLocked(int64_t bytes, Ticket& ticket,
                                    int32_t& places) {
  absl::Status status = TakeLocked(ticket, memory::Kind::kMessages, bytes);
  if (!status.ok()) return status;
  ticket.entered_ = true;
  ++places;
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

absl::Status Admission::TakeLocked(Ticket& ticket, memory::Kind kind,
                                   int64_t bytes) {
  const int64_t of_request = core::SaturatingAdd(ticket.bytes_, bytes);
  const int64_t lendable = ledger_.lendable();
  if (of_request > lendable) {
    return OverLimit("bytes of this request:", of_request, lendable,
                     "memory-limit");
  }
  if (!ledger_.Take(kind, bytes)) {
    return MayFitLater(WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            "this request takes ", of_request, " bytes and the server holds ",
            ledger_.held() - ticket.bytes_,
            " for others, together over the limit of ", lendable,
            " that --memory-limit sets (an eighth of it is never lent)")),
        v1::ERROR_REASON_BUSY, {{"flag", "--memory-limit"}}));
  }
  ticket.taken_[static_cast<size_t>(kind)] += bytes;
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
