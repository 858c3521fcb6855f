// The handler of ComputeAttention.
#ifndef SERVER_RPC_COMPUTE_HANDLER_H_
#define SERVER_RPC_COMPUTE_HANDLER_H_

#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <memory>

#include "server/rpc/backend.h"
#include "server/rpc/call.h"

namespace attention::rpc {

// Takes the bytes out of `request`, reads them but for the tensors' data, and
// resolves the weight set, now; then, on the pool, validates, allocates,
// gathers, computes and serializes. Calls `send` with the bytes of the reply,
// or finishes the call with an error. `backend` outlives the call.
void ComputeAttention(const std::shared_ptr<Call>& call,
                      grpc::ByteBuffer& request, const Backend& backend,
                      std::function<void(grpc::ByteBuffer)> send);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_HANDLER_H_
