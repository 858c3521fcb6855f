// Attention of given query, key and value.
#ifndef SERVER_CORE_ATTENTION_ATTENTION_H_
#define SERVER_CORE_ATTENTION_ATTENTION_H_

#include "absl/status/status.h"
#include "server/core/attention/arguments.h"
#include "server/core/pool/compute_pool.h"

namespace attention::core {

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
// tests/reference/reference_attention.h derives. The bits of an item do not
// depend on the batch it is in, on threads, or on load
// (docs/adr/0002-determinism.md).
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

#endif  // SERVER_CORE_ATTENTION_ATTENTION_H_
