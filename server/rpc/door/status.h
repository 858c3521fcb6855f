// absl::Status -> grpc::Status, and what a status may carry on the way.
#ifndef SERVER_RPC_DOOR_STATUS_H_
#define SERVER_RPC_DOOR_STATUS_H_

#include <grpcpp/support/status.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "attention/v1/attention.pb.h"

namespace attention::rpc {

// Domain of every google.rpc.ErrorInfo of this service.
inline constexpr absl::string_view kErrorDomain = "attention.v1";

// RESOURCE_EXHAUSTED for a request that can never be served by this server:
// "<what> <needed>, over the limit of <limit> that --<flag> sets". ErrorInfo
// LIMIT_EXCEEDED with limit, flag and needed.
absl::Status OverLimit(absl::string_view what, int64_t needed, int64_t limit,
                       absl::string_view flag);

// RESOURCE_EXHAUSTED for a request that may fit later: "<what>, the limit that
// <flag> sets". ErrorInfo BUSY with the flag, and RetryInfo.
absl::Status Busy(absl::string_view what, const char* flag);

// Adds google.rpc.RetryInfo: the same request may succeed a little later.
absl::Status MayFitLater(absl::Status status);

// Says the reason of a refusal, where its code alone does not: the google.rpc.
// ErrorInfo it will carry. The last one counts.
absl::Status WithReason(
    absl::Status status, v1::ErrorReason reason,
    const std::vector<std::pair<std::string, std::string>>& metadata = {});

// A refusal of the ledger (memory::NotLent) as a client gets it: LIMIT_EXCEEDED
// of --memory-limit if it can never fit, else BUSY with RetryInfo. Any other
// status as it is.
absl::Status OfLedger(const absl::Status& status);

// Whether WithReason was applied.
bool HasReason(const absl::Status& status);

// The one place where a status becomes gRPC's. The code is the same; details
// are a serialized google.rpc.Status with BadRequest if the status names a
// field (proto/field_error.h), RetryInfo if it was added, and exactly one
// ErrorInfo: that of WithReason, or what the code stands for. A text longer
// than fits a trailer is cut.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_STATUS_H_
