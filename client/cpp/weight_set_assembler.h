// The messages of GetWeights put together.
#ifndef CLIENT_CPP_WEIGHT_SET_ASSEMBLER_H_
#define CLIENT_CPP_WEIGHT_SET_ASSEMBLER_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/client.h"
#include "attention/v1/attention.pb.h"

namespace attention::client {

// Takes the messages in the order they come; what a server may not send is
// DATA_LOSS, naming the tensor.
class WeightSetAssembler {
 public:
  absl::Status Take(v1::GetWeightsResponse message);

  // What came, once the stream has ended: every tensor has the bytes of its
  // shape, and the SHA-256 of all is the one stated.
  absl::StatusOr<StoredWeightSet> Finish();

 private:
  absl::Status TakeHeader(v1::GetWeightsResponse::Header header);
  absl::Status TakeChunk(const v1::TensorChunk& chunk);

  bool has_header_ = false;
  StoredWeightSet result_;
  std::map<std::string, v1::Tensor*> tensors_;  // by path, into result_.weights
  std::string sha256_;                          // of the last message
};

}  // namespace attention::client

#endif  // CLIENT_CPP_WEIGHT_SET_ASSEMBLER_H_
