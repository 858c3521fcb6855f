#include "server/rpc/compute/steps.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "server/core/attention/attention.h"
#include "server/core/tensor.h"
#include "server/rpc/tensors/input.h"

namespace attention::rpc {
namespace {

using core::Computation;
using core::ConstTensor4;
using core::Step;
using core::Workspace;

// Steps of an ordinary request, so that their array is made once.
constexpr size_t kUsualSteps = 12;

int64_t Product(const Axes& shape) {
  int64_t product = 1;
  for (const int64_t axis : shape) product *= axis;
  return product;
}

// A tensor of the reply that is computed in T: in its own bytes where they can
// hold T, in a buffer that Encode writes out elsewhere.
template <typename T>
class ComputedTensor {
 public:
  ComputedTensor(v1::Tensor& tensor, Buffer& bytes, BufferPool& buffers,
                 Axes shape, v1::DataType dtype, bool as_values,
                 std::string field)
      : tensor_(tensor),
        shape_(std::move(shape)),
        dtype_(dtype),
        as_values_(as_values),
        field_(std::move(field)) {
    const int64_t elements = Product(shape_);
    if (!as_values) {
      bytes = buffers.Take(elements * ElementSize(dtype));
      bytes_ = bytes.data();
      tensor.set_dtype(dtype);
      tensor.mutable_shape()->Assign(shape_.begin(), shape_.end());
      if (ElementSize(dtype) == sizeof(T)) {
        data_ = reinterpret_cast<T*>(bytes_);
        return;
      }
    }
    buffer_ = NewArray<T>(elements);
    data_ = buffer_.get();
  }

  T* data() const { return data_; }
  bool in_place() const { return buffer_ == nullptr; }

  absl::Status Encode() const {
    const auto elements =
        absl::MakeConstSpan(data_, static_cast<size_t>(Product(shape_)));
    return as_values_ ? EncodeTensor<T>(elements, shape_, dtype_, true, field_,
                                        tensor_)
                      : EncodeData<T>(elements, shape_, dtype_, field_, bytes_);
  }

 private:
  v1::Tensor& tensor_;
  Axes shape_;
  v1::DataType dtype_;
  bool as_values_;
  std::string field_;
  char* bytes_ = nullptr;  // of the reply; null if as_values_
  std::unique_ptr<T[]> buffer_;
  T* data_ = nullptr;
};

// The view that broadcasts a tensor of rank 1, 2 or 4 over the scores.
template <typename T>
ConstTensor4<T> Broadcast(const T* data, absl::Span<const int64_t> axes,
                          const core::AttentionShape& shape) {
  ConstTensor4<T> view{
      data, {shape.batch, shape.num_heads, shape.query_len, shape.kv_len}, {}};
  int64_t stride = 1;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t size = axes[axes.size() - 1 - i];
    if (size != 1) view.stride[view.stride.size() - 1 - i] = stride;
    stride *= size;
  }
  return view;
}

// Everything the steps of one request own.
template <typename T>
class Steps {
 public:
  Steps(const ComputeRequest& request, const ReceivedRequest& received,
        bool projected, BufferPool& buffers, ComputeReply& reply)
      : request_(request),
        received_(received),
        projected_(projected),
        buffers_(buffers),
        reply_(reply) {}

  // What a layer keeps between its steps.
  T* MemoryFor(const core::LayerWeights<T>& layer) {
    const core::AttentionShape& shape = request_.shape;
    layer_memory_ = buffers_.Take(
        core::LayerBytes(layer, shape.batch, shape.query_len, shape.kv_len));
    return reinterpret_cast<T*>(layer_memory_.data());
  }

  // The request's tensors, and the steps that make them readable.
  void AddInputs(Computation& steps) {
    using Accept = TensorView::Accept;
    query_ = DecodeFloats<T>(request_.query, received_.gather("query"),
                             Accept::kFinite, {});
    steps.push_back(std::move(query_.step));
    inputs_.query =
        SplitHeads(query_.data, request_.query, request_.shape.num_heads);
    const T* key = query_.data;
    if (request_.own_key) {
      key_ = DecodeFloats<T>(request_.key, received_.gather("key"),
                             Accept::kFinite, Valid(request_.key));
      steps.push_back(std::move(key_.step));
      key = key_.data;
    }
    inputs_.key = SplitHeads(key, request_.key, request_.shape.num_kv_heads);
    const T* value = key;
    if (request_.own_value) {
      value_ = DecodeFloats<T>(request_.value, received_.gather("value"),
                               Accept::kFinite, Valid(request_.value));
      steps.push_back(std::move(value_.step));
      value = value_.data;
    }
    inputs_.value =
        SplitHeads(value, request_.value, request_.shape.num_kv_heads);
    if (request_.attend_mask) {
      mask_ =
          DecodeMask(*request_.attend_mask, received_.gather("attend_mask"));
      steps.push_back(std::move(mask_.step));
      inputs_.attend_mask =
          Broadcast(mask_.data, request_.attend_mask->shape(), request_.shape);
    }
    if (request_.bias) {
      bias_ = DecodeFloats<T>(*request_.bias, received_.gather("bias"),
                              Accept::kFiniteOrMinusInf, {});
      steps.push_back(std::move(bias_.step));
      inputs_.bias =
          Broadcast(bias_.data, request_.bias->shape(), request_.shape);
    }
  }

  // The reply's tensors.
  void AddOutputs() {
    const core::AttentionShape& shape = request_.shape;
    const auto& [batch, heads, kv_heads, rows, kv_len, head_dim, value_dim] =
        shape;
    T* const output =
        Add(*reply_.message.mutable_output(),
            request_.WithBatch(request_.heads_apart
                                   ? Axes{heads, rows, value_dim}
                                   : Axes{rows, request_.output_width}),
            request_.dtype(), "output");
    if (projected_) {
      outputs_.output =
          core::Dense(output, {batch, 1, rows, request_.output_width});
    } else if (request_.heads_apart) {
      outputs_.output = core::Dense(output, {batch, heads, rows, value_dim});
    } else {
      outputs_.output =
          core::HeadsSideBySide(output, {batch, heads, rows, value_dim});
    }
    if (request_.matrix_stage) {
      outputs_.matrix_stage = *request_.matrix_stage;
      outputs_.mean_over_heads = request_.mean_over_heads;
      const bool mean = request_.mean_over_heads;
      outputs_.matrix =
          core::Dense(Add(*reply_.message.mutable_attention_matrix(),
                          request_.WithBatch(mean ? Axes{rows, kv_len}
                                                  : Axes{heads, rows, kv_len}),
                          request_.compute_dtype(), "attention_matrix"),
                      {batch, mean ? 1 : heads, rows, kv_len});
    }
    if (request_.top_k) {
      const int64_t k = *request_.top_k;
      outputs_.top_k_weights =
          core::Dense(Add(*reply_.message.mutable_top_k()->mutable_weights(),
                          request_.WithBatch({heads, rows, k}),
                          request_.compute_dtype(), "top_k.weights"),
                      {batch, heads, rows, k});
      auto& indices = *reply_.message.mutable_top_k()->mutable_indices();
      const int64_t entries = batch * heads * rows * k;
      indices.Resize(static_cast<int>(entries), 0);
      outputs_.top_k_indices =
          core::Dense(entries > 0 ? indices.mutable_data() : no_indices_,
                      {batch, heads, rows, k});
    }
    if (request_.want_lse) {
      outputs_.lse = core::Dense(
          Add(*reply_.message.mutable_lse(), request_.WithBatch({heads, rows}),
              request_.compute_dtype(), "lse"),
          {batch, heads, rows, 1});
    }
  }

  // Adds the step that writes out what could not be computed in place, if there
  // is anything.
  void AddEncoding(Computation& steps) const {
    std::vector<const ComputedTensor<T>*> left;
    for (const ComputedTensor<T>& tensor : tensors_) {
      if (!tensor.in_place()) left.push_back(&tensor);
    }
    if (left.empty()) return;
    const auto tasks = static_cast<int64_t>(left.size());
    steps.push_back({tasks, [left = std::move(left)](int64_t task, Workspace&) {
                       return left[static_cast<size_t>(task)]->Encode();
                     }});
  }

  const core::AttentionInputs<T>& inputs() const { return inputs_; }
  const core::AttentionOutputs<T>& outputs() const { return outputs_; }

 private:
  // Of key or value, what key_lengths leave.
  ReadPart Valid(const TensorView& tensor) const {
    ReadPart part;
    if (request_.options.key_lengths.empty()) return part;
    const int64_t columns = tensor.shape().back();
    part.run = request_.shape.kv_len * columns;
    part.runs_per_item = request_.heads_apart ? request_.shape.num_kv_heads : 1;
    for (const int64_t length : request_.options.key_lengths) {
      part.read.push_back(length * columns);
    }
    return part;
  }

  // [batch, heads, len, dim] however it lies; one head before a projection.
  ConstTensor4<T> SplitHeads(const T* data, const TensorView& tensor,
                             int64_t heads) const {
    const absl::Span<const int64_t> shape = tensor.shape();
    const int64_t batch = request_.shape.batch;
    const int64_t len = shape[shape.size() - 2];
    if (request_.heads_apart) {
      return core::Dense(data, {batch, heads, len, shape.back()});
    }
    const int64_t split = projected_ ? 1 : heads;
    return core::HeadsSideBySide(data,
                                 {batch, split, len, shape.back() / split});
  }

  T* Add(v1::Tensor& tensor, Axes shape, v1::DataType dtype,
         absl::string_view field) {
    Buffer bytes;
    tensors_.emplace_back(tensor, bytes, buffers_, std::move(shape), dtype,
                          request_.reply_as_values(), std::string(field));
    reply_.tensors.push_back({field, std::move(bytes)});
    return tensors_.back().data();
  }

  const ComputeRequest& request_;
  const ReceivedRequest& received_;
  const bool projected_;
  BufferPool& buffers_;
  ComputeReply& reply_;
  Buffer layer_memory_;
  Input<T> query_;
  Input<T> key_;
  Input<T> value_;
  Input<T> bias_;
  Input<uint8_t> mask_;
  absl::InlinedVector<ComputedTensor<T>, 1> tensors_;  // complete before use
  int32_t no_indices_[1] = {};
  core::AttentionInputs<T> inputs_;
  core::AttentionOutputs<T> outputs_;
};

}  // namespace

template <typename T>
absl::StatusOr<Computation> ComputeSteps(
    const ComputeRequest& request, const ReceivedRequest& received,
    std::function<void()> gathered, const core::LayerWeights<T>* layer,
    BufferPool& buffers, ComputeReply& reply, std::shared_ptr<void>& owner) {
  const auto owned = std::make_shared<Steps<T>>(
      request, received, layer != nullptr, buffers, reply);
  owner = owned;
  Computation steps;
  steps.reserve(kUsualSteps);
  owned->AddInputs(steps);
  steps.push_back({1, [gathered = std::move(gathered)](int64_t, Workspace&) {
                     gathered();
                     return absl::OkStatus();
                   }});
  owned->AddOutputs();
  const auto& inputs = owned->inputs();
  const auto& outputs = owned->outputs();
  absl::Status status =
      layer == nullptr
          ? core::ValidateAttention(inputs, request.options, outputs)
          : core::ValidateLayer(*layer, inputs, request.options, outputs);
  if (!status.ok()) return status;

  Computation compute =
      layer == nullptr
          ? core::AttentionSteps(inputs, request.options, outputs)
          : core::LayerSteps(
                *layer, inputs, request.options, outputs,
                std::shared_ptr<T>(owned, owned->MemoryFor(*layer)));
  for (Step& step : compute) steps.push_back(std::move(step));
  owned->AddEncoding(steps);
  return steps;
}

template absl::StatusOr<Computation> ComputeSteps<float>(
    const ComputeRequest&, const ReceivedRequest&, std::function<void()>,
    const core::LayerWeights<float>*, BufferPool&, ComputeReply&,
    std::shared_ptr<void>&);
template absl::StatusOr<Computation> ComputeSteps<double>(
    const ComputeRequest&, const ReceivedRequest&, std::function<void()>,
    const core::LayerWeights<double>*, BufferPool&, ComputeReply&,
    std::shared_ptr<void>&);

}  // namespace attention::rpc
