// An attention layer: projections, attention, output projection.
#ifndef SERVER_CORE_LAYER_LAYER_H_
#define SERVER_CORE_LAYER_LAYER_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "server/core/attention/attention.h"
#include "server/core/layer/projection.h"

namespace attention::core {

// The projections of a layer. Views; the heads lie side by side along out.
template <typename T>
struct LayerWeights {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  Projection<T> query;                  // out = num_heads * head_dim
  Projection<T> key;                    // out = num_kv_heads * head_dim
  Projection<T> value;                  // out = num_kv_heads * value_dim
  std::optional<Projection<T>> output;  // in = num_heads * value_dim
};

// FAILED_PRECONDITION, naming the field and both widths, if the inputs do not
// have the width of their projection; else what ValidateAttention says.
//
// inputs.query, key and value are [batch, 1, len, width]; outputs.output is
// [batch, 1, query_len, output.out or num_heads * value_dim]; all else as
// in ValidateAttention.
template <typename T>
absl::Status ValidateLayer(const LayerWeights<T>& weights,
                           const AttentionInputs<T>& inputs,
                           const AttentionOptions& options,
                           const AttentionOutputs<T>& outputs);

// Projects query, key and value, computes attention per head, and applies the
// output projection; a dead row's output is that projection's bias. Rows of key
// and value beyond key_lengths are not read. What lies between the steps is
// kept in `memory`, LayerBytes of it aligned to 64 bytes, which the steps hold;
// null: allocated here, which may throw std::bad_alloc.
//
// REQUIRES: ValidateLayer(...).ok(), and as AttentionSteps.
template <typename T>
Computation LayerSteps(const LayerWeights<T>& weights,
                       const AttentionInputs<T>& inputs,
                       const AttentionOptions& options,
                       const AttentionOutputs<T>& outputs,
                       std::shared_ptr<T> memory = nullptr);

// Bytes of memory LayerSteps needs; saturating.
template <typename T>
int64_t LayerBytes(const LayerWeights<T>& weights, int64_t batch,
                   int64_t query_len, int64_t kv_len);

// Bytes of Workspace a task of LayerSteps takes at most; saturating. Reads
// shapes, and which of the views are there.
template <typename T>
int64_t LayerWorkspaceBytes(const LayerWeights<T>& weights,
                            const AttentionInputs<T>& inputs,
                            const AttentionOptions& options,
                            const AttentionOutputs<T>& outputs);

// Multiply-adds of projections and attention, every position counted;
// saturating.
template <typename T>
int64_t LayerMultiplyAdds(const LayerWeights<T>& weights, int64_t batch,
                          int64_t query_len, int64_t kv_len);

}  // namespace attention::core

#endif  // SERVER_CORE_LAYER_LAYER_H_
