// Weights that come with a request and end with it.
#ifndef SERVER_RPC_COMPUTE_INLINE_WEIGHTS_H_
#define SERVER_RPC_COMPUTE_INLINE_WEIGHTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "proto/codec.h"
#include "server/core/layer/layer.h"
#include "server/core/pool/compute_pool.h"
#include "server/rpc/tensors/input.h"
#include "server/rpc/tensors/plan_memory.h"
#include "server/rpc/tensors/received_request.h"
#include "server/weights/contents.h"

namespace attention::rpc {

// What is known of them before an element is read. Refers to the request.
struct InlineWeights {
  weights::WeightSetContents contents;  // without data
  weights::WeightSetDims dims;
  std::vector<InputTensor> tensors;  // in the order of weights::NamedTensors
};

// `message`, which is at "weights" of the request. FieldErrors below that, as
// SetWeights refuses them.
absl::StatusOr<InlineWeights> ReadInlineWeights(const ReceivedRequest& request,
                                                const v1::WeightSet& message,
                                                const CodecLimits& limits);

// Their memory and their work. The same bytes of a stored set become the same
// projections, to the bit. T, float or double, is what is computed in.
template <typename T>
class InlineLayer {
 public:
  explicit InlineLayer(InlineWeights weights);

  // As Input::Take.
  void Take(PlanMemory& memory);

  // Points to what Decode fills. REQUIRES: Take.
  core::LayerWeights<T> layer() const;

  // A step that gathers, checks and converts every element; INVALID_ARGUMENT
  // naming the first that is NaN, Inf, or beyond the range of T. Refers to
  // this. REQUIRES: memory was taken.
  core::Step Decode() const;

  // A step of one task that makes sha256, beside others that read the weights.
  // Refers to this. REQUIRES: Decode has run.
  core::Step Hash();

  // Of the canonical form, once Hash has run.
  const std::string& sha256() const { return sha256_; }

 private:
  InlineWeights weights_;
  std::vector<Input<T>> inputs_;  // of each tensor
  std::string sha256_;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_INLINE_WEIGHTS_H_
