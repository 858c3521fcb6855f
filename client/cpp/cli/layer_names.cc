#include "client/cpp/cli/layer_names.h"

#include "absl/strings/str_cat.h"
#include "client/cpp/cli/cli_status.h"

namespace attention::client {
namespace {

ProjectionNames WeightAndBias(const std::string& module) {
  return {absl::StrCat(module, ".weight"), absl::StrCat(module, ".bias")};
}

}  // namespace

const std::map<std::string, LayerForm>& LayerFormWords() {
  static const auto* const words =
      new std::map<std::string, LayerForm>{{"plain", LayerForm::kPlain},
                                           {"gpt2", LayerForm::kGpt2},
                                           {"bert", LayerForm::kBert}};
  return *words;
}

absl::StatusOr<int64_t> LayerNumber(LayerForm form,
                                    const std::optional<int64_t>& typed) {
  const bool has_layers = form != LayerForm::kPlain;
  if (has_layers == typed.has_value()) return typed.value_or(0);
  return UsageError(has_layers
                        ? "--preset needs --layer, the number of one layer"
                        : "--layer is for --preset gpt2 and bert; the plain "
                          "form is one layer");
}

LayerNames NamesOf(LayerForm form, const std::string& prefix, int64_t layer) {
  if (form == LayerForm::kGpt2) {
    const std::string front = absl::StrCat(prefix, "h.", layer, ".attn.");
    const ProjectionNames fused = WeightAndBias(front + "c_attn");
    return {fused, fused, fused, WeightAndBias(front + "c_proj")};
  }
  if (form == LayerForm::kBert) {
    const std::string front =
        absl::StrCat(prefix, "encoder.layer.", layer, ".attention.");
    return {WeightAndBias(front + "self.query"),
            WeightAndBias(front + "self.key"),
            WeightAndBias(front + "self.value"),
            WeightAndBias(front + "output.dense")};
  }
  return {WeightAndBias(prefix + "query"), WeightAndBias(prefix + "key"),
          WeightAndBias(prefix + "value"), WeightAndBias(prefix + "output")};
}

const std::vector<std::string>& UsualPrefixes(LayerForm form) {
  static const auto* const gpt2 =
      new std::vector<std::string>{"", "transformer."};
  static const auto* const bert = new std::vector<std::string>{"", "bert."};
  static const auto* const plain = new std::vector<std::string>{""};
  if (form == LayerForm::kGpt2) return *gpt2;
  return form == LayerForm::kBert ? *bert : *plain;
}

}  // namespace attention::client
