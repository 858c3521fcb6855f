// The answer of GetWeights.
#ifndef SERVER_RPC_WEIGHTS_DOWNLOAD_H_
#define SERVER_RPC_WEIGHTS_DOWNLOAD_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "attention/v1/attention.pb.h"
#include "server/rpc/door/admission.h"
#include "server/weights/catalog.h"

namespace attention::rpc {

// Bytes of one chunk at most.
inline constexpr int64_t kMaxChunkBytes = int64_t{1} << 20;

// Streams a version: header, chunks of each tensor, checksum. Holds one message
// at a time; the next is made when the last has been taken by the network.
grpc::ServerWriteReactor<v1::GetWeightsResponse>* ServeGetWeights(
    grpc::CallbackServerContext& context, Admission& admission,
    const v1::GetWeightsRequest& request, const weights::Catalog& catalog);

}  // namespace attention::rpc

#endif  // SERVER_RPC_WEIGHTS_DOWNLOAD_H_
