#include "server/rpc/compute/cost.h"

#include "server/core/attention/cost.h"
#include "server/core/saturating.h"
#include "server/rpc/door/status.h"

namespace attention::rpc {
namespace {

using core::SaturatingAdd;
using core::SaturatingMultiply;

// Adds a tensor of the reply of `elements` that are computed in T.
template <typename T>
void AddReplyTensor(int64_t elements, v1::DataType dtype, bool as_values,
                    ComputeCost& cost) {
  const int64_t bytes_each =
      as_values ? int64_t{sizeof(double)} : ElementSize(dtype);
  cost.result_bytes = SaturatingAdd(cost.result_bytes,
                                    SaturatingMultiply(elements, bytes_each));
  const bool in_place = !as_values && ElementSize(dtype) == sizeof(T);
  if (!in_place) {
    cost.workspace_bytes = SaturatingAdd(
        cost.workspace_bytes, SaturatingMultiply(elements, int64_t{sizeof(T)}));
  }
}

template <typename T>
void AddReply(const ComputeRequest& request, ComputeCost& cost) {
  const core::AttentionShape& shape = request.shape;
  const bool as_values = request.reply_as_values();
  const int64_t rows = SaturatingMultiply(shape.batch, shape.query_len);
  const int64_t head_rows = SaturatingMultiply(rows, shape.num_heads);
  AddReplyTensor<T>(SaturatingMultiply(request.heads_apart ? head_rows : rows,
                                       request.output_width),
                    request.dtype(), as_values, cost);
  if (request.matrix_stage) {
    AddReplyTensor<T>(
        SaturatingMultiply(request.mean_over_heads ? rows : head_rows,
                           shape.kv_len),
        request.compute_dtype(), as_values, cost);
  }
  if (request.top_k) {
    const int64_t entries = SaturatingMultiply(head_rows, *request.top_k);
    AddReplyTensor<T>(entries, request.compute_dtype(), as_values, cost);
    cost.result_bytes =
        SaturatingAdd(cost.result_bytes,
                      SaturatingMultiply(entries, int64_t{sizeof(int32_t)}));
  }
  if (request.want_lse) {
    AddReplyTensor<T>(head_rows, request.compute_dtype(), as_values, cost);
  }
}

template <typename T>
void AddInputs(const ComputeRequest& request, ComputeCost& cost) {
  const auto add = [&cost](int64_t elements, size_t size) {
    cost.workspace_bytes =
        SaturatingAdd(cost.workspace_bytes,
                      SaturatingMultiply(elements, static_cast<int64_t>(size)));
  };
  const auto add_tensor = [&](const TensorView& tensor) {
    if (tensor.template InPlace<T>() == nullptr) add(tensor.size(), sizeof(T));
  };
  add_tensor(request.query);
  if (request.own_key) add_tensor(request.key);
  if (request.own_value) add_tensor(request.value);
  if (request.bias) add_tensor(*request.bias);
  if (request.attend_mask && !request.attend_mask->InPlace<uint8_t>()) {
    add(request.attend_mask->size(), sizeof(uint8_t));
  }
  // The core keeps a copy of both.
  add(static_cast<int64_t>(request.options.query_offsets.size() +
                           request.options.key_lengths.size()),
      2 * sizeof(int64_t));
}

}  // namespace

template <typename T>
ComputeCost CostOf(const ComputeRequest& request,
                   const core::LayerWeights<T>* layer, int threads) {
  const core::AttentionShape& shape = request.shape;
  ComputeCost cost;
  AddReply<T>(request, cost);
  AddInputs<T>(request, cost);
  int64_t bytes_per_thread = 0;
  if (layer == nullptr) {
    bytes_per_thread = core::AttentionWorkspaceBytes<T>(shape);
    cost.multiply_adds = core::AttentionMultiplyAdds(shape);
  } else {
    bytes_per_thread = core::LayerWorkspaceBytes(*layer, shape.batch,
                                                 shape.query_len, shape.kv_len);
    cost.workspace_bytes = SaturatingAdd(
        cost.workspace_bytes,
        core::LayerBytes(*layer, shape.batch, shape.query_len, shape.kv_len));
    cost.multiply_adds = core::LayerMultiplyAdds(*layer, shape.batch,
                                                 shape.query_len, shape.kv_len);
  }
  cost.workspace_bytes = SaturatingAdd(
      cost.workspace_bytes, SaturatingMultiply(bytes_per_thread, threads));
  return cost;
}

absl::Status CheckCost(const ComputeCost& cost, const Limits& limits) {
  if (cost.result_bytes > limits.max_result_bytes) {
    return OverLimit("bytes of the reply's tensors:", cost.result_bytes,
                     limits.max_result_bytes, "max-result-bytes");
  }
  if (cost.workspace_bytes > limits.max_workspace_bytes) {
    return OverLimit("bytes of temporary memory:", cost.workspace_bytes,
                     limits.max_workspace_bytes, "max-workspace-bytes");
  }
  if (cost.multiply_adds > limits.max_multiply_adds) {
    return OverLimit("multiply-adds:", cost.multiply_adds,
                     limits.max_multiply_adds, "max-multiply-adds");
  }
  return absl::OkStatus();
}

template ComputeCost CostOf<float>(const ComputeRequest&,
                                   const core::LayerWeights<float>*, int);
template ComputeCost CostOf<double>(const ComputeRequest&,
                                    const core::LayerWeights<double>*, int);

}  // namespace attention::rpc
