// Attention of given query, key and value.
#ifndef SERVER_CORE_ATTENTION_H_
#define SERVER_CORE_ATTENTION_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "server/core/compute_pool.h"
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

// Refuses what Attention cannot compute: shapes that do not agree, options out
// of range, an alignment left open where it matters. Errors are
// INVALID_ARGUMENT and name the field by its name in the contract
// (proto/attention/v1/attention.proto). Does not read elements.
template <typename T>
absl::Status ValidateAttention(const AttentionInputs<T>& inputs,
                               const AttentionOptions& options,
                               const AttentionOutputs<T>& outputs);

// output = dropout(softmax(softcap(softmax_scale * query * key^T) + bias))
//          * value, per head; query head h reads key/value head
//          h / (num_heads / num_kv_heads).
//
// A position is excluded, as if its key were not there, by causal, window,
// key_lengths, attend_mask = 0 or bias = -inf. A row with no key to attend to
// is zeros, never NaN, and its lse is -inf. A live row that overflows T ends
// with INVALID_ARGUMENT naming stage and index, never with zeros. Keys and
// values beyond key_lengths are not read.
//
// Each element agrees with real arithmetic within the bound that
// tests/reference_attention.h derives. The bits of an item do not depend on the
// batch it is in, on threads, or on load (docs/adr/0002-determinism.md).
//
// Returns the steps to run, which refer to the memory behind the views and copy
// everything else.
// Source: Vaswani et al. 2017, eq. 1; grouped heads: Ainslie et al. 2023,
// softcap: Gemma Team 2024, eq. 1; dropout: Srivastava et al. 2014.
//
// REQUIRES: ValidateAttention(inputs, options, outputs).ok(); elements of
// query, key and value that are read are finite, and bias is not NaN or +inf;
// no output aliases an input.
template <typename T>
Computation AttentionSteps(const AttentionInputs<T>& inputs,
                           const AttentionOptions& options,
                           const AttentionOutputs<T>& outputs);

// The same, validated and run at once on the calling thread. Thread-safe.
template <typename T>
absl::Status Attention(const AttentionInputs<T>& inputs,
                       const AttentionOptions& options,
                       const AttentionOutputs<T>& outputs);

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_H_
