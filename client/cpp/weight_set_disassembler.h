// A weight set taken apart into the messages of UploadWeights.
#ifndef CLIENT_CPP_WEIGHT_SET_DISASSEMBLER_H_
#define CLIENT_CPP_WEIGHT_SET_DISASSEMBLER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/client.h"
#include "attention/v1/attention.pb.h"
#include "client/cpp/canonical_form.h"

namespace attention::client {

// Makes one message at a time, so that no more than one chunk is held beside
// what the source holds.
class WeightSetDisassembler {
 public:
  // INVALID_ARGUMENT, naming the field below "weights", for a tensor whose
  // dtype and shape do not say how many bytes it has. What else may be wrong
  // with the header, the server says.
  static absl::StatusOr<WeightSetDisassembler> Start(
      v1::UploadWeightsRequest::Header header, TensorSource source);

  // Bytes of all tensors together, and of those in the messages so far.
  int64_t total_bytes() const { return total_bytes_; }
  int64_t bytes() const { return bytes_; }

  // Replaces `message` by the next; false if there is none. Errors are the
  // source's.
  absl::StatusOr<bool> Next(v1::UploadWeightsRequest& message);

 private:
  struct Part {
    std::string path;
    int64_t size = 0;  // of its data
  };
  enum class State { kHeader, kChunks, kDone };

  WeightSetDisassembler(v1::UploadWeightsRequest::Header header,
                        std::vector<Part> parts, TensorSource source);
  absl::Status NextChunk(v1::TensorChunk& chunk);

  v1::UploadWeightsRequest::Header header_;
  std::vector<Part> parts_;
  TensorSource source_;
  CanonicalHash hash_;
  State state_ = State::kHeader;
  size_t part_ = 0;
  int64_t offset_ = 0;
  int64_t bytes_ = 0;
  int64_t total_bytes_ = 0;
};

// What `request` says of its version, with the tensors' dtypes and shapes.
v1::UploadWeightsRequest::Header HeaderOf(const v1::SetWeightsRequest& request);

// The elements of `weights`, which must outlive it. A tensor of values is
// encoded when its turn comes. INVALID_ARGUMENT below "weights" if a tensor is
// not what the contract allows.
absl::StatusOr<TensorSource> SourceOf(const v1::WeightSet& weights);

}  // namespace attention::client

#endif  // CLIENT_CPP_WEIGHT_SET_DISASSEMBLER_H_
