// The plan of a ComputeAttentionRequest.
#ifndef SERVER_RPC_COMPUTE_FORWARD_PLAN_H_
#define SERVER_RPC_COMPUTE_FORWARD_PLAN_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/rpc/compute/plan.h"
#include "server/rpc/compute/reply.h"
#include "server/rpc/door/limits.h"
#include "server/rpc/tensors/received_request.h"
#include "server/weights/catalog.h"

namespace attention::rpc {

// Resolves the weight set, if the request names one, and checks everything that
// can be checked without reading an element of data. INVALID_ARGUMENT,
// NOT_FOUND or FAILED_PRECONDITION, naming the field.
//
// The plan's steps gather and check the elements, convert those that cannot be
// used in place, give the received bytes back, compute, and write `reply`.
// Results are computed straight into the reply where its bytes can hold the
// compute type. Of key and value nothing beyond key_lengths is used or checked.
//
// `request` and `reply` outlive the plan. REQUIRES: request.Parse().ok().
absl::StatusOr<std::unique_ptr<Plan>> PlanForward(
    ReceivedRequest& request, const weights::Catalog& catalog,
    const Limits& limits, int threads, ComputeReply& reply);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_FORWARD_PLAN_H_
