// A ComputeAttentionRequest between the network and its computation.
#ifndef SERVER_RPC_RECEIVED_REQUEST_H_
#define SERVER_RPC_RECEIVED_REQUEST_H_

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "attention/v1/attention.pb.h"
#include "proto/split_request.h"
#include "server/rpc/buffer_pool.h"
#include "server/rpc/input.h"

namespace attention::rpc {

// Holds what was received, and then the memory its tensors' data are gathered
// in. One thread at a time.
class ReceivedRequest {
 public:
  // The message is made on `arena`, which outlives this.
  explicit ReceivedRequest(google::protobuf::Arena& arena);
  ReceivedRequest(const ReceivedRequest&) = delete;
  ReceivedRequest& operator=(const ReceivedRequest&) = delete;

  // Takes the bytes out of `bytes` and reads everything but the tensors' data.
  // INVALID_ARGUMENT if they are not a ComputeAttentionRequest.
  absl::Status Parse(grpc::ByteBuffer& bytes);

  const v1::ComputeAttentionRequest& message() const { return *message_; }

  // Takes memory for the data of the tensors. Throws std::bad_alloc.
  void Allocate(BufferPool& buffers);

  // Where the data will lie, and how it gets there. REQUIRES: Allocate.
  PerTensor<absl::string_view> data() const;
  PerTensor<Gather> gather() const;

  // Gives the received bytes back: all data has been gathered.
  void Gathered();

 private:
  std::vector<grpc::Slice> slices_;
  v1::ComputeAttentionRequest* const message_;
  PerTensor<ScatteredBytes> scattered_;
  PerTensor<Buffer> buffers_;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_RECEIVED_REQUEST_H_
