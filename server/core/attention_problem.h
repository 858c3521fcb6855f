// One call of AttentionSteps and what follows from its shapes.
#ifndef SERVER_CORE_ATTENTION_PROBLEM_H_
#define SERVER_CORE_ATTENTION_PROBLEM_H_

#include <cmath>
#include <cstdint>

#include "server/core/attention.h"
#include "server/core/key_range.h"

namespace attention::core {

// Immutable, and shared by all tasks of a call.
// REQUIRES: ValidateAttention(inputs, options, outputs).ok().
template <typename T>
struct AttentionProblem {
  AttentionProblem(const AttentionInputs<T>& in, const AttentionOptions& opts,
                   const AttentionOutputs<T>& out)
      : inputs(in),
        options(opts),
        outputs(out),
        batch(in.query.shape[kBatch]),
        num_heads(in.query.shape[kHead]),
        num_kv_heads(in.key.shape[kHead]),
        group_size(num_heads / num_kv_heads),
        query_len(in.query.shape[kRow]),
        kv_len(in.key.shape[kRow]),
        head_dim(in.query.shape[kColumn]),
        value_dim(in.value.shape[kColumn]),
        softmax_scale(static_cast<T>(opts.softmax_scale.value_or(
            1 / std::sqrt(static_cast<double>(head_dim))))) {}

  // Keys of a batch item that may be read.
  int64_t ValidKvLen(int64_t item) const {
    return core::ValidKvLen(options, item, kv_len);
  }

  // Where a query row stands among the keys of its batch item.
  int64_t Position(int64_t item, int64_t row) const {
    return row + QueryOffset(options, item, query_len, ValidKvLen(item));
  }

  // Keys that position lets any of `rows` rows see.
  KeyRange Visible(int64_t item, int64_t first_row, int64_t rows) const {
    return VisibleKeys(options, Position(item, first_row), rows,
                       ValidKvLen(item));
  }

  const AttentionInputs<T> inputs;
  const AttentionOptions options;
  const AttentionOutputs<T> outputs;
  const int64_t batch;
  const int64_t num_heads;
  const int64_t num_kv_heads;
  const int64_t group_size;  // query heads that share a key/value head
  const int64_t query_len;
  const int64_t kv_len;
  const int64_t head_dim;
  const int64_t value_dim;
  const T softmax_scale;
};

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_PROBLEM_H_
