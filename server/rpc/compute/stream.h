// The answers of StreamAttention.
#ifndef SERVER_RPC_COMPUTE_STREAM_H_
#define SERVER_RPC_COMPUTE_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/rpc/backend.h"

namespace attention::rpc {

// Serves one stream: each message is admitted, computed and refused like a
// ComputeAttention of its own, and answered when it is done.
//
// Reads on only while fewer than max_stream_in_flight of its messages are
// between being read and being written, and, once one of them is, only while
// the server could lend four times as much again as those messages have. So a
// client that sends faster than it reads, or than the server computes, is held
// up by the flow control of its connection.
//
// `backend` outlives the stream.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
ServeAttentionStream(grpc::CallbackServerContext& context,
                     const Backend& backend);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_STREAM_H_
