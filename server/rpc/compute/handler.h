// The handler of ComputeAttention.
#ifndef SERVER_RPC_COMPUTE_HANDLER_H_
#define SERVER_RPC_COMPUTE_HANDLER_H_

#include <functional>
#include <memory>

#include "server/rpc/backend.h"
#include "server/rpc/compute/reply.h"
#include "server/rpc/door/call.h"
#include "server/rpc/tensors/received_request.h"

namespace attention::rpc {

// Parses a request that has been received, resolves its weight set, validates,
// allocates, gathers and computes, all of it on the pool. Calls `send` with the
// reply, which lives until it returns, or finishes the call with an error.
// `backend` outlives the call.
void ComputeAttention(const std::shared_ptr<Call>& call,
                      std::shared_ptr<ReceivedRequest> request,
                      const Backend& backend,
                      std::function<void(ComputeReply&&)> send);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_HANDLER_H_
