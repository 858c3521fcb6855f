// What Attention refuses; declared in attention.h.
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/core/attention/attention.h"

namespace attention::core {
namespace {

// Positions beyond this are refused, so that sums of a few cannot overflow.
constexpr int64_t kMaxPosition = int64_t{1} << 40;

absl::Status RequireEqual(absl::string_view field, absl::string_view axis,
                          int64_t found, absl::string_view other,
                          int64_t expected) {
  if (found == expected) return absl::OkStatus();
  return FieldError(field, absl::StrCat("has ", axis, " ", found, " but ",
                                        other, " has ", expected));
}

// A factor that T can hold without turning into 0 or infinity.
template <typename T>
absl::Status RequireRepresentable(absl::string_view field, double factor) {
  const double magnitude = std::abs(factor);
  if (factor == 0 || (magnitude >= std::numeric_limits<T>::min() &&
                      magnitude <= std::numeric_limits<T>::max())) {
    return absl::OkStatus();
  }
  return FieldError(
      field,
      absl::StrCat("is ", factor, "; ", sizeof(T) == 4 ? "FLOAT32" : "FLOAT64",
                   " compute needs a finite number that is 0 or between ",
                   std::numeric_limits<T>::min(), " and ",
                   std::numeric_limits<T>::max(), " in magnitude"));
}

template <typename T>
absl::Status ValidateInputs(const AttentionInputs<T>& inputs) {
  const auto& query = inputs.query.shape;
  const auto& key = inputs.key.shape;
  const auto& value = inputs.value.shape;
  if (query[kColumn] < 1) return FieldError("query", "has head_dim 0");
  if (value[kColumn] < 1) return FieldError("value", "has value_dim 0");
  if (query[kHead] < 1) return FieldError("num_heads", "is 0");
  if (key[kHead] < 1 || query[kHead] % key[kHead] != 0) {
    return FieldError(
        "num_kv_heads",
        absl::StrCat("is ", key[kHead], ", which does not divide num_heads ",
                     query[kHead]));
  }
  for (const absl::Status& status :
       {RequireEqual("key", "head_dim", key[kColumn], "query", query[kColumn]),
        RequireEqual("key", "batch", key[kBatch], "query", query[kBatch]),
        RequireEqual("value", "batch", value[kBatch], "query", query[kBatch]),
        RequireEqual("value", "num_kv_heads", value[kHead], "key", key[kHead]),
        RequireEqual("value", "kv_len", value[kRow], "key", key[kRow])}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ValidatePositions(const AttentionOptions& options, int64_t batch,
                               int64_t query_len, int64_t kv_len) {
  const bool bounded =
      options.causal || options.window_left || options.window_right;
  if (options.window_left &&
      (*options.window_left < 0 || *options.window_left > kMaxPosition)) {
    return FieldError("window_left", absl::StrCat("is ", *options.window_left,
                                                  "; at least 0 is allowed"));
  }
  if (options.window_right &&
      (*options.window_right < 0 || *options.window_right > kMaxPosition)) {
    return FieldError("window_right", absl::StrCat("is ", *options.window_right,
                                                   "; at least 0 is allowed"));
  }
  if (!options.query_offsets.empty()) {
    if (options.alignment != Alignment::kUnspecified) {
      return FieldError("query_offsets",
                        "come together with alignment; set one of them");
    }
    if (!bounded) {
      return FieldError("query_offsets",
                        "say nothing without causal, window_left or "
                        "window_right; set one of these or leave them out");
    }
    if (static_cast<int64_t>(options.query_offsets.size()) != batch) {
      return FieldError("query_offsets",
                        absl::StrCat("has ", options.query_offsets.size(),
                                     " entries but batch is ", batch));
    }
    for (size_t item = 0; item < options.query_offsets.size(); ++item) {
      if (std::abs(options.query_offsets[item]) > kMaxPosition) {
        return FieldError(
            absl::StrCat("query_offsets[", item, "]"),
            absl::StrCat("is ", options.query_offsets[item], "; at most ",
                         kMaxPosition, " in magnitude is allowed"));
      }
    }
    return absl::OkStatus();
  }
  if (bounded && options.alignment == Alignment::kUnspecified &&
      (query_len != kv_len || !options.key_lengths.empty())) {
    return FieldError(
        "alignment",
        absl::StrCat(
            "is unspecified but matters: with causal or a window, ",
            options.key_lengths.empty()
                ? absl::StrCat("query_len ", query_len, " differs from kv_len ",
                               kv_len)
                : "key_lengths are given",
            "; set TOP_LEFT (row i stands at key i), BOTTOM_RIGHT (the last "
            "row stands at the last valid key), or query_offsets"));
  }
  return absl::OkStatus();
}

absl::Status ValidateKeyLengths(const AttentionOptions& options, int64_t batch,
                                int64_t kv_len) {
  if (options.key_lengths.empty()) return absl::OkStatus();
  if (static_cast<int64_t>(options.key_lengths.size()) != batch) {
    return FieldError("key_lengths",
                      absl::StrCat("has ", options.key_lengths.size(),
                                   " entries but batch is ", batch));
  }
  for (size_t item = 0; item < options.key_lengths.size(); ++item) {
    const int64_t length = options.key_lengths[item];
    if (length < 0 || length > kv_len) {
      return FieldError(absl::StrCat("key_lengths[", item, "]"),
                        absl::StrCat("is ", length, "; 0 to kv_len = ", kv_len,
                                     " is allowed"));
    }
  }
  return absl::OkStatus();
}

absl::Status RequireShape(absl::string_view field,
                          const std::array<int64_t, 4>& found,
                          const std::array<int64_t, 4>& expected) {
  constexpr const char* kAxes[] = {"batch", "num_heads", "query_len",
                                   "last axis"};
  for (size_t axis = 0; axis < expected.size(); ++axis) {
    if (found[axis] != expected[axis]) {
      return FieldError(field,
                        absl::StrCat("has ", kAxes[axis], " ", found[axis],
                                     " instead of ", expected[axis]));
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status ValidateOutputs(const AttentionOutputs<T>& outputs, int64_t batch,
                             int64_t num_heads, int64_t query_len,
                             int64_t kv_len, int64_t value_dim) {
  absl::Status status = RequireShape("output", outputs.output.shape,
                                     {batch, num_heads, query_len, value_dim});
  if (status.ok() && outputs.mean_over_heads &&
      outputs.matrix_stage != Stage::kAttentionWeights) {
    return FieldError("attention_matrix.heads",
                      "is HEADS_MEAN, which is for STAGE_ATTENTION_WEIGHTS "
                      "only; ask for HEADS_PER_HEAD");
  }
  if (status.ok() && outputs.matrix) {
    const int64_t heads = outputs.mean_over_heads ? 1 : num_heads;
    status = RequireShape("attention_matrix", outputs.matrix.shape,
                          {batch, heads, query_len, kv_len});
  }
  if (status.ok() && outputs.top_k_weights) {
    const int64_t k = outputs.top_k_weights.shape[kColumn];
    if (k > kv_len) {
      return FieldError("top_k",
                        absl::StrCat("is ", k, " but kv_len is ", kv_len));
    }
    status = RequireShape("top_k", outputs.top_k_weights.shape,
                          {batch, num_heads, query_len, k});
    if (status.ok()) {
      status = RequireShape("top_k", outputs.top_k_indices.shape,
                            outputs.top_k_weights.shape);
    }
  }
  if (status.ok() && outputs.lse) {
    status = RequireShape("lse", outputs.lse.shape,
                          {batch, num_heads, query_len, 1});
  }
  return status;
}

template <typename T>
absl::Status ValidateFactors(const AttentionOptions& options) {
  if (options.softmax_scale) {
    absl::Status status =
        RequireRepresentable<T>("softmax_scale", *options.softmax_scale);
    if (!status.ok()) return status;
  }
  if (options.softcap) {
    if (!(*options.softcap > 0)) {
      return FieldError("softcap", absl::StrCat("is ", *options.softcap,
                                                "; above 0 is allowed, unset "
                                                "means no cap"));
    }
    absl::Status status = RequireRepresentable<T>("softcap", *options.softcap);
    if (!status.ok()) return status;
  }
  if (options.dropout && !(options.dropout->probability >= 0 &&
                           options.dropout->probability < 1)) {
    return FieldError("dropout.probability",
                      absl::StrCat("is ", options.dropout->probability,
                                   "; 0 <= probability < 1 is allowed"));
  }
  return absl::OkStatus();
}

}  // namespace

template <typename T>
absl::Status ValidateAttention(const AttentionInputs<T>& inputs,
                               const AttentionOptions& options,
                               const AttentionOutputs<T>& outputs) {
  absl::Status status = ValidateInputs(inputs);
  if (!status.ok()) return status;
  const int64_t batch = inputs.query.shape[kBatch];
  const int64_t num_heads = inputs.query.shape[kHead];
  const int64_t query_len = inputs.query.shape[kRow];
  const int64_t kv_len = inputs.key.shape[kRow];
  const std::array<int64_t, 4> scores = {batch, num_heads, query_len, kv_len};
  if (inputs.attend_mask) {
    status = RequireShape("attend_mask", inputs.attend_mask.shape, scores);
  }
  if (status.ok() && inputs.bias) {
    status = RequireShape("bias", inputs.bias.shape, scores);
  }
  if (status.ok()) status = ValidateFactors<T>(options);
  if (status.ok()) status = ValidateKeyLengths(options, batch, kv_len);
  if (status.ok()) {
    status = ValidatePositions(options, batch, query_len, kv_len);
  }
  if (status.ok()) {
    status = ValidateOutputs(outputs, batch, num_heads, query_len, kv_len,
                             inputs.value.shape[kColumn]);
  }
  return status;
}

template absl::Status ValidateAttention<float>(const AttentionInputs<float>&,
                                               const AttentionOptions&,
                                               const AttentionOutputs<float>&);
template absl::Status ValidateAttention<double>(
    const AttentionInputs<double>&, const AttentionOptions&,
    const AttentionOutputs<double>&);

}  // namespace attention::core
