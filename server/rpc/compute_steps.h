// From the bytes of a request to the bytes of its reply, as steps.
#ifndef SERVER_RPC_COMPUTE_STEPS_H_
#define SERVER_RPC_COMPUTE_STEPS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "server/core/compute_pool.h"
#include "server/core/layer.h"
#include "server/rpc/compute_request.h"

namespace attention::rpc {

// Steps that check the elements of the request, and convert those that cannot
// be used in place; compute; and write the tensors of `reply`. Results are
// computed straight into the reply where its bytes can hold T. Of key and value
// nothing beyond key_lengths is read or checked. Allocates what CostOf counted;
// throws std::bad_alloc. INVALID_ARGUMENT if an option is out of range.
//
// The steps refer to the message behind `request`, to the memory behind `layer`
// (null without a weight set) and to `reply`, and own everything else. T is
// float or double, as request.compute_dtype() says.
template <typename T>
absl::StatusOr<core::Computation> ComputeSteps(
    const ComputeRequest& request, const core::LayerWeights<T>* layer,
    v1::ComputeAttentionResponse& reply);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_STEPS_H_
