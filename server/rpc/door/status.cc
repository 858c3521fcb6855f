#include "server/rpc/door/status.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/field_error.h"
#include "server/memory/ledger.h"

namespace attention::rpc {
namespace {

constexpr absl::string_view kRetryPayload = "attention/retry";
constexpr absl::string_view kErrorInfoPayload = "attention/error_info";

// What a client should wait; a request in the way takes about this long.
constexpr int32_t kRetryNanos = 100'000'000;

// A client refuses trailers beyond 8 KiB by default. The text is in them up to
// three times: as grpc-message, where a byte may take three, and twice in the
// details, where three bytes take four.
constexpr size_t kMaxTextBytes = 1024;
constexpr size_t kMaxFieldBytes = 256;

// `text`, or as many whole characters of it as fit with an ellipsis.
std::string Cut(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  constexpr absl::string_view kEllipsis = "...";
  size_t end = max_bytes - kEllipsis.size();
  const auto continues_character = [&](size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  while (end > 0 && continues_character(end)) --end;
  return absl::StrCat(text.substr(0, end), kEllipsis);
}

// The reason of a status that says none.
v1::ErrorReason ReasonOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return ErrorField(status).empty() ? v1::ERROR_REASON_MALFORMED_MESSAGE
                                        : v1::ERROR_REASON_INVALID_FIELD;
    case absl::StatusCode::kNotFound:
      return v1::ERROR_REASON_NOT_FOUND;
    case absl::StatusCode::kAborted:
      return v1::ERROR_REASON_VERSION_CONFLICT;
    case absl::StatusCode::kFailedPrecondition:
      return v1::ERROR_REASON_FAILED_PRECONDITION;
    case absl::StatusCode::kResourceExhausted:
      return status.GetPayload(kRetryPayload).has_value()
                 ? v1::ERROR_REASON_BUSY
                 : v1::ERROR_REASON_LIMIT_EXCEEDED;
    case absl::StatusCode::kDeadlineExceeded:
      return v1::ERROR_REASON_DEADLINE_EXCEEDED;
    case absl::StatusCode::kCancelled:
      return v1::ERROR_REASON_CANCELLED;
    case absl::StatusCode::kDataLoss:
      return v1::ERROR_REASON_DATA_LOSS;
    case absl::StatusCode::kUnavailable:
      return v1::ERROR_REASON_STORE_UNAVAILABLE;
    case absl::StatusCode::kUnimplemented:
      return v1::ERROR_REASON_UNKNOWN_METHOD;
    default:
      return v1::ERROR_REASON_INTERNAL;
  }
}

}  // namespace

absl::Status WithReason(
    absl::Status status, v1::ErrorReason reason,
    const std::vector<std::pair<std::string, std::string>>& metadata) {
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(
      absl::StripPrefix(v1::ErrorReason_Name(reason), "ERROR_REASON_")));
  info.set_domain(std::string(kErrorDomain));
  for (const auto& [key, text] : metadata) {
    (*info.mutable_metadata())[key] = text;
  }
  status.SetPayload(kErrorInfoPayload, absl::Cord(info.SerializeAsString()));
  return status;
}

bool HasReason(const absl::Status& status) {
  return status.GetPayload(kErrorInfoPayload).has_value();
}

absl::Status OverLimit(absl::string_view what, int64_t needed, int64_t limit,
                       absl::string_view flag) {
  return WithReason(absl::ResourceExhaustedError(
                        absl::StrCat(what, " ", needed, ", over the limit of ",
                                     limit, " that --", flag, " sets")),
                    v1::ERROR_REASON_LIMIT_EXCEEDED,
                    {{"flag", absl::StrCat("--", flag)},
                     {"limit", absl::StrCat(limit)},
                     {"needed", absl::StrCat(needed)}});
}

absl::Status OfLedger(const absl::Status& status) {
  const std::optional<memory::NotLentFigures> figures =
      memory::FiguresOf(status);
  if (!figures || HasReason(status)) return status;
  if (figures->needed <= figures->lendable) {
    return MayFitLater(WithReason(status, v1::ERROR_REASON_BUSY,
                                  {{"flag", "--memory-limit"}}));
  }
  return WithReason(status, v1::ERROR_REASON_LIMIT_EXCEEDED,
                    {{"flag", "--memory-limit"},
                     {"limit", absl::StrCat(figures->lendable)},
                     {"needed", absl::StrCat(figures->needed)}});
}

absl::Status Busy(absl::string_view what, const char* flag) {
  return MayFitLater(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                    what, ", the limit that ", flag, " sets")),
                                v1::ERROR_REASON_BUSY, {{"flag", flag}}));
}

absl::Status MayFitLater(absl::Status status) {
  status.SetPayload(kRetryPayload, absl::Cord());
  return status;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message = Cut(status.message(), kMaxTextBytes);

  google::rpc::Status details;
  details.set_code(static_cast<int32_t>(code));
  details.set_message(message);
  if (const std::string field = ErrorField(status); !field.empty()) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(Cut(field, kMaxFieldBytes));
    absl::string_view description = status.message();
    absl::ConsumePrefix(&description, absl::StrCat(field, " "));
    violation->set_description(Cut(description, kMaxTextBytes));
    details.add_details()->PackFrom(bad_request);
  }
  if (status.GetPayload(kRetryPayload).has_value()) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_nanos(kRetryNanos);
    details.add_details()->PackFrom(retry);
  }
  const absl::Status reasoned =
      HasReason(status) ? status : WithReason(status, ReasonOf(status));
  google::rpc::ErrorInfo info;
  info.ParseFromString(std::string(*reasoned.GetPayload(kErrorInfoPayload)));
  details.add_details()->PackFrom(info);
  return {code, message, details.SerializeAsString()};
}

}  // namespace attention::rpc
