// A request with tensors between the network and its computation.
#ifndef SERVER_RPC_TENSORS_RECEIVED_REQUEST_H_
#define SERVER_RPC_TENSORS_RECEIVED_REQUEST_H_

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "attention/v1/attention.pb.h"
#include "proto/split_message.h"
#include "server/rpc/door/message.h"

namespace attention::rpc {

// A tensor of a request whose elements came as data.
struct ReceivedTensor {
  absl::string_view path;  // in the request: "query", "weights.key.bias"
  ScatteredBytes data;     // where it was received
};

// Holds what was received until it has been gathered. One thread at a time.
class ReceivedRequest {
 public:
  // What the bytes are.
  enum class Form {
    kUnary,     // a ComputeAttentionRequest
    kStreamed,  // a StreamAttentionRequest
  };

  explicit ReceivedRequest(Form form);
  ReceivedRequest(const ReceivedRequest&) = delete;
  ReceivedRequest& operator=(const ReceivedRequest&) = delete;

  // Takes the bytes out of `bytes`. Throws std::bad_alloc.
  void Receive(grpc::ByteBuffer& bytes) { bytes_.Take(bytes); }

  // Bytes received. REQUIRES: Receive.
  size_t size() const { return bytes_.size(); }

  // Reads everything but the tensors' data. Errors are those of
  // ReceivedBytes::Check, and `charge`, whose bytes include those of a copy of
  // every query_offset and key_length as int64. Takes long where tensors are
  // written as `values`. REQUIRES: Receive.
  absl::Status Parse(int64_t max_axis, ReceivedBytes::Charge charge);
  // The id of a kStreamed, of a broken one as far as it can be read.
  // REQUIRES: Receive.
  uint64_t stream_id() const;

  const v1::ComputeAttentionRequest& message() const {
    return message_->request();
  }

  // For what has to live as long as this.
  google::protobuf::Arena& arena() { return arena_; }

  // The data of the tensor with this path; null if it did not come as data.
  // Lives as long as this. REQUIRES: Parse.
  const ScatteredBytes* Find(absl::string_view path) const;

  // Gives the received bytes back: all data has been gathered. Tells whoever
  // asked for it how many there were.
  void Gathered();
  void OnGathered(std::function<void(int64_t bytes)> told) {
    told_ = std::move(told);
  }

 private:
  const Form form_;
  // The messages of a tiny request and its reply need no memory beyond this.
  alignas(8) char first_block_[2048];
  google::protobuf::Arena arena_{first_block_, sizeof(first_block_)};
  ReceivedBytes bytes_;
  v1::StreamAttentionRequest* const message_;
  absl::InlinedVector<ReceivedTensor, 3> tensors_;
  std::function<void(int64_t bytes)> told_;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_TENSORS_RECEIVED_REQUEST_H_
