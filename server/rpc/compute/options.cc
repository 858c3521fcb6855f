#include "server/rpc/compute/options.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"

namespace attention::rpc {
namespace {

using absl::StrCat;

// An enum value this server does not know, or the one for "unspecified".
template <typename Enum>
absl::Status UnknownValue(absl::string_view field, Enum found,
                          absl::string_view expected) {
  return FieldError(
      field, StrCat("is ", static_cast<int>(found), "; expected ", expected));
}

// Rank 1, 2 or 4, and each axis 1 or that of [batch, num_heads, query_len,
// kv_len] it lines up with.
absl::Status CheckBroadcast(const TensorView& tensor,
                            const core::AttentionShape& shape) {
  const absl::Span<const int64_t> found = tensor.shape();
  const std::string field = StrCat(tensor.field(), ".shape");
  if (found.size() == 3) {
    return FieldError(
        field,
        StrCat("has 3 axes, which could mean [batch, query_len, kv_len] or "
               "[num_heads, query_len, kv_len]; send [",
               found[0], ", 1, ", found[1], ", ", found[2], "] or [1, ",
               found[0], ", ", found[1], ", ", found[2], "]"));
  }
  constexpr std::array<const char*, 4> kNames = {"batch", "num_heads",
                                                 "query_len", "kv_len"};
  const std::array<int64_t, 4> full = {shape.batch, shape.num_heads,
                                       shape.query_len, shape.kv_len};
  const size_t first = full.size() - found.size();
  for (size_t axis = 0; axis < found.size(); ++axis) {
    const int64_t size = full[first + axis];
    if (found[axis] != size && found[axis] != 1) {
      return FieldError(
          StrCat(field, "[", axis, "]"),
          StrCat("is ", found[axis], " but ", kNames[first + axis], " is ",
                 size, "; expected ", size, size == 1 ? "" : " or 1"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<InputTensor> ParseBroadcast(const v1::Tensor& tensor,
                                           absl::string_view field,
                                           const ReceivedRequest& received,
                                           bool boolean,
                                           const CodecLimits& limits,
                                           const core::AttentionShape& shape) {
  absl::StatusOr<InputTensor> view =
      ReadInputTensor(received, tensor, field, limits);
  if (!view.ok()) return view;
  if (IsFloat(view->dtype()) == boolean) {
    return FieldError(
        StrCat(field, ".dtype"),
        StrCat("is ", DataTypeName(view->dtype()), "; expected ",
               boolean ? "BOOL (true = attend); an additive mask is bias"
                       : "a float, which is added to the scores; a boolean "
                         "mask is attend_mask"));
  }
  if (absl::Status status = CheckBroadcast(*view, shape); !status.ok()) {
    return status;
  }
  return view;
}

absl::Status ParseMatrix(const v1::AttentionMatrixOptions& message,
                         ComputeRequest& request) {
  using Options = v1::AttentionMatrixOptions;
  switch (message.stage()) {
    case Options::STAGE_SCORES:
      request.matrix_stage = core::Stage::kScores;
      break;
    case Options::STAGE_SOFTCAPPED:
      request.matrix_stage = core::Stage::kSoftcapped;
      break;
    case Options::STAGE_BIASED:
      request.matrix_stage = core::Stage::kBiased;
      break;
    case Options::STAGE_ATTENTION_WEIGHTS:
      request.matrix_stage = core::Stage::kAttentionWeights;
      break;
    default:
      return UnknownValue("attention_matrix.stage", message.stage(),
                          "STAGE_SCORES, STAGE_SOFTCAPPED, STAGE_BIASED or "
                          "STAGE_ATTENTION_WEIGHTS");
  }
  switch (message.heads()) {
    case Options::HEADS_UNSPECIFIED:
    case Options::HEADS_PER_HEAD:
      return absl::OkStatus();
    case Options::HEADS_MEAN:
      request.mean_over_heads = true;
      return absl::OkStatus();
    default:
      return UnknownValue("attention_matrix.heads", message.heads(),
                          "HEADS_PER_HEAD or HEADS_MEAN");
  }
}

}  // namespace

absl::Status ParseMasks(const ReceivedRequest& received,
                        const CodecLimits& limits, ComputeRequest& request) {
  const v1::ComputeAttentionRequest& message = received.message();
  if (message.has_attend_mask()) {
    absl::StatusOr<InputTensor> view =
        ParseBroadcast(message.attend_mask(), "attend_mask", received, true,
                       limits, request.shape);
    if (!view.ok()) return view.status();
    request.attend_mask = *std::move(view);
  }
  if (message.has_bias()) {
    absl::StatusOr<InputTensor> view = ParseBroadcast(
        message.bias(), "bias", received, false, limits, request.shape);
    if (!view.ok()) return view.status();
    request.bias = *std::move(view);
  }
  return absl::OkStatus();
}

absl::Status ParseOptions(const v1::ComputeAttentionRequest& message,
                          ComputeRequest& request) {
  core::AttentionOptions& options = request.options;
  switch (message.alignment()) {
    case v1::ALIGNMENT_UNSPECIFIED:
      options.alignment = core::Alignment::kUnspecified;
      break;
    case v1::ALIGNMENT_TOP_LEFT:
      options.alignment = core::Alignment::kTopLeft;
      break;
    case v1::ALIGNMENT_BOTTOM_RIGHT:
      options.alignment = core::Alignment::kBottomRight;
      break;
    default:
      return UnknownValue("alignment", message.alignment(),
                          "ALIGNMENT_TOP_LEFT or ALIGNMENT_BOTTOM_RIGHT");
  }
  options.causal = message.causal();
  if (message.has_window_left()) options.window_left = message.window_left();
  if (message.has_window_right()) options.window_right = message.window_right();
  options.query_offsets.assign(message.query_offsets().begin(),
                               message.query_offsets().end());
  options.key_lengths.assign(message.key_lengths().begin(),
                             message.key_lengths().end());
  if (message.has_softmax_scale()) {
    options.softmax_scale = message.softmax_scale();
  }
  if (message.has_softcap()) options.softcap = message.softcap();
  if (message.has_dropout()) {
    options.dropout = core::Dropout{message.dropout().probability(),
                                    message.dropout().seed()};
  }
  return absl::OkStatus();
}

absl::Status ParseWanted(const v1::ComputeAttentionRequest& message,
                         ComputeRequest& request) {
  if (message.has_attention_matrix()) {
    if (message.has_top_k()) {
      return FieldError("top_k",
                        "comes together with attention_matrix; ask for one "
                        "of them");
    }
    absl::Status status = ParseMatrix(message.attention_matrix(), request);
    if (!status.ok()) return status;
  }
  if (message.has_top_k()) {
    if (message.top_k() < 1) {
      return FieldError(
          "top_k", StrCat("is ", message.top_k(), "; at least 1 is allowed"));
    }
    request.top_k = std::min<int64_t>(message.top_k(), request.shape.kv_len);
  }
  request.want_lse = message.want_lse();
  return absl::OkStatus();
}

}  // namespace attention::rpc
