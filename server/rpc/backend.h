// What the handlers work with.
#ifndef SERVER_RPC_BACKEND_H_
#define SERVER_RPC_BACKEND_H_

#include <string>

#include "server/core/blas/kernels.h"
#include "server/core/pool/compute_pool.h"
#include "server/memory/ledger.h"
#include "server/rpc/door/admission.h"
#include "server/rpc/door/door.h"
#include "server/rpc/door/limits.h"
#include "server/rpc/tensors/buffer_pool.h"
#include "server/rpc/weights/uploads.h"
#include "server/weights/catalog.h"

namespace attention::rpc {

// What GetServerInfo tells beyond the limits.
struct ServerFacts {
  std::string version;
  core::BlasReport blas;
};

// Everything referred to outlives the service.
struct Backend {
  weights::Catalog& catalog;
  // Computes. Its tasks never block.
  core::ComputePool& compute;
  // One thread for what may block: whatever changes the catalog.
  core::ComputePool& writer;
  // One thread that hands large replies to gRPC. Outlives `compute`.
  core::ComputePool& sender;
  // Memory of the tensors in requests and replies.
  BufferPool& buffers;
  memory::Ledger& ledger;
  Admission& admission;
  Uploads& uploads;
  Limits limits;
  ServerFacts facts;
};

// The door of all methods that count as requests.
inline Door DoorOf(const Backend& backend) {
  return {&backend.admission, backend.admission.arrivals(), backend.compute,
          backend.limits.max_axis};
}

// The same of those that stay open.
inline Door StreamDoorOf(const Backend& backend) {
  Door door = DoorOf(backend);
  door.is_stream = true;
  return door;
}

}  // namespace attention::rpc

#endif  // SERVER_RPC_BACKEND_H_
