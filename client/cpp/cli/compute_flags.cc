#include "client/cpp/cli/compute_flags.h"

#include <map>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/tensor_file.h"

namespace attention::client {
namespace {

using Options = v1::AttentionMatrixOptions;

const std::map<std::string, Options::Stage>& StageWords() {
  static const auto* words = new std::map<std::string, Options::Stage>{
      {"scores", Options::STAGE_SCORES},
      {"softcapped", Options::STAGE_SOFTCAPPED},
      {"biased", Options::STAGE_BIASED},
      {"attention-weights", Options::STAGE_ATTENTION_WEIGHTS}};
  return *words;
}

const std::map<std::string, v1::Alignment>& AlignmentWords() {
  static const auto* words = new std::map<std::string, v1::Alignment>{
      {"top-left", v1::ALIGNMENT_TOP_LEFT},
      {"bottom-right", v1::ALIGNMENT_BOTTOM_RIGHT}};
  return *words;
}

void AddTensorFlags(CLI::App& command, TensorFlags& flags) {
  constexpr char kGroup[] =
      "Tensors (npy, npz, safetensors, JSON or CSV; - is stdin)";
  const auto add = [&](const std::string& name, std::string& value,
                       const std::string& description) {
    command.add_option(name, value, description)
        ->type_name("FILE[:NAME]|-")
        ->group(kGroup);
  };
  add("--query", flags.query, "[len, width] or [batch, len, width]");
  add("--key", flags.key, "absent: the query (self-attention)");
  add("--value", flags.value, "absent: the key tensor");
  add("--attend-mask", flags.attend_mask, "1 or true = attend");
  add("--bias", flags.bias, "added to the scores; -inf excludes");
  AddWordOption(command, "--dtype", flags.dtype,
                "what query, key and value are rounded to; absent: as their "
                "files have it, float32 for JSON arrays and CSV",
                DataTypeWords())
      ->group(kGroup);
  AddInputFlags(command, flags.input);
}

void AddHeadFlags(CLI::App& command, HeadFlags& flags) {
  constexpr char kGroup[] = "Projections and heads";
  command
      .add_option("--weight-set", flags.weight_set,
                  "projections to apply; neither version nor label: the latest")
      ->type_name("NAME[@VERSION|:LABEL]")
      ->group(kGroup);
  command.add_option("--heads", flags.num_heads, "query heads")->group(kGroup);
  command.add_option("--kv-heads", flags.num_kv_heads, "key/value heads")
      ->group(kGroup);
}

void AddPositionFlags(CLI::App& command, PositionFlags& flags) {
  constexpr char kGroup[] = "Positions";
  command.add_flag("--causal", flags.causal, "no row sees a later key")
      ->group(kGroup);
  command
      .add_option("--window-left", flags.window_left,
                  "keys seen to the left of a row's own")
      ->group(kGroup);
  command
      .add_option("--window-right", flags.window_right,
                  "keys seen to the right of a row's own")
      ->group(kGroup);
  AddWordOption(command, "--alignment", flags.alignment,
                "where row 0 stands among the keys", AlignmentWords())
      ->group(kGroup);
  command
      .add_option("--query-offsets", flags.query_offsets,
                  "where row 0 stands, per batch item: 0,-2,5")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(kGroup);
  command
      .add_option("--key-lengths", flags.key_lengths,
                  "valid keys, per batch item: 3,6")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(kGroup);
}

void AddSoftmaxFlags(CLI::App& command, SoftmaxFlags& flags) {
  constexpr char kGroup[] = "Softmax";
  command
      .add_option("--scale", flags.scale,
                  "factor on the scores; absent: 1 / sqrt(head_dim)")
      ->group(kGroup);
  command.add_option("--softcap", flags.softcap, "caps scores smoothly")
      ->group(kGroup);
  CLI::Option* dropout =
      command
          .add_option("--dropout", flags.dropout,
                      "probability of dropping an attention weight")
          ->group(kGroup);
  command.add_option("--seed", flags.seed, "of dropout; absent: 0")
      ->check(AtLeastZero())
      ->needs(dropout)
      ->group(kGroup);
}

struct MatrixOptions {
  CLI::Option* matrix;
  CLI::Option* mean;
};

MatrixOptions AddMatrixFlags(CLI::App& command, ShowFlags& flags) {
  return {AddWordOption(command, "--matrix", flags.matrix,
                        "the attention matrix at a stage", StageWords()),
          command.add_flag("--mean", flags.mean, "its mean over the heads")};
}

void AddShowFlags(CLI::App& command, ShowFlags& flags) {
  constexpr char kGroup[] = "What to show beside the output";
  const MatrixOptions options = AddMatrixFlags(command, flags);
  options.matrix->group(kGroup);
  options.mean->needs(options.matrix)->group(kGroup);
  command.add_option("--top-k", flags.top_k, "the largest weights of each row")
      ->group(kGroup);
  command.add_flag("--lse", flags.lse, "the log-sum-exp of each row")
      ->group(kGroup);
}

absl::Status ApplyTensors(const TensorFlags& flags, bool stdin_is_taken,
                          v1::ComputeAttentionRequest& request) {
  using Request = v1::ComputeAttentionRequest;
  const v1::DataType text_dtype = flags.dtype.value_or(v1::DATA_TYPE_FLOAT32);
  const struct {
    const char* name;
    const std::string& path;
    v1::DataType text_dtype;
    std::optional<v1::DataType> dtype;
    v1::Tensor* (Request::*field)();
  } tensors[] = {
      {"--query", flags.query, text_dtype, flags.dtype,
       &Request::mutable_query},
      {"--key", flags.key, text_dtype, flags.dtype, &Request::mutable_key},
      {"--value", flags.value, text_dtype, flags.dtype,
       &Request::mutable_value},
      {"--attend-mask",
       flags.attend_mask,
       v1::DATA_TYPE_BOOL,
       {},
       &Request::mutable_attend_mask},
      // As typed: the server rounds it to the compute type.
      {"--bias",
       flags.bias,
       v1::DATA_TYPE_FLOAT64,
       {},
       &Request::mutable_bias}};
  for (const auto& tensor : tensors) {
    if (tensor.path.empty()) continue;
    const bool is_stdin = files::PlaceOf(tensor.path).path == "-";
    if (is_stdin && stdin_is_taken) {
      return UsageError(absl::StrCat(
          tensor.name, " is -, but the standard input was read already"));
    }
    stdin_is_taken |= is_stdin;
    absl::StatusOr<v1::Tensor> read =
        ReadTensor(tensor.path, tensor.text_dtype, flags.input);
    if (!read.ok()) {
      return UsageError(
          absl::StrCat(tensor.name, ": ", read.status().message()));
    }
    if (tensor.dtype) {
      absl::Status status = ConvertTensor(*tensor.dtype, tensor.name, *read);
      if (!status.ok()) return status;
    }
    *(request.*tensor.field)() = *std::move(read);
  }
  return absl::OkStatus();
}

absl::Status ApplyHeads(const HeadFlags& flags,
                        v1::ComputeAttentionRequest& request) {
  if (!flags.weight_set.empty()) {
    absl::StatusOr<v1::WeightSetSelector> selector =
        ParseSelector(flags.weight_set);
    if (!selector.ok()) return selector.status();
    *request.mutable_weight_set() = *std::move(selector);
  }
  if (flags.num_heads) request.set_num_heads(*flags.num_heads);
  if (flags.num_kv_heads) request.set_num_kv_heads(*flags.num_kv_heads);
  return absl::OkStatus();
}

void ApplyPositions(const PositionFlags& flags,
                    v1::ComputeAttentionRequest& request) {
  if (flags.causal) request.set_causal(true);
  if (flags.window_left) request.set_window_left(*flags.window_left);
  if (flags.window_right) request.set_window_right(*flags.window_right);
  if (flags.alignment) request.set_alignment(*flags.alignment);
  if (!flags.query_offsets.empty()) {
    request.mutable_query_offsets()->Assign(flags.query_offsets.begin(),
                                            flags.query_offsets.end());
  }
  if (!flags.key_lengths.empty()) {
    request.mutable_key_lengths()->Assign(flags.key_lengths.begin(),
                                          flags.key_lengths.end());
  }
}

void ApplySoftmax(const SoftmaxFlags& flags,
                  v1::ComputeAttentionRequest& request) {
  if (flags.scale) request.set_softmax_scale(*flags.scale);
  if (flags.softcap) request.set_softcap(*flags.softcap);
  if (flags.dropout) request.mutable_dropout()->set_probability(*flags.dropout);
  if (flags.seed) request.mutable_dropout()->set_seed(*flags.seed);
}

void ApplyShow(const ShowFlags& flags, v1::ComputeAttentionRequest& request) {
  if (flags.matrix) {
    auto& matrix = *request.mutable_attention_matrix();
    matrix.set_stage(*flags.matrix);
    matrix.set_heads(flags.mean ? Options::HEADS_MEAN
                                : Options::HEADS_PER_HEAD);
  }
  if (flags.top_k) request.set_top_k(*flags.top_k);
  if (flags.lse) request.set_want_lse(true);
}

void AddComputationFlags(CLI::App& command, RequestFlags& flags) {
  command
      .add_option("--request", flags.request,
                  "a ComputeAttentionRequest in proto3 JSON; flags beside it "
                  "replace its fields")
      ->type_name("FILE|-");
  AddTensorFlags(command, flags.tensors);
  AddHeadFlags(command, flags.heads);
  AddPositionFlags(command, flags.positions);
  AddSoftmaxFlags(command, flags.softmax);
}

}  // namespace

void AddRequestFlags(CLI::App& command, RequestFlags& flags) {
  AddComputationFlags(command, flags);
  AddShowFlags(command, flags.show);
}

void AddMatrixRequestFlags(CLI::App& command, RequestFlags& flags) {
  AddComputationFlags(command, flags);
  constexpr char kGroup[] = "What to show";
  const MatrixOptions options = AddMatrixFlags(command, flags.show);
  options.matrix->description("the stage; absent: attention-weights")
      ->group(kGroup);
  options.mean->group(kGroup);
}

absl::StatusOr<v1::ComputeAttentionRequest> BuildRequest(
    const RequestFlags& flags) {
  v1::ComputeAttentionRequest request;
  if (!flags.request.empty()) {
    const absl::StatusOr<std::string> text = ReadFile(flags.request);
    if (!text.ok()) return text.status();
    absl::Status status = MessageFromJson(*text, flags.request, request);
    if (!status.ok()) return status;
  } else if (flags.tensors.query.empty()) {
    return UsageError("--query or --request is required");
  }
  absl::Status status = ApplyRequestFlags(
      flags, /*stdin_is_taken=*/flags.request == "-", request);
  if (!status.ok()) return status;
  return request;
}

absl::Status ApplyRequestFlags(const RequestFlags& flags, bool stdin_is_taken,
                               v1::ComputeAttentionRequest& request) {
  absl::Status status = ApplyTensors(flags.tensors, stdin_is_taken, request);
  if (status.ok()) status = ApplyHeads(flags.heads, request);
  if (!status.ok()) return status;
  ApplyPositions(flags.positions, request);
  ApplySoftmax(flags.softmax, request);
  ApplyShow(flags.show, request);
  return absl::OkStatus();
}

}  // namespace attention::client
