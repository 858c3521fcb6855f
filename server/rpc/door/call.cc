#include "server/rpc/door/call.h"

#include <spdlog/spdlog.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/rpc/door/line_limit.h"
#include "server/rpc/door/message.h"
#include "server/rpc/door/status.h"

namespace attention::rpc {
namespace {

int64_t Microseconds(Call::Clock::duration time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
}

bool IsOurMistake(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInternal ||
         status.code() == absl::StatusCode::kUnknown;
}

LineLimit& LinesOf(spdlog::level::level_enum level) {
  static LineLimit refusals(Call::kLinesPerSecond);
  static LineLimit mistakes(Call::kLinesPerSecond);
  return level == spdlog::level::err ? mistakes : refusals;
}

void LogLeftOut(spdlog::level::level_enum level, int64_t count) {
  if (count == 0) return;
  spdlog::log(level, "{} refusals before this line were left out: {} a second",
              count, Call::kLinesPerSecond);
}

}  // namespace

void Call::LogLeftOut() {
  for (const auto level : {spdlog::level::info, spdlog::level::err}) {
    rpc::LogLeftOut(level, LinesOf(level).TakeLeftOut());
  }
}

absl::Status OutOfMemory() {
  static const absl::Status made = MayFitLater(
      WithReason(absl::ResourceExhaustedError("the server is out of memory"),
                 v1::ERROR_REASON_BUSY));
  return made;
}

absl::Status FromPool(const absl::Status& status) {
  const absl::Status told = OfLedger(status);
  // A limit says which one it is; a failed allocation does not.
  const bool bare = told.code() == absl::StatusCode::kResourceExhausted &&
                    !HasReason(told) && ErrorField(told).empty();
  return bare ? OutOfMemory() : told;
}

Call::Call(Facts facts, std::shared_ptr<core::Cancellation> cancellation,
           std::function<void(grpc::Status)> answer)
    : facts_(std::move(facts)),
      cancellation_(std::move(cancellation)),
      answer_(std::move(answer)) {
  static_cast<void>(OutOfMemory());  // made while there is memory for it
}

Call::~Call() {
  if (!finished_) Finish(absl::InternalError("the call was dropped"));
}

void Call::set_timing(Clock::duration queue, Clock::duration compute) {
  queue_ = queue;
  compute_ = compute;
}

void Call::Finish(const absl::Status& status) {
  if (finished_.exchange(true)) return;
  // Out of memory even for the text: the code alone still ends the call.
  grpc::Status answer(grpc::StatusCode::RESOURCE_EXHAUSTED, "");
  try {
    const absl::Status told = status.ok() ? WriteReply() : status;
    Log(told);
    if (!told.ok() && facts_.tell_id) facts_.tell_id(facts_.id());
    answer = ToGrpcStatus(IsOurMistake(told) ? Concealed() : told);
  } catch (const std::bad_alloc&) {
    if (!status.ok()) {
      answer = {static_cast<grpc::StatusCode>(status.code()), ""};
    }
  }
  reply_.reset();
  if (ticket_ != nullptr) ticket_->Answered();
  // From here on only the reactor holds it, until gRPC is done.
  ticket_.reset();
  answer_(std::move(answer));
}

absl::Status Call::WriteReply() {
  if (reply_ == nullptr) return absl::OkStatus();
  try {
    *out_ = SerializeMessage(*reply_);
  } catch (const std::length_error& error) {
    return absl::InternalError(error.what());
  }
  reply_bytes_ += static_cast<int64_t>(out_->Length());
  return absl::OkStatus();
}

absl::Status Call::Concealed() const {
  const std::string id = facts_.id();
  return WithReason(
      absl::InternalError(absl::StrCat(
          "internal error; the server's log has it under request ", id)),
      v1::ERROR_REASON_INTERNAL, {{"request_id", id}});
}

void Call::Guard(absl::FunctionRef<void()> body) {
  try {
    body();
  } catch (const std::bad_alloc&) {
    Finish(OutOfMemory());
  } catch (const std::exception& exception) {
    Finish(absl::InternalError(
        absl::StrCat("a handler threw ", exception.what())));
  } catch (...) {
    Finish(absl::InternalError("a handler threw an unknown exception"));
  }
}

void Call::Log(const absl::Status& status) const {
  // A line costs more than a tiny computation, so those of successes, which
  // are many, have to be asked for.
  const auto level = IsOurMistake(status) ? spdlog::level::err
                     : status.ok()        ? spdlog::level::debug
                                          : spdlog::level::info;
  if (!spdlog::should_log(level)) return;
  if (!status.ok()) {
    const LineLimit::Verdict verdict = LinesOf(level).Ask();
    if (!verdict.write) return;
    rpc::LogLeftOut(level, verdict.left_out);
  }
  spdlog::log(
      level,
      "{} id={} code={} request_bytes={} reply_bytes={} queue_us={} "
      "compute_us={} total_us={} peer={}{}",
      facts_.method, facts_.id(), absl::StatusCodeToString(status.code()),
      facts_.request_bytes + request_bytes_, reply_bytes_, Microseconds(queue_),
      Microseconds(compute_), Microseconds(Clock::now() - received_),
      facts_.peer(),
      // Escaped, so that no text a client chose can forge a line.
      status.ok()
          ? ""
          : absl::StrCat(" error=\"", absl::CEscape(status.message()), "\""));
}

}  // namespace attention::rpc
