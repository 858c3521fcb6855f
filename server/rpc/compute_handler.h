// The handler of ComputeAttention.
#ifndef SERVER_RPC_COMPUTE_HANDLER_H_
#define SERVER_RPC_COMPUTE_HANDLER_H_

#include <memory>

#include "attention/v1/attention.pb.h"
#include "server/core/compute_pool.h"
#include "server/rpc/call.h"
#include "server/rpc/limits.h"
#include "server/weights/catalog.h"

namespace attention::rpc {

// Resolves the weight set now; then, on the pool, validates, allocates and
// computes, and answers. request and reply stay until the call is answered.
void ComputeAttention(const std::shared_ptr<Call>& call,
                      const v1::ComputeAttentionRequest& request,
                      v1::ComputeAttentionResponse& reply,
                      const weights::Catalog& catalog, core::ComputePool& pool,
                      const Limits& limits);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_HANDLER_H_
