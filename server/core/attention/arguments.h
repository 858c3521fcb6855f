// What attention is computed from, how, and where to.
#ifndef SERVER_CORE_ATTENTION_ARGUMENTS_H_
#define SERVER_CORE_ATTENTION_ARGUMENTS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "server/core/attention/shape.h"
#include "server/core/tensor.h"

namespace attention::core {

// T is float or double throughout; all arithmetic is in T.
template <typename T>
struct AttentionInputs {
  ConstTensor4<T> query;  // [batch, num_heads,    query_len, head_dim]
  ConstTensor4<T> key;    // [batch, num_kv_heads, kv_len,    head_dim]
  ConstTensor4<T> value;  // [batch, num_kv_heads, kv_len,    value_dim]
  // [batch, num_heads, query_len, kv_len], broadcast by strides of 0; nonzero =
  // attend. Optional.
  ConstTensor4<uint8_t> attend_mask;
  // The same shape, added after softcap; -inf excludes. Optional.
  ConstTensor4<T> bias;
};

template <typename T>
AttentionShape ShapeOf(const AttentionInputs<T>& inputs) {
  return {inputs.query.shape[kBatch], inputs.query.shape[kHead],
          inputs.key.shape[kHead],    inputs.query.shape[kRow],
          inputs.key.shape[kRow],     inputs.query.shape[kColumn],
          inputs.value.shape[kColumn]};
}

enum class Alignment {
  kUnspecified,  // only where it cannot matter
  kTopLeft,      // query row i stands at key i
  kBottomRight,  // the last query row stands at the last valid key
};

struct Dropout {
  double probability = 0;  // 0 <= probability < 1
  uint64_t seed = 0;       // batch item b draws from seed + b
};

struct AttentionOptions {
  std::optional<double> softmax_scale;  // unset: 1 / sqrt(head_dim)
  std::optional<double> softcap;        // > 0

  bool causal = false;
  std::optional<int64_t> window_left;   // >= 0
  std::optional<int64_t> window_right;  // >= 0
  Alignment alignment = Alignment::kUnspecified;
  std::vector<int64_t> query_offsets;  // one per batch item, or empty

  std::vector<int64_t> key_lengths;  // one per batch item, or empty = kv_len
  std::optional<Dropout> dropout;
};

// What attention_matrix shows; see the contract for each stage.
enum class Stage { kScores, kSoftcapped, kBiased, kAttentionWeights };

template <typename T>
struct AttentionOutputs {
  Tensor4<T> output;  // [batch, num_heads, query_len, value_dim]

  // [batch, num_heads, query_len, kv_len]; with mean_over_heads
  // [batch, 1, query_len, kv_len], for kAttentionWeights only. Optional.
  Tensor4<T> matrix;
  Stage matrix_stage = Stage::kAttentionWeights;
  bool mean_over_heads = false;

  // [batch, num_heads, query_len, k], k <= kv_len. Both or neither.
  Tensor4<T> top_k_weights;
  Tensor4<int32_t> top_k_indices;

  // [batch, num_heads, query_len, 1]. Optional.
  Tensor4<T> lse;
};

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_ARGUMENTS_H_
