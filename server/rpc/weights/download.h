// The answer of GetWeights.
#ifndef SERVER_RPC_WEIGHTS_DOWNLOAD_H_
#define SERVER_RPC_WEIGHTS_DOWNLOAD_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/rpc/backend.h"

namespace attention::rpc {

// Bytes of one chunk at most.
inline constexpr int64_t kMaxChunkBytes = int64_t{1} << 20;

// Streams a version: header, chunks of each tensor, checksum. Holds one message
// at a time; the next is made when the last has been taken by the network.
// `backend` outlives the stream.
grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeGetWeights(
    grpc::CallbackServerContext& context, const Backend& backend,
    const grpc::ByteBuffer* request);

}  // namespace attention::rpc

#endif  // SERVER_RPC_WEIGHTS_DOWNLOAD_H_
