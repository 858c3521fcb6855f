// What a ComputeAttentionRequest asks for, once it has been understood.
#ifndef SERVER_RPC_COMPUTE_REQUEST_H_
#define SERVER_RPC_COMPUTE_REQUEST_H_

#include <cstdint>
#include <optional>

#include "absl/container/inlined_vector.h"
#include "attention/v1/attention.pb.h"
#include "server/core/attention/arguments.h"
#include "server/core/attention/shape.h"
#include "server/rpc/tensors/input.h"

namespace attention::rpc {

// The shape of a tensor.
using Axes = absl::InlinedVector<int64_t, 4>;

// Refers to the request it was parsed from, which must outlive it.
struct ComputeRequest {
  // Views of the request; key is the query's if the message has none, value
  // the key's.
  InputTensor query;
  InputTensor key;
  InputTensor value;
  bool own_key = false;
  bool own_value = false;
  std::optional<InputTensor> attend_mask;
  std::optional<InputTensor> bias;

  bool has_batch = false;    // rank 3 or 4
  bool heads_apart = false;  // rank 4
  // Of the attention, after any projections.
  core::AttentionShape shape;
  // Last axis of the output.
  int64_t output_width = 0;

  core::AttentionOptions options;

  std::optional<core::Stage> matrix_stage;
  bool mean_over_heads = false;
  std::optional<int64_t> top_k;  // entries of a row: min(top_k, kv_len)
  bool want_lse = false;

  v1::DataType dtype() const { return query.dtype(); }
  // FLOAT64 or FLOAT32.
  v1::DataType compute_dtype() const;
  bool reply_as_values() const { return query.has_values(); }
  // The two outermost axes of what has one entry per head, or head and row.
  Axes WithBatch(Axes axes) const;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_REQUEST_H_
