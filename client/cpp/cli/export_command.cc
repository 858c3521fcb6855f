#include "client/cpp/cli/export_command.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/progress_bar.h"

namespace attention::client {
namespace {

struct ExportFlags {
  std::string selector;
  std::string file;
  LayerExport layer;
  std::optional<int64_t> layer_number;
  std::optional<FileFormat> format;
  bool json = false;
  bool quiet = false;
};

absl::Status Export(const ExportFlags& flags, const Connection& connection) {
  const std::optional<FileFormat> format =
      flags.format ? flags.format : files::FormatOfEnding(flags.file);
  if (!format || !files::IsBundle(*format)) {
    return UsageError(
        absl::StrCat(flags.file,
                     ": ends in neither .safetensors nor .npz; name it so, or "
                     "add --format"));
  }
  const absl::StatusOr<int64_t> number =
      LayerNumber(flags.layer.form, flags.layer_number);
  if (!number.ok()) return number.status();
  LayerExport layer = flags.layer;
  layer.layer = *number;
  if (flags.json && flags.file == "-") {
    return UsageError(
        "--json and the file - are both the standard output; name a file");
  }
  auto stored =
      FetchWeights(flags.selector, flags.quiet || flags.json, connection);
  if (!stored.ok()) return stored.status();
  const std::string summary = MessageToJson(stored->summary);
  absl::Status written =
      WriteLayer(flags.file, *format, layer, *std::move(stored));
  if (!written.ok() || !flags.json) return written;
  return WriteFile("-", summary);
}

}  // namespace

absl::StatusOr<StoredWeightSet> FetchWeights(const std::string& selector,
                                             bool quiet,
                                             const Connection& connection) {
  absl::StatusOr<v1::WeightSetSelector> parsed = ParseSelector(selector);
  if (!parsed.ok()) return parsed.status();
  v1::GetWeightsRequest request;
  *request.mutable_weight_set() = *std::move(parsed);
  return connection.client.GetWeights(request, connection.Options(),
                                      ShowProgress(selector, quiet));
}

absl::Status WriteLayer(const std::string& path, FileFormat format,
                        const LayerExport& layer, StoredWeightSet stored) {
  const absl::StatusOr<LayerFile> file = ExportLayer(std::move(stored), layer);
  if (!file.ok()) return file.status();
  return WriteArrays(path, format, file->tensors, file->metadata);
}

void AddExportCommand(CLI::App& weights, Action& action) {
  const auto flags = std::make_shared<ExportFlags>();
  CLI::App& command = *weights.add_subcommand(
      "export", "Write one version as a checkpoint's layer");
  command.callback([flags, &action] {
    action = [flags](const Connection& connection) {
      return Export(*flags, connection);
    };
  });
  command.add_option("weight-set", flags->selector, "which version")
      ->type_name("NAME[@VERSION|:LABEL]")
      ->required();
  command.add_option("file", flags->file, "where to write it")
      ->type_name("FILE|-")
      ->required();
  AddWordOption(command, "--preset", flags->layer.form,
                "whose names and layout the tensors get; absent: plain, "
                "query.weight and so on, as they are",
                LayerFormWords());
  command
      .add_option("--layer", flags->layer_number, "which, from 0, of a preset")
      ->check(AtLeastZero());
  command
      .add_option("--prefix", flags->layer.prefix,
                  "what all names start with; absent: nothing")
      ->type_name("TEXT");
  AddWordOption(command, "--format", flags->format,
                "of the file; absent: by its ending",
                std::map<std::string, FileFormat>{
                    {"npz", FileFormat::kNpz},
                    {"safetensors", FileFormat::kSafetensors}});
  command.add_flag("--json", flags->json,
                   "print a WeightSetSummary of what was written as JSON");
  AddQuietFlag(command, flags->quiet);
  command.footer(R"(Examples:
  attention weights export layer layer.safetensors
  attention weights export full full.safetensors --preset gpt2 --layer 3
  attention weights export layer:production layer.npz --json)");
}

}  // namespace attention::client
