// The handlers of attention.v1.AttentionService.
#ifndef SERVER_RPC_ATTENTION_SERVICE_H_
#define SERVER_RPC_ATTENTION_SERVICE_H_

#include <grpcpp/impl/service_type.h>

#include <memory>

#include "server/rpc/backend.h"

namespace attention::rpc {

// Serves by gRPC's callback API; no handler computes or waits in a reactor.
// Thread-safe.
std::unique_ptr<grpc::Service> NewAttentionService(Backend backend);

}  // namespace attention::rpc

#endif  // SERVER_RPC_ATTENTION_SERVICE_H_
