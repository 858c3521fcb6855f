// A small call of the core's attention that owns its memory, for tests.
#ifndef TESTS_CORE_ATTENTION_CALL_H_
#define TESTS_CORE_ATTENTION_CALL_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "server/core/attention/attention.h"

namespace attention::core {

using Shape4 = std::array<int64_t, 4>;

inline size_t SizeOf(const Shape4& shape) {
  return static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
}

// A dense tensor with its memory.
template <typename T>
struct Owned {
  Shape4 shape{};
  std::vector<T> elements;

  Owned() = default;
  Owned(Shape4 s, std::vector<T> e) : shape(s), elements(std::move(e)) {}
  explicit Owned(Shape4 s, T fill = T{0})
      : Owned(s, std::vector<T>(SizeOf(s), fill)) {}

  // Elements that differ from each other, small enough for an ordinary softmax.
  static Owned Distinct(Shape4 s, double phase) {
    Owned tensor(s);
    for (size_t i = 0; i < tensor.elements.size(); ++i) {
      tensor.elements[i] =
          static_cast<T>(std::sin(phase + 0.7 * static_cast<double>(i)));
    }
    return tensor;
  }

  Tensor4<T> view() { return Dense(elements.data(), shape); }
  ConstTensor4<T> view() const { return Dense(elements.data(), shape); }
  T& at(int64_t b, int64_t h, int64_t i, int64_t c) {
    return view().At(b, h, i, c);
  }
  T at(int64_t b, int64_t h, int64_t i, int64_t c) const {
    return view().At(b, h, i, c);
  }
};

// Stretches axes of size 1 to `shape` by strides of 0.
template <typename T>
ConstTensor4<T> Broadcast(const Owned<T>& tensor, Shape4 shape) {
  ConstTensor4<T> view = tensor.view();
  for (size_t axis = 0; axis < 4; ++axis) {
    if (tensor.shape[axis] == 1) view.stride[axis] = 0;
  }
  view.shape = shape;
  return view;
}

// Inputs, options, and every output; output memory starts as NaN so that what
// is not written shows.
template <typename T>
struct AttentionCall {
  Owned<T> query, key, value;
  Owned<uint8_t> attend_mask;  // empty: absent
  Owned<T> bias;               // empty: absent
  AttentionOptions options;

  Owned<T> output, matrix, lse, top_k_weights;
  Owned<int32_t> top_k_indices;
  Stage stage = Stage::kAttentionWeights;
  bool mean = false;
  int64_t top_k = 0;

  static AttentionCall Random(Shape4 query, int64_t kv_heads, int64_t kv_len,
                              int64_t value_dim) {
    AttentionCall call;
    call.query = Owned<T>::Distinct(query, 0.1);
    call.key = Owned<T>::Distinct({query[0], kv_heads, kv_len, query[3]}, 1.3);
    call.value =
        Owned<T>::Distinct({query[0], kv_heads, kv_len, value_dim}, 2.9);
    return call;
  }

  Shape4 scores() const {
    return {query.shape[0], query.shape[1], query.shape[2], key.shape[2]};
  }

  AttentionInputs<T> inputs() const {
    AttentionInputs<T> inputs{query.view(), key.view(), value.view(), {}, {}};
    if (!attend_mask.elements.empty()) {
      inputs.attend_mask = Broadcast(attend_mask, scores());
    }
    if (!bias.elements.empty()) inputs.bias = Broadcast(bias, scores());
    return inputs;
  }

  AttentionOutputs<T> outputs() {
    constexpr T kUnwritten = std::numeric_limits<T>::quiet_NaN();
    const Shape4 shape = scores();
    output =
        Owned<T>({shape[0], shape[1], shape[2], value.shape[3]}, kUnwritten);
    matrix = Owned<T>({shape[0], mean ? 1 : shape[1], shape[2], shape[3]},
                      kUnwritten);
    lse = Owned<T>({shape[0], shape[1], shape[2], 1}, kUnwritten);
    AttentionOutputs<T> outputs{
        output.view(), matrix.view(), stage, mean, {}, {}, lse.view()};
    if (top_k > 0) {
      top_k_weights =
          Owned<T>({shape[0], shape[1], shape[2], top_k}, kUnwritten);
      top_k_indices = Owned<int32_t>(top_k_weights.shape, -7);
      outputs.top_k_weights = top_k_weights.view();
      outputs.top_k_indices = top_k_indices.view();
    }
    return outputs;
  }

  absl::Status Compute() { return Attention(inputs(), options, outputs()); }
};

// Keys whose attention weight is not zero.
inline std::vector<int64_t> SeenKeys(const AttentionCall<float>& call,
                                     int64_t batch, int64_t head, int64_t row) {
  std::vector<int64_t> seen;
  for (int64_t j = 0; j < call.matrix.shape[kColumn]; ++j) {
    if (call.matrix.at(batch, head, row, j) != 0) seen.push_back(j);
  }
  return seen;
}

// head_dim 4, value_dim 3, as many key/value heads as query heads.
inline AttentionCall<float> SimpleCall(int64_t batch, int64_t heads,
                                       int64_t query_len, int64_t kv_len) {
  return AttentionCall<float>::Random({batch, heads, query_len, 4}, heads,
                                      kv_len, 3);
}

}  // namespace attention::core

#endif  // TESTS_CORE_ATTENTION_CALL_H_
