// One call of AttentionSteps and what follows from its shapes.
#ifndef SERVER_CORE_ATTENTION_PROBLEM_H_
#define SERVER_CORE_ATTENTION_PROBLEM_H_

#include <cmath>
#include <cstdint>

#include "server/core/attention/arguments.h"
#include "server/core/attention/key_range.h"
#include "server/core/attention/shape.h"

namespace attention::core {

// Immutable, and shared by all tasks of a call.
// REQUIRES: ValidateAttention(inputs, options, outputs).ok().
template <typename T>
struct AttentionProblem : AttentionShape {
  AttentionProblem(const AttentionInputs<T>& in, const AttentionOptions& opts,
                   const AttentionOutputs<T>& out)
      : AttentionShape(ShapeOf(in)),
        inputs(in),
        options(opts),
        outputs(out),
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
  const T softmax_scale;
};

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_PROBLEM_H_
