#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/export_command.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/progress_bar.h"
#include "client/cpp/cli/table.h"
#include "client/cpp/cli/tensor_file.h"
#include "client/cpp/cli/weights_flags.h"
#include "proto/codec.h"

namespace attention::client {
namespace {

std::string VersionLine(const v1::WeightSetVersion& version) {
  return absl::StrCat(version.name(), "@", version.version(), ", sha256 ",
                      version.sha256(), "\n");
}

absl::Status Print(const std::string& text) { return WriteFile("-", text); }

// Adds `name` below `weights`; `run` gets what the flags said.
template <typename Flags>
CLI::App& AddAction(CLI::App& weights, const std::string& name,
                    const std::string& description,
                    const std::shared_ptr<Flags>& flags,
                    absl::Status (*run)(const Flags&, const Connection&),
                    Action& action) {
  CLI::App& command = *weights.add_subcommand(name, description);
  command.callback([flags, run, &action] {
    action = [flags, run](const Connection& connection) {
      return run(*flags, connection);
    };
  });
  return command;
}

// Prints the version of what SetWeights or UploadWeights answered.
template <typename Response>
absl::Status PrintVersion(const absl::StatusOr<Response>& response, bool json) {
  if (!response.ok()) return response.status();
  return Print(json ? MessageToJson(*response)
                    : VersionLine(response->version()));
}

// How a set is sent and its version printed.
struct UploadFlags {
  bool json = false;
  bool quiet = false;
};

void AddUploadFlags(CLI::App& command, UploadFlags& flags) {
  command.add_flag("--json", flags.json, "print proto3 JSON");
  AddQuietFlag(command, flags.quiet);
}

// Small sets go the same way as those that no single message would hold.
absl::Status Upload(const absl::StatusOr<v1::SetWeightsRequest>& request,
                    const UploadFlags& flags, const Connection& connection) {
  if (!request.ok()) return request.status();
  return PrintVersion(
      connection.client.UploadWeights(
          *request, connection.Options(),
          ShowProgress(request->name(), flags.quiet || flags.json)),
      flags.json);
}

struct SetCommand {
  SetFlags flags;
  UploadFlags upload;
};

absl::Status Set(const SetCommand& command, const Connection& connection) {
  return Upload(BuildSetRequest(command.flags), command.upload, connection);
}

void AddSet(CLI::App& weights, Action& action) {
  const auto flags = std::make_shared<SetCommand>();
  CLI::App& command =
      AddAction(weights, "set", "Append a version from tensors in files", flags,
                Set, action);
  AddSetFlags(command, flags->flags);
  AddUploadFlags(command, flags->upload);
  command.footer(R"(Examples:
  attention weights set my-layer --layout in-out --query-weight query.csv \
      --key-weight key.csv --value-weight value.csv --label production
  attention weights get layer --json | attention weights set copy --file -
  attention weights set layer --file layer.json --idempotency-key 7 --json)");
}

struct ImportCommand {
  ImportFlags flags;
  UploadFlags upload;
};

absl::Status Import(const ImportCommand& command,
                    const Connection& connection) {
  return Upload(BuildImportRequest(command.flags), command.upload, connection);
}

void AddImport(CLI::App& weights, Action& action) {
  const auto flags = std::make_shared<ImportCommand>();
  CLI::App& command = AddAction(
      weights, "import", "Append a version from one layer of a checkpoint",
      flags, Import, action);
  AddImportFlags(command, flags->flags);
  AddUploadFlags(command, flags->upload);
  command.footer(R"(Examples:
  attention weights import first bert.safetensors --preset bert --layer 0 \
      --heads 12
  attention weights import fourth gpt2.safetensors --preset gpt2 --layer 3 \
      --heads 12 --label production
  attention weights import copy layer.npz --layout out-in --heads 1 --json)");
}

struct InitCommand {
  InitFlags flags;
  bool json = false;
};

absl::Status Init(const InitCommand& command, const Connection& connection) {
  const auto request = BuildInitRequest(command.flags);
  if (!request.ok()) return request.status();
  return PrintVersion(
      connection.client.SetWeights(*request, connection.Options()),
      command.json);
}

void AddInit(CLI::App& weights, Action& action) {
  const auto flags = std::make_shared<InitCommand>();
  CLI::App& command =
      AddAction(weights, "init", "Append a version of random weights", flags,
                Init, action);
  AddInitFlags(command, flags->flags);
  command.add_flag("--json", flags->json, "print a SetWeightsResponse as JSON");
  command.footer(R"(Examples:
  attention weights init my-layer --distribution linear --layout out-in \
      --seed 123 --query-width 3 --head-dim 2 --label production
  attention weights init my-layer --distribution xavier-uniform \
      --layout in-out --seed 1 --query-width 768 --head-dim 64 --heads 12 \
      --output-width 768 --output-bias --json)");
}

struct GetFlags {
  std::string selector;
  std::string out;
  bool json = false;
  bool quiet = false;
};

absl::StatusOr<std::string> WeightSetTables(const v1::WeightSet& weights) {
  std::string text = absl::StrCat(
      "num_heads ", weights.num_heads(), ", num_kv_heads ",
      weights.has_num_kv_heads() ? weights.num_kv_heads() : weights.num_heads(),
      ", layout ", v1::Layout_Name(weights.layout()), "\n");
  const auto append = [&](const std::string& name,
                          const v1::Tensor& tensor) -> absl::Status {
    const absl::StatusOr<std::string> table = TensorTable(
        absl::StrCat(name, " ", DataTypeName(tensor.dtype())), tensor);
    if (table.ok()) absl::StrAppend(&text, *table);
    return table.status();
  };
  const std::pair<const char*, const v1::Projection&> projections[] = {
      {"query", weights.query()},
      {"key", weights.key()},
      {"value", weights.value()},
      {"output", weights.output()}};
  for (const auto& [name, projection] : projections) {
    if (!projection.has_weight()) continue;
    absl::Status status =
        append(absl::StrCat(name, ".weight"), projection.weight());
    if (status.ok() && projection.has_bias()) {
      status = append(absl::StrCat(name, ".bias"), projection.bias());
    }
    if (!status.ok()) return status;
  }
  return text;
}

// {"summary": ..., "weights": ...}, which `weights set --file` reads again.
std::string StoredToJson(const StoredWeightSet& stored) {
  using Json = nlohmann::ordered_json;
  Json json;
  json["summary"] = Json::parse(MessageToJson(stored.summary));
  json["weights"] = Json::parse(MessageToJson(stored.weights));
  return PrettyJson(json);
}

absl::Status Get(const GetFlags& flags, const Connection& connection) {
  auto stored =
      FetchWeights(flags.selector, flags.quiet || flags.json, connection);
  if (!stored.ok()) return stored.status();
  const std::optional<FileFormat> format = files::FormatOfEnding(flags.out);
  if (format && files::IsBundle(*format)) {
    return WriteLayer(flags.out, *format, {}, *std::move(stored));
  }
  if (flags.json || !flags.out.empty()) {
    return WriteFile(flags.out.empty() ? "-" : flags.out,
                     StoredToJson(*stored));
  }
  const absl::StatusOr<std::string> tables = WeightSetTables(stored->weights);
  if (!tables.ok()) return tables.status();
  return Print(VersionLine(stored->summary.version()) + *tables);
}

void AddGet(CLI::App& weights, Action& action) {
  const auto flags = std::make_shared<GetFlags>();
  CLI::App& command =
      AddAction(weights, "get", "Show one version", flags, Get, action);
  command.add_option("weight-set", flags->selector, "which version")
      ->type_name("NAME[@VERSION|:LABEL]")
      ->required();
  command
      .add_option("--out", flags->out,
                  "write it there: as npz or safetensors if the name ends so, "
                  "as JSON otherwise")
      ->type_name("FILE|-");
  command.add_flag(
      "--json", flags->json,
      "print it as JSON: summary, a WeightSetSummary, and weights, "
      "a WeightSet");
  AddQuietFlag(command, flags->quiet);
  command.footer(R"(Examples:
  attention weights get layer
  attention weights get layer:production --out layer.safetensors
  attention weights get layer@1 --json)");
}

struct ListFlags {
  std::string name;
  bool latest = false;
  bool json = false;
};

std::string SummaryTable(const std::vector<v1::WeightSetSummary>& versions) {
  constexpr size_t kShownHexDigits = 12;
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "VERSION", "LABELS", "HEADS", "KV_HEADS", "HEAD_DIM",
       "VALUE_DIM", "DTYPE", "BYTES", "CREATED", "SHA256"}};
  for (const v1::WeightSetSummary& summary : versions) {
    const auto& created = summary.create_time();
    rows.push_back(
        {summary.version().name(), absl::StrCat(summary.version().version()),
         absl::StrJoin(summary.labels(), ","),
         absl::StrCat(summary.num_heads()),
         absl::StrCat(summary.num_kv_heads()), absl::StrCat(summary.head_dim()),
         absl::StrCat(summary.value_dim()), DataTypeName(summary.dtype()),
         absl::StrCat(summary.tensor_bytes()),
         absl::FormatTime("%Y-%m-%dT%H:%M:%SZ",
                          absl::FromUnixSeconds(created.seconds()),
                          absl::UTCTimeZone()),
         summary.version().sha256().substr(0, kShownHexDigits)});
  }
  return TextTable(rows);
}

absl::Status List(const ListFlags& flags, const Connection& connection) {
  v1::ListWeightsRequest request;
  request.set_name(flags.name);
  request.set_latest_only(flags.latest);
  auto versions =
      connection.client.ListAllWeights(request, connection.Options());
  if (!versions.ok()) return versions.status();
  if (!flags.json) return Print(SummaryTable(*versions));
  v1::ListWeightsResponse all;
  for (auto& summary : *versions) *all.add_versions() = std::move(summary);
  return Print(MessageToJson(all));
}

void AddList(CLI::App& weights, Action& action) {
  const auto flags = std::make_shared<ListFlags>();
  CLI::App& command =
      AddAction(weights, "list", "List versions", flags, List, action);
  command.add_option("name", flags->name, "only this weight set")
      ->type_name("NAME");
  command.add_flag("--latest", flags->latest, "only the latest of each set");
  command.add_flag("--json", flags->json,
                   "print a ListWeightsResponse as JSON");
  command.footer(R"(Examples:
  attention weights list
  attention weights list layer --json
  attention weights list --latest | tail -n +2)");
}

struct DeleteFlags {
  std::string selector;
  std::optional<int64_t> expected_version;
  bool json = false;
};

absl::Status Delete(const DeleteFlags& flags, const Connection& connection) {
  const absl::StatusOr<v1::WeightSetSelector> selector =
      ParseSelector(flags.selector);
  if (!selector.ok()) return selector.status();
  if (selector->which_case() == v1::WeightSetSelector::kLabel) {
    return UsageError(absl::StrCat("\"", flags.selector,
                                   "\" names a label; expected NAME or "
                                   "NAME@VERSION"));
  }
  v1::DeleteWeightsRequest request;
  request.set_name(selector->name());
  if (selector->which_case() == v1::WeightSetSelector::kVersion) {
    request.set_version(selector->version());
  }
  if (flags.expected_version) {
    request.set_expected_version(*flags.expected_version);
  }
  const auto response =
      connection.client.DeleteWeights(request, connection.Options());
  if (!response.ok()) return response.status();
  return Print(flags.json
                   ? MessageToJson(*response)
                   : absl::StrCat("deleted ", response->versions_deleted(),
                                  " versions\n"));
}

void AddDelete(CLI::App& weights, Action& action) {
  const auto flags = std::make_shared<DeleteFlags>();
  CLI::App& command =
      AddAction(weights, "delete", "Delete one version, or a whole set", flags,
                Delete, action);
  command.add_option("weight-set", flags->selector, "what to delete")
      ->type_name("NAME[@VERSION]")
      ->required();
  command.add_option("--expected-version", flags->expected_version,
                     "only if this is the latest version");
  command.add_flag("--json", flags->json,
                   "print a DeleteWeightsResponse as JSON");
  command.footer(R"(Examples:
  attention weights delete scratch@1
  attention weights delete scratch --json)");
}

struct LabelFlags {
  std::string name;
  std::string label;
  std::optional<int64_t> version;
  bool remove = false;
  std::optional<int64_t> expected_version;
  bool json = false;
};

absl::Status Label(const LabelFlags& flags, const Connection& connection) {
  if (flags.remove == flags.version.has_value()) {
    return UsageError("weights label: either VERSION or --remove is required");
  }
  v1::SetLabelRequest request;
  request.set_name(flags.name);
  request.set_label(flags.label);
  if (flags.version) request.set_version(*flags.version);
  if (flags.expected_version) {
    request.set_expected_version(*flags.expected_version);
  }
  const auto response =
      connection.client.SetLabel(request, connection.Options());
  if (!response.ok()) return response.status();
  if (flags.json) return Print(MessageToJson(*response));
  return Print(flags.remove
                   ? absl::StrCat(flags.name, ":", flags.label, " removed\n")
                   : absl::StrCat(flags.name, ":", flags.label, " -> ",
                                  VersionLine(response->version())));
}

void AddLabel(CLI::App& weights, Action& action) {
  const auto flags = std::make_shared<LabelFlags>();
  CLI::App& command =
      AddAction(weights, "label", "Point a label at a version, or remove it",
                flags, Label, action);
  command.add_option("name", flags->name, "name of the weight set")
      ->type_name("NAME")
      ->required();
  command.add_option("label", flags->label, "the label")
      ->type_name("LABEL")
      ->required();
  command.add_option("version", flags->version, "where it shall point")
      ->type_name("VERSION");
  command.add_flag("--remove", flags->remove, "remove the label");
  command.add_option("--expected-version", flags->expected_version,
                     "only if it points there now; 0: only if it is new");
  command.add_flag("--json", flags->json, "print a SetLabelResponse as JSON");
  command.footer(R"(Examples:
  attention weights label layer production 1
  attention weights label layer canary 1 --json
  attention weights label layer production --remove)");
}

}  // namespace

void AddWeightsCommand(CLI::App& app, Action& action) {
  CLI::App& weights =
      *app.add_subcommand("weights", "Keep named, versioned weight sets");
  weights.require_subcommand(1);
  AddSet(weights, action);
  AddImport(weights, action);
  AddInit(weights, action);
  AddGet(weights, action);
  AddExportCommand(weights, action);
  AddList(weights, action);
  AddDelete(weights, action);
  AddLabel(weights, action);
  weights.footer(
      R"(A version never changes; another set under the same name appends one. A label
points at a version and can be moved. NAME is the latest version, NAME@2 that
one, NAME:production the one a label points at.

Examples:
  attention weights init my-layer --distribution linear --layout out-in \
      --seed 123 --query-width 3 --head-dim 2
  attention weights list
  attention weights get layer@1)");
}

}  // namespace attention::client
