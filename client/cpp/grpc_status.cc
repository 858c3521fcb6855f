#include "client/cpp/grpc_status.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "attention/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace attention::client {
namespace {

constexpr absl::string_view kTypePrefix = "type.googleapis.com/";

// Fills `detail` from the payload of its type; false if there is none.
template <typename Detail>
bool FindDetail(const absl::Status& status, Detail& detail) {
  const auto payload = status.GetPayload(std::string(kTypePrefix) +
                                         Detail::descriptor()->full_name());
  return payload.has_value() && detail.ParseFromString(std::string(*payload));
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
  google::rpc::Status details;
  if (result.ok() || !details.ParseFromString(status.error_details())) {
    return result;
  }
  for (const auto& detail : details.details()) {
    result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return result;
}

std::vector<FieldViolation> FieldViolations(const absl::Status& status) {
  std::vector<FieldViolation> violations;
  google::rpc::BadRequest bad_request;
  if (FindDetail(status, bad_request)) {
    for (const auto& violation : bad_request.field_violations()) {
      violations.push_back({violation.field(), violation.description()});
    }
  }
  return violations;
}

std::optional<std::chrono::nanoseconds> RetryDelay(const absl::Status& status) {
  google::rpc::RetryInfo retry;
  if (!FindDetail(status, retry)) return std::nullopt;
  return std::chrono::seconds(retry.retry_delay().seconds()) +
         std::chrono::nanoseconds(retry.retry_delay().nanos());
}

}  // namespace attention::client
