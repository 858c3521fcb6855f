// From a message to what it asks for.
#ifndef SERVER_RPC_COMPUTE_PARSE_H_
#define SERVER_RPC_COMPUTE_PARSE_H_

#include "absl/status/statusor.h"
#include "server/rpc/compute/request.h"
#include "server/rpc/door/limits.h"
#include "server/rpc/tensors/received_request.h"
#include "server/weights/weight_set.h"

namespace attention::rpc {

// What projects the tensors of a request.
struct Projecting {
  const weights::WeightSetDims* dims = nullptr;  // null: nothing does
  // That they are of; null where they came with the request.
  const weights::WeightSetVersion* version = nullptr;
};

// Checks every field against the contract and the others, by shapes alone: no
// element is read.
// REQUIRES: received.Parse().ok().
//
// Errors are FieldErrors: INVALID_ARGUMENT where the request contradicts itself
// or the contract, FAILED_PRECONDITION where it does not fit a stored weight
// set.
// The range of options is left to core::ValidateAttention.
absl::StatusOr<ComputeRequest> ParseComputeRequest(
    const ReceivedRequest& received, const Projecting& projecting,
    const Limits& limits);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_PARSE_H_
