// The messages of GetWeights put together.
#ifndef CLIENT_CPP_WEIGHT_SET_ASSEMBLER_H_
#define CLIENT_CPP_WEIGHT_SET_ASSEMBLER_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/client.h"
#include "attention/v1/attention.pb.h"

namespace attention::client {

// Takes the messages in the order they come; what a server may not send is
// DATA_LOSS, naming the tensor. Makes room for the tensors when the header
// comes, so that they never move; RESOURCE_EXHAUSTED if there is none.
class WeightSetAssembler {
 public:
  absl::Status Take(const v1::GetWeightsResponse& message);

  // Bytes of tensors that came, and of all that the header says there are.
  int64_t bytes() const { return bytes_; }
  int64_t total_bytes() const { return total_bytes_; }

  // What came, once the stream has ended: every tensor has the bytes of its
  // shape, and the SHA-256 of all is the one stated.
  absl::StatusOr<StoredWeightSet> Finish();

 private:
  struct Tensor {
    v1::Tensor* message;  // in result_.weights
    int64_t size;         // of its data
  };

  absl::Status TakeHeader(const v1::GetWeightsResponse::Header& header);
  absl::Status AddTensor(const std::string& path, v1::Tensor& tensor);
  absl::Status TakeChunk(const v1::TensorChunk& chunk);

  bool has_header_ = false;
  StoredWeightSet result_;
  std::map<std::string, Tensor> tensors_;  // by path
  int64_t bytes_ = 0;
  int64_t total_bytes_ = 0;
  std::string sha256_;  // of the last message
};

}  // namespace attention::client

#endif  // CLIENT_CPP_WEIGHT_SET_ASSEMBLER_H_
