#include "server/rpc/compute/inline_weights.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "server/rpc/weights/weight_set_proto.h"
#include "server/weights/canonical_form.h"
#include "server/weights/layer_of.h"

namespace attention::rpc {
namespace {

// Elements sent as values that are rounded between two calls of the hash.
constexpr int64_t kRoundedAtOnce = 1024;

// Gives `hash` the data of a tensor that was sent as values: what SetWeights
// would have stored. They have been checked.
absl::Status HashValues(const InputTensor& tensor,
                        weights::CanonicalHash& hash) {
  double numbers[kRoundedAtOnce];
  char bytes[sizeof(numbers)];
  for (int64_t first = 0; first < tensor.size(); first += kRoundedAtOnce) {
    const int64_t count = std::min(kRoundedAtOnce, tensor.size() - first);
    absl::Status status =
        tensor.Read<double>(first, count, TensorView::Accept::kFinite, numbers);
    if (status.ok()) {
      status = EncodeData<double>({numbers, static_cast<size_t>(count)},
                                  tensor.shape(), tensor.dtype(),
                                  tensor.field(), bytes);
    }
    if (!status.ok()) return status;
    hash.Data(
        {bytes, static_cast<size_t>(count * ElementSize(tensor.dtype()))});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<InlineWeights> ReadInlineWeights(const ReceivedRequest& request,
                                                const v1::WeightSet& message,
                                                const CodecLimits& limits) {
  InlineWeights read;
  absl::StatusOr<weights::WeightSetContents> contents =
      ContentsFromRequest(request, message, limits, read.tensors);
  if (!contents.ok()) return contents.status();
  read.contents = *std::move(contents);
  absl::StatusOr<weights::WeightSetDims> dims = weights::DimsOf(read.contents);
  if (!dims.ok()) return dims.status();
  read.dims = *dims;
  return read;
}

template <typename T>
InlineLayer<T>::InlineLayer(InlineWeights weights)
    : weights_(std::move(weights)), inputs_(weights_.tensors.size()) {}

template <typename T>
void InlineLayer<T>::Take(PlanMemory& memory) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    inputs_[i].Take(weights_.tensors[i], memory);
  }
}

template <typename T>
core::LayerWeights<T> InlineLayer<T>::layer() const {
  // Asks for the tensors in the order they are in.
  return weights::LayerOf<T>(
      weights_.contents,
      [next = inputs_.begin()](const weights::StoredTensor&) mutable {
        return (next++)->data();
      });
}

template <typename T>
core::Step InlineLayer<T>::Decode() const {
  std::vector<core::Step> steps;
  steps.reserve(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    steps.push_back(inputs_[i].DecodeFloats(weights_.tensors[i],
                                            TensorView::Accept::kFinite, {}));
  }
  return core::Together(std::move(steps));
}

template <typename T>
core::Step InlineLayer<T>::Hash() {
  return {1, [this](int64_t, core::Workspace&) {
            weights::CanonicalHash hash(weights_.contents);
            for (const InputTensor& tensor : weights_.tensors) {
              hash.BeginTensor();
              if (!tensor.has_values()) {
                hash.Data(tensor.data());
                continue;
              }
              absl::Status status = HashValues(tensor, hash);
              if (!status.ok()) return status;
            }
            sha256_ = hash.Finish();
            return absl::OkStatus();
          }};
}

template class InlineLayer<float>;
template class InlineLayer<double>;

}  // namespace attention::rpc
