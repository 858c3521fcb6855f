#include "server/rpc/admission.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/core/cost.h"
#include "server/rpc/status.h"

namespace attention::rpc {

Admission::Ticket::Ticket(Admission& admission) : admission_(admission) {
  const std::lock_guard<std::mutex> lock(admission_.mutex_);
  ++admission_.requests_;
  ++admission_.tickets_;
}

Admission::Ticket::~Ticket() {
  const std::lock_guard<std::mutex> lock(admission_.mutex_);
  admission_.bytes_ -= bytes_;
  if (!answered_) --admission_.requests_;
  --admission_.tickets_;
}

absl::Status Admission::Ticket::Take(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(admission_.mutex_);
  return admission_.TakeLocked(*this, bytes);
}

void Admission::Ticket::Answered() {
  const std::lock_guard<std::mutex> lock(admission_.mutex_);
  if (!std::exchange(answered_, true)) --admission_.requests_;
}

absl::StatusOr<std::shared_ptr<Admission::Ticket>> Admission::Enter(
    int64_t bytes) {
  // Outlives the lock below: its destructor takes it too.
  std::shared_ptr<Ticket> ticket(new Ticket(*this));
  absl::Status status;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (draining_) {
      status = WithReason(absl::UnavailableError("the server is draining"),
                          "DRAINING");
    } else if (bytes > limits_.max_message_bytes) {
      status = OverLimit("bytes of the request message:", bytes,
                         limits_.max_message_bytes, "max-message-bytes");
    } else if (requests_ > limits_.max_requests_in_flight) {
      status = MayFitLater(WithReason(
          absl::ResourceExhaustedError(absl::StrCat(
              "the server already holds ", requests_ - 1,
              " requests, the limit that --max-requests-in-flight sets")),
          "BUSY", {{"flag", "--max-requests-in-flight"}}));
    } else {
      status = TakeLocked(*ticket, bytes);
    }
  }
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
        "BUSY", {{"flag", "--max-bytes-in-flight"}}));
  }
  bytes_ += bytes;
  ticket.bytes_ = of_request;
  return absl::OkStatus();
}

void Admission::Drain() {
  const std::lock_guard<std::mutex> lock(mutex_);
  draining_ = true;
}

int32_t Admission::requests() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return requests_;
}

int64_t Admission::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return bytes_;
}

bool Admission::idle() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tickets_ == 0;
}

}  // namespace attention::rpc
