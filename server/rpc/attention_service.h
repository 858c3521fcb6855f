// The handlers of attention.v1.AttentionService.
#ifndef SERVER_RPC_ATTENTION_SERVICE_H_
#define SERVER_RPC_ATTENTION_SERVICE_H_

#include <grpcpp/impl/service_type.h>

#include <memory>
#include <string>

#include "server/core/compute_pool.h"
#include "server/rpc/admission.h"
#include "server/rpc/limits.h"
#include "server/weights/catalog.h"

namespace attention::rpc {

// What GetServerInfo tells beyond the limits.
struct ServerFacts {
  std::string version;
  std::string blas_config;
  std::string blas_kernel;
  bool blas_fell_back = false;
  std::string not_deterministic_because;  // empty if it is
};

// What the handlers work with; everything outlives the service.
struct Backend {
  weights::Catalog& catalog;
  // Computes. Its tasks never block.
  core::ComputePool& compute;
  // One thread for what may block: whatever changes the catalog.
  core::ComputePool& writer;
  Admission& admission;
  Limits limits;
  ServerFacts facts;
};

// Serves by gRPC's callback API; no handler computes or waits in a reactor.
// Thread-safe.
std::unique_ptr<grpc::Service> NewAttentionService(Backend backend);

}  // namespace attention::rpc

#endif  // SERVER_RPC_ATTENTION_SERVICE_H_
