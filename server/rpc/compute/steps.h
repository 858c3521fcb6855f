// From the bytes of a request to the bytes of its reply, as steps.
#ifndef SERVER_RPC_COMPUTE_STEPS_H_
#define SERVER_RPC_COMPUTE_STEPS_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "server/core/layer/layer.h"
#include "server/core/pool/compute_pool.h"
#include "server/rpc/compute/reply.h"
#include "server/rpc/compute/request.h"
#include "server/rpc/tensors/buffer_pool.h"
#include "server/rpc/tensors/received_request.h"

namespace attention::rpc {

// Steps that gather and check the elements of the request, and convert those
// that cannot be used in place; call `gathered`, after which what was
// received is not read any more; compute; and write the tensors of
// `reply`. Results are computed straight into the reply where its bytes can
// hold T. Of key and value nothing beyond key_lengths is used or checked.
// Allocates what CostOf counted; throws std::bad_alloc. INVALID_ARGUMENT if an
// option is out of range.
//
// The steps refer to `request`, to `received` behind it, to the memory behind
// `layer` (null without a weight set), to `reply`, and to
// `owner`, which holds everything else. T is float or double, as
// request.compute_dtype() says.
template <typename T>
absl::StatusOr<core::Computation> ComputeSteps(
    const ComputeRequest& request, const ReceivedRequest& received,
    std::function<void()> gathered, const core::LayerWeights<T>* layer,
    BufferPool& buffers, ComputeReply& reply, std::shared_ptr<void>& owner);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_STEPS_H_
