// A ComputeAttentionResponse between its computation and the network.
#ifndef SERVER_RPC_COMPUTE_REPLY_H_
#define SERVER_RPC_COMPUTE_REPLY_H_

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "attention/v1/attention.pb.h"
#include "server/rpc/tensors/buffer_pool.h"

namespace attention::rpc {

// A tensor of a reply whose elements go out as data.
struct ReplyTensor {
  absl::string_view
      path;  // in the reply: "output", "top_k.weights"; a constant
  Buffer data;
};

// The data of the tensors lies in `tensors`; `message` has everything else.
struct ComputeReply {
  // The message is made on `arena`, which outlives this.
  explicit ComputeReply(google::protobuf::Arena& arena)
      : envelope(*google::protobuf::Arena::CreateMessage<
                 v1::StreamAttentionResponse>(&arena)),
        message(*envelope.mutable_response()) {}

  v1::StreamAttentionResponse& envelope;  // what a stream sends it in
  v1::ComputeAttentionResponse& message;
  absl::InlinedVector<ReplyTensor, 1> tensors;
};

// The bytes protobuf would make of the whole. Data large enough to be worth it
// is not copied: its buffers go into the result, and back to their pool when
// the network has taken them. Throws std::bad_alloc.
grpc::ByteBuffer Serialize(ComputeReply&& reply);

// The same of the StreamAttentionResponse with this id and the reply.
grpc::ByteBuffer SerializeStreamed(uint64_t id, ComputeReply&& reply);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_REPLY_H_
