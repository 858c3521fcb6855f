// gRPC's status as Abseil's.
#ifndef CLIENT_CPP_GRPC_STATUS_H_
#define CLIENT_CPP_GRPC_STATUS_H_

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace attention::client {

// The same code and message; each detail of google.rpc.Status
// (grpc-status-details-bin) becomes a payload under its type URL. Details that
// cannot be parsed are left out.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace attention::client

#endif  // CLIENT_CPP_GRPC_STATUS_H_
