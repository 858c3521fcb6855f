// From a message to what it asks for.
#ifndef SERVER_RPC_COMPUTE_PARSE_H_
#define SERVER_RPC_COMPUTE_PARSE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "attention/v1/attention.pb.h"
#include "proto/split_request.h"
#include "server/rpc/compute/request.h"
#include "server/rpc/door/limits.h"
#include "server/weights/weight_set.h"

namespace attention::rpc {

// Checks every field against the contract and the others, by shapes alone: no
// element is read. `data` is that of the message's tensors. `version` is what
// weight_set resolved to, null without.
//
// Errors are FieldErrors: INVALID_ARGUMENT where the request contradicts itself
// or the contract, FAILED_PRECONDITION where it does not fit the weight set.
// The range of options is left to core::ValidateAttention.
absl::StatusOr<ComputeRequest> ParseComputeRequest(
    const v1::ComputeAttentionRequest& message,
    const PerTensor<absl::string_view>& data,
    const weights::WeightSetVersion* version, const Limits& limits);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_PARSE_H_
