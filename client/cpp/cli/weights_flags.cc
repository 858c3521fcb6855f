#include "client/cpp/cli/weights_flags.h"

#include <map>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/tensor_file.h"
#include "client/cpp/files/array_file.h"
#include "client/cpp/files/byte_source.h"

namespace attention::client {
namespace {

using Distribution = v1::Initializer::Distribution;

const std::map<std::string, Distribution>& DistributionWords() {
  static const auto* words = new std::map<std::string, Distribution>{
      {"uniform", v1::Initializer::DISTRIBUTION_UNIFORM},
      {"linear", v1::Initializer::DISTRIBUTION_LINEAR},
      {"xavier-uniform", v1::Initializer::DISTRIBUTION_XAVIER_UNIFORM}};
  return *words;
}

// `default_heads` is what the absence of --heads means.
void AddVersionFlags(CLI::App& command, VersionFlags& flags,
                     const std::string& default_heads) {
  command.add_option("name", flags.name, "name of the weight set")
      ->type_name("NAME")
      ->required();
  constexpr char kGroup[] = "The version";
  command
      .add_option("--expected-version", flags.expected_version,
                  "the latest version this builds on; 0: must be new")
      ->group(kGroup);
  command
      .add_option("--idempotency-key", flags.idempotency_key,
                  "the same key again appends nothing")
      ->group(kGroup);
  command
      .add_option("--label", flags.labels,
                  "label to point at the new version; may be repeated")
      ->allow_extra_args(false)
      ->group(kGroup);
  command
      .add_option("--annotation", flags.annotations,
                  "kept with the version; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false)
      ->group(kGroup);
  AddWordOption(command, "--layout", flags.layout,
                "how weights are stored: x * W (in-out) or x * W^T (out-in)",
                LayoutWords());
  command.add_option("--heads", flags.num_heads,
                     absl::StrCat("query heads; absent: ", default_heads));
  command.add_option("--kv-heads", flags.num_kv_heads,
                     "key/value heads; absent: as many");
}

void AddProjectionFlags(CLI::App& command, const std::string& name,
                        ProjectionFlags& flags) {
  constexpr char kGroup[] = "Tensors (npy, npz, safetensors, JSON or CSV)";
  command
      .add_option("--" + name + "-weight", flags.weight,
                  "matrix of the " + name + " projection")
      ->type_name("FILE[:NAME]|-")
      ->group(kGroup);
  command
      .add_option("--" + name + "-bias", flags.bias,
                  "bias of the " + name + " projection")
      ->type_name("FILE[:NAME]|-")
      ->group(kGroup);
}

void AddDtypeFlag(CLI::App& command, std::optional<v1::DataType>& dtype) {
  AddWordOption(command, "--dtype", dtype,
                "what the tensors are rounded to; absent: as their files have "
                "it, float32 for JSON arrays and CSV",
                DataTypeWords());
}

// --query NAME --query-bias NAME and so on.
void AddNameFlags(CLI::App& command, const std::string& name,
                  ProjectionNames& names) {
  constexpr char kGroup[] = "Names of tensors, of a layer of no preset";
  command
      .add_option("--" + name, names.weight,
                  absl::StrCat("weight; absent: ", name, ".weight"))
      ->type_name("NAME")
      ->group(kGroup);
  command
      .add_option("--" + name + "-bias", names.bias,
                  absl::StrCat("bias; absent: none, or ", name,
                               ".bias if its weight is not named either"))
      ->type_name("NAME")
      ->group(kGroup);
}

absl::Status ApplyVersion(const VersionFlags& flags,
                          v1::SetWeightsRequest& request) {
  request.set_name(flags.name);
  if (flags.expected_version) {
    request.set_expected_version(*flags.expected_version);
  }
  request.set_idempotency_key(flags.idempotency_key);
  request.mutable_labels()->Assign(flags.labels.begin(), flags.labels.end());
  for (const std::string& annotation : flags.annotations) {
    const size_t equals = annotation.find('=');
    if (equals == std::string::npos) {
      return UsageError(absl::StrCat("--annotation is \"", annotation,
                                     "\"; expected KEY=VALUE"));
    }
    (*request.mutable_annotations())[annotation.substr(0, equals)] =
        annotation.substr(equals + 1);
  }
  return absl::OkStatus();
}

// The layer in a file of several tensors.
absl::StatusOr<v1::WeightSet> ImportFile(const std::string& path,
                                         const LayerImport& layer,
                                         const InputFlags& input) {
  const auto source = files::OpenSource(path, input.limits);
  if (!source.ok()) return UsageError(source.status().message());
  const FileFormat format =
      input.format.value_or(files::FormatOfFile(path, **source));
  if (!files::IsBundle(format)) {
    return UsageError(absl::StrCat(
        (*source)->name(), ": is ", files::FileFormatWord(format),
        "; expected npz or safetensors, which hold tensors with names; of a "
        "checkpoint in several files, the one that has the layer"));
  }
  const auto bundle = files::OpenBundle(**source, format);
  if (!bundle.ok()) return UsageError(bundle.status().message());
  return ImportLayer(**bundle, layer, input.limits);
}

// The weight set in a file: a WeightSet in JSON, or an object that has one as
// "weights", such as a SetWeightsRequest or what `weights get --json` prints;
// or what `weights export` writes.
absl::Status WeightSetFromFile(const SetFlags& flags, v1::WeightSet& weights) {
  const std::optional<FileFormat> format = files::FormatOfEnding(flags.file);
  if (format && files::IsBundle(*format)) {
    LayerImport layer;
    layer.num_heads = flags.version.num_heads;
    layer.num_kv_heads = flags.version.num_kv_heads;
    layer.layout = flags.version.layout;
    layer.dtype = flags.dtype;
    absl::StatusOr<v1::WeightSet> imported =
        ImportFile(flags.file, layer, flags.input);
    if (!imported.ok()) return imported.status();
    weights = *std::move(imported);
    return absl::OkStatus();
  }
  const absl::StatusOr<std::string> text = ReadFile(flags.file);
  if (!text.ok()) return text.status();
  const auto json = ParseJson<nlohmann::json>(*text, flags.file);
  if (!json.ok()) return json.status();
  if (json->is_object() && json->contains("weights")) {
    return MessageFromJson(json->at("weights").dump(), flags.file, weights);
  }
  return MessageFromJson(*text, flags.file, weights);
}

absl::Status ApplyTensor(const std::string& flag, const std::string& path,
                         const SetFlags& flags, v1::Tensor& tensor) {
  absl::StatusOr<v1::Tensor> read = ReadTensor(
      path, flags.dtype.value_or(v1::DATA_TYPE_FLOAT32), flags.input);
  if (!read.ok()) {
    return UsageError(absl::StrCat(flag, ": ", read.status().message()));
  }
  tensor = *std::move(read);
  if (!flags.dtype) return absl::OkStatus();
  return ConvertTensor(*flags.dtype, flag, tensor);
}

absl::Status CheckStdinIsReadOnce(const SetFlags& flags) {
  const std::pair<const char*, const std::string&> files[] = {
      {"--file", flags.file},
      {"--query-weight", flags.query.weight},
      {"--query-bias", flags.query.bias},
      {"--key-weight", flags.key.weight},
      {"--key-bias", flags.key.bias},
      {"--value-weight", flags.value.weight},
      {"--value-bias", flags.value.bias},
      {"--output-weight", flags.output.weight},
      {"--output-bias", flags.output.bias}};
  std::string first;
  for (const auto& [name, path] : files) {
    if (path != "-") continue;
    if (!first.empty()) {
      return UsageError(absl::StrCat(
          first, " and ", name,
          " are both -, but the standard input can be read once only; name a "
          "file for one of them"));
    }
    first = name;
  }
  return absl::OkStatus();
}

absl::Status ApplyProjections(const SetFlags& flags, v1::WeightSet& weights) {
  const struct {
    const char* name;
    const ProjectionFlags& files;
    v1::Projection* (v1::WeightSet::*field)();
  } projections[] = {{"query", flags.query, &v1::WeightSet::mutable_query},
                     {"key", flags.key, &v1::WeightSet::mutable_key},
                     {"value", flags.value, &v1::WeightSet::mutable_value},
                     {"output", flags.output, &v1::WeightSet::mutable_output}};
  for (const auto& projection : projections) {
    if (!projection.files.weight.empty()) {
      absl::Status status =
          ApplyTensor(absl::StrCat("--", projection.name, "-weight"),
                      projection.files.weight, flags,
                      *(weights.*projection.field)()->mutable_weight());
      if (!status.ok()) return status;
    }
    if (!projection.files.bias.empty()) {
      // A bias is a row: [[1, 2]] in CSV is the same as [1, 2] in JSON.
      v1::Tensor& bias = *(weights.*projection.field)()->mutable_bias();
      absl::Status status =
          ApplyTensor(absl::StrCat("--", projection.name, "-bias"),
                      projection.files.bias, flags, bias);
      if (!status.ok()) return status;
      if (bias.shape_size() == 2 && bias.shape(0) == 1) {
        bias.mutable_shape()->erase(bias.shape().begin());
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddSetFlags(CLI::App& command, SetFlags& flags) {
  AddVersionFlags(command, flags.version, "as --file says, or 1");
  command
      .add_option("--file", flags.file,
                  "a WeightSet in proto3 JSON, or what `weights get --json` "
                  "prints, or an npz or safetensors of `weights export`; flags "
                  "beside it replace its fields")
      ->type_name("FILE|-");
  AddDtypeFlag(command, flags.dtype);
  AddInputFlags(command, flags.input);
  AddProjectionFlags(command, "query", flags.query);
  AddProjectionFlags(command, "key", flags.key);
  AddProjectionFlags(command, "value", flags.value);
  AddProjectionFlags(command, "output", flags.output);
}

void AddImportFlags(CLI::App& command, ImportFlags& flags) {
  AddVersionFlags(command, flags.version, "as the file says, if it does");
  command
      .add_option("file", flags.file,
                  "the checkpoint, safetensors or npz, in one file")
      ->type_name("FILE|-")
      ->required();
  LayerImport& layer = flags.layer;
  AddWordOption(command, "--preset", layer.form,
                "whose names and layout the tensors have; absent: plain, "
                "query.weight and so on",
                LayerFormWords());
  command
      .add_option("--layer", flags.layer_number, "which, from 0, of a preset")
      ->check(AtLeastZero());
  command
      .add_option("--prefix", layer.prefix,
                  "what all names start with; absent: nothing, or transformer. "
                  "(gpt2) or bert. (bert) if the file has it")
      ->type_name("TEXT");
  AddDtypeFlag(command, layer.dtype);
  AddInputFlags(command, flags.input);
  AddNameFlags(command, "query", layer.names.query);
  AddNameFlags(command, "key", layer.names.key);
  AddNameFlags(command, "value", layer.names.value);
  AddNameFlags(command, "output", layer.names.output);
}

void AddInitFlags(CLI::App& command, InitFlags& flags) {
  AddVersionFlags(command, flags.version, "1");
  AddWordOption(command, "--distribution", flags.distribution,
                "what is drawn, as PyTorch draws it", DistributionWords())
      ->required();
  command.add_option("--seed", flags.seed, "of the generator")->required();
  command.add_option("--query-width", flags.query_width, "columns of query")
      ->required();
  command.add_option("--key-width", flags.key_width,
                     "columns of key; absent: as query");
  command.add_option("--value-width", flags.value_width,
                     "columns of value; absent: as key");
  command
      .add_option("--head-dim", flags.head_dim,
                  "query and key columns per head")
      ->required();
  command.add_option("--value-dim", flags.value_dim,
                     "value columns per head; absent: head_dim");
  command.add_option("--output-width", flags.output_width,
                     "columns of an output projection; absent: none");
  command.add_flag("--input-bias", flags.input_bias,
                   "query, key and value get a bias");
  command.add_flag("--output-bias", flags.output_bias,
                   "the output projection gets a bias");
}

absl::StatusOr<v1::SetWeightsRequest> BuildSetRequest(const SetFlags& flags) {
  v1::SetWeightsRequest request;
  absl::Status status = CheckStdinIsReadOnce(flags);
  if (status.ok()) status = ApplyVersion(flags.version, request);
  v1::WeightSet& weights = *request.mutable_weights();
  if (status.ok() && !flags.file.empty()) {
    status = WeightSetFromFile(flags, weights);
  }
  if (status.ok()) status = ApplyProjections(flags, weights);
  if (!status.ok()) return status;

  const VersionFlags& version = flags.version;
  if (version.layout != v1::LAYOUT_UNSPECIFIED) {
    weights.set_layout(version.layout);
  }
  if (version.num_heads) weights.set_num_heads(*version.num_heads);
  if (version.num_kv_heads) weights.set_num_kv_heads(*version.num_kv_heads);
  if (flags.file.empty() && !version.num_heads) weights.set_num_heads(1);
  return request;
}

absl::StatusOr<v1::SetWeightsRequest> BuildImportRequest(
    const ImportFlags& flags) {
  v1::SetWeightsRequest request;
  absl::Status status = ApplyVersion(flags.version, request);
  if (!status.ok()) return status;
  LayerImport layer = flags.layer;
  const absl::StatusOr<int64_t> number =
      LayerNumber(layer.form, flags.layer_number);
  if (!number.ok()) return number.status();
  layer.layer = *number;
  const LayerNames& names = layer.names;
  const bool has_names =
      !absl::StrCat(names.query.weight, names.query.bias, names.key.weight,
                    names.key.bias, names.value.weight, names.value.bias,
                    names.output.weight, names.output.bias)
           .empty();
  if (has_names && layer.form != LayerForm::kPlain) {
    return UsageError(
        "--preset says what the tensors are called; leave out --query, --key "
        "and the other names, or the preset");
  }
  layer.num_heads = flags.version.num_heads;
  layer.num_kv_heads = flags.version.num_kv_heads;
  layer.layout = flags.version.layout;
  absl::StatusOr<v1::WeightSet> weights =
      ImportFile(flags.file, layer, flags.input);
  if (!weights.ok()) return weights.status();
  *request.mutable_weights() = *std::move(weights);
  return request;
}

absl::StatusOr<v1::SetWeightsRequest> BuildInitRequest(const InitFlags& flags) {
  v1::SetWeightsRequest request;
  absl::Status status = ApplyVersion(flags.version, request);
  if (!status.ok()) return status;
  v1::Initializer& initializer = *request.mutable_initializer();
  initializer.set_distribution(flags.distribution);
  initializer.set_seed(flags.seed);
  initializer.set_layout(flags.version.layout);
  initializer.set_num_heads(flags.version.num_heads.value_or(1));
  if (flags.version.num_kv_heads) {
    initializer.set_num_kv_heads(*flags.version.num_kv_heads);
  }
  initializer.set_query_width(flags.query_width);
  if (flags.key_width) initializer.set_key_width(*flags.key_width);
  if (flags.value_width) initializer.set_value_width(*flags.value_width);
  initializer.set_head_dim(flags.head_dim);
  if (flags.value_dim) initializer.set_value_dim(*flags.value_dim);
  if (flags.output_width) initializer.set_output_width(*flags.output_width);
  initializer.set_input_bias(flags.input_bias);
  initializer.set_output_bias(flags.output_bias);
  return request;
}

}  // namespace attention::client
