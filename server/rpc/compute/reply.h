// A ComputeAttentionResponse between its computation and the network.
#ifndef SERVER_RPC_COMPUTE_REPLY_H_
#define SERVER_RPC_COMPUTE_REPLY_H_

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "attention/v1/attention.pb.h"
#include "proto/join_response.h"
#include "server/rpc/tensors/buffer_pool.h"

namespace attention::rpc {

// The data of the tensors lies in `data`; `message` has everything else.
struct ComputeReply {
  // The message is made on `arena`, which outlives this.
  explicit ComputeReply(google::protobuf::Arena& arena)
      : message(*google::protobuf::Arena::CreateMessage<
                v1::ComputeAttentionResponse>(&arena)) {}

  v1::ComputeAttentionResponse& message;
  PerResult<Buffer> data;
};

// The bytes protobuf would make of the whole. Data large enough to be worth it
// is not copied: its buffers go into the result, and back to their pool when
// the network has taken them. Throws std::bad_alloc.
grpc::ByteBuffer Serialize(ComputeReply&& reply);

// The same of the StreamAttentionResponse with this id and the reply.
grpc::ByteBuffer SerializeStreamed(uint64_t id, ComputeReply&& reply);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_REPLY_H_
