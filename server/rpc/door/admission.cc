#include "server/rpc/door/admission.h"

#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "server/core/saturating.h"
#include "server/rpc/door/status.h"

namespace attention::rpc {

void Admission::Ticket::Release() {
  const core::MutexLock lock(admission_.mutex_);
  if (!std::exchange(entered_, false)) return;
  absl::InlinedVector<Amount, memory::kKinds> taken;
  for (size_t kind = 0; kind < memory::kKinds; ++kind) {
    if (taken_[kind] == 0) continue;
    taken.push_back({static_cast<memory::Kind>(kind), taken_[kind]});
  }
  admission_.ledger_.Give(taken);
  if (is_stream_) {
    --admission_.streams_;
  } else if (!answered_) {
    --admission_.requests_;
  }
  --admission_.tickets_;
}

absl::Status Admission::Ticket::Take(std::initializer_list<Amount> amounts) {
  memory::Ledger& ledger = admission_.ledger_;
  // Without the lock: what is kept for later may have to be given back first.
  const bool lent = ledger.Take(amounts);
  const core::MutexLock lock(admission_.mutex_);
  if (!lent) {
    int64_t more = 0;
    for (const Amount& amount : amounts) {
      more = core::SaturatingAdd(more, amount.bytes);
    }
    return OfLedger(memory::NotLent(ledger, "this request", bytes_, more));
  }
  if (!entered_) {  // all has been given back meanwhile
    ledger.Give(amounts);
    return absl::OkStatus();
  }
  for (const Amount& amount : amounts) {
    taken_[static_cast<size_t>(amount.kind)] += amount.bytes;
    bytes_ += amount.bytes;
  }
  return absl::OkStatus();
}

void Admission::Ticket::Return(Amount amount) {
  const core::MutexLock lock(admission_.mutex_);
  if (!entered_) return;  // given back already
  admission_.ledger_.Give(amount.kind, amount.bytes);
  taken_[static_cast<size_t>(amount.kind)] -= amount.bytes;
  bytes_ -= amount.bytes;
}

void Admission::Ticket::Answered() {
  const core::MutexLock lock(admission_.mutex_);
  if (!std::exchange(answered_, true) && !is_stream_) --admission_.requests_;
}

absl::Status Admission::Enter(int64_t bytes, Ticket& ticket) {
  return ticket.Enter(bytes, /*is_stream=*/false);
}

absl::Status Admission::EnterStream(int64_t bytes, Ticket& ticket) {
  return ticket.Enter(bytes, /*is_stream=*/true);
}

absl::Status Admission::Ticket::Enter(int64_t bytes, bool is_stream) {
  absl::Status status = TakePlace(bytes, is_stream);
  if (!status.ok()) return status;
  status = Take({{memory::Kind::kMessages, bytes}});
  if (!status.ok()) Release();
  return status;
}

absl::Status Admission::Ticket::TakePlace(int64_t bytes, bool is_stream) {
  const Limits& limits = admission_.limits_;
  const core::MutexLock lock(admission_.mutex_);
  is_stream_ = is_stream;
  if (admission_.draining_) {
    return WithReason(absl::UnavailableError("the server is draining"),
                      v1::ERROR_REASON_DRAINING);
  }
  if (bytes > limits.max_message_bytes) {
    return OverLimit("bytes of the request message:", bytes,
                     limits.max_message_bytes, "max-message-bytes");
  }
  if (is_stream && admission_.streams_ >= limits.max_open_streams) {
    return Busy(absl::StrCat(admission_.streams_, " streams are open"),
                "--max-open-streams");
  }
  if (!is_stream && admission_.requests_ >= limits.max_requests_in_flight) {
    return Busy(absl::StrCat("the server already holds ", admission_.requests_,
                             " requests"),
                "--max-requests-in-flight");
  }
  ++(is_stream ? admission_.streams_ : admission_.requests_);
  ++admission_.tickets_;
  entered_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Admission::Ticket>> Admission::Enter(
    int64_t bytes) {
  auto ticket = std::make_shared<Ticket>(*this);
  absl::Status status = Enter(bytes, *ticket);
  if (!status.ok()) return status;
  return ticket;
}

void Admission::Drain() {
  std::list<std::function<void()>> listeners;
  {
    const core::MutexLock lock(mutex_);
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
    const core::MutexLock lock(mutex_);
    watch.listener_ = drain_listeners_.insert(drain_listeners_.end(), listener);
    watch.admission_ = this;
    now = draining_;
  }
  if (now) listener();
  return watch;
}

Admission::DrainWatch::~DrainWatch() {
  if (admission_ != nullptr) admission_->Forget(listener_);
}

void Admission::Forget(std::list<std::function<void()>>::iterator listener) {
  const core::MutexLock lock(mutex_);
  drain_listeners_.erase(listener);
}

Admission::DrainWatch& Admission::DrainWatch::operator=(
    DrainWatch&& other) noexcept {
  std::swap(admission_, other.admission_);
  std::swap(listener_, other.listener_);
  return *this;
}

int32_t Admission::requests() const {
  const core::MutexLock lock(mutex_);
  return requests_;
}

bool Admission::idle() const {
  const core::MutexLock lock(mutex_);
  return tickets_ == 0;
}

}  // namespace attention::rpc
