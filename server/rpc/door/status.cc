#include "server/rpc/door/status.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/field_error.h"

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

}  // namespace

absl::Status WithReason(
    absl::Status status, absl::string_view reason,
    const std::vector<std::pair<std::string, std::string>>& metadata) {
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(reason));
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
                    "LIMIT_EXCEEDED",
                    {{"flag", absl::StrCat("--", flag)},
                     {"limit", absl::StrCat(limit)},
                     {"needed", absl::StrCat(needed)}});
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
  if (const auto payload = status.GetPayload(kErrorInfoPayload)) {
    google::rpc::ErrorInfo info;
    info.ParseFromString(std::string(*payload));
    details.add_details()->PackFrom(info);
  }
  return {code, message, details.SerializeAsString()};
}

}  // namespace attention::rpc
