#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/compute_flags.h"
#include "client/cpp/cli/compute_stream.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/table.h"
#include "client/cpp/cli/tensor_file.h"

namespace attention::client {
namespace {

struct ComputeFlags {
  RequestFlags request;
  std::string stream;                // file of many requests; empty: one
  std::string out;                   // file; empty: the terminal
  std::optional<FileFormat> format;  // of the output tensor alone
  bool json = false;                 // the whole response
};

constexpr char kFooter[] =
    R"(With --stream each answer is a line, as it comes: {"id": LINE, "response": ...}
or {"id": LINE, "error": {"code", "message", "violations"}}. A request that is
refused does not end the stream, but the exit code is 1 then. --deadline is that
of the whole stream.

Examples:
  attention compute --query tokens.csv --scale 1 --matrix attention-weights
  attention compute --query tokens.csv --weight-set layer:production --causal \
      --out output.json
  attention compute --query - --top-k 2 --json < tokens.csv
  attention compute --stream requests.jsonl --query tokens.csv > answers.jsonl)";

double Milliseconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) * 1e3 +
         static_cast<double>(duration.nanos()) * 1e-6;
}

// Everything in the response, for people.
absl::StatusOr<std::string> ResponseTables(
    const v1::ComputeAttentionResponse& response) {
  std::string text;
  const auto append = [&](absl::StatusOr<std::string> table) {
    if (table.ok()) absl::StrAppend(&text, *table);
    return table.status();
  };
  absl::Status status = append(TensorTable("output", response.output()));
  if (status.ok() && response.has_attention_matrix()) {
    status =
        append(TensorTable("attention_matrix", response.attention_matrix()));
  }
  if (status.ok() && response.has_top_k()) {
    status = append(TopKTable(response.top_k()));
  }
  if (status.ok() && response.has_lse()) {
    status = append(TensorTable("lse", response.lse()));
  }
  if (!status.ok()) return status;
  if (response.has_weight_set_used()) {
    const v1::WeightSetVersion& used = response.weight_set_used();
    absl::StrAppend(&text, "weight set ", used.name(), "@", used.version(),
                    ", sha256 ", used.sha256(), "\n");
  }
  absl::StrAppendFormat(&text, "computed in %.2f ms, after %.2f ms in queue\n",
                        Milliseconds(response.timing().compute()),
                        Milliseconds(response.timing().queue()));
  return text;
}

absl::StatusOr<std::string> ResponseText(
    const ComputeFlags& flags, const v1::ComputeAttentionResponse& response) {
  if (flags.json) return MessageToJson(response);
  if (flags.format) return TensorText(response.output(), *flags.format);
  if (flags.out.empty()) return ResponseTables(response);
  return TensorText(response.output(), absl::EndsWith(flags.out, ".csv")
                                           ? FileFormat::kCsv
                                           : FileFormat::kJson);
}

absl::Status Stream(const ComputeFlags& flags, const Connection& connection) {
  std::ifstream file;
  if (flags.stream != "-") {
    file.open(flags.stream);
    if (!file) {
      return UsageError(absl::StrCat(flags.stream, ": cannot be read"));
    }
  }
  std::ofstream out;
  if (!flags.out.empty() && flags.out != "-") {
    out.open(flags.out, std::ios::trunc);
    if (!out) return UsageError(absl::StrCat(flags.out, ": cannot be written"));
  }
  absl::Status status = ComputeStream(
      flags.request, flags.stream, file.is_open() ? file : std::cin,
      out.is_open() ? out : std::cout, connection);
  if (out.is_open() && !out.flush()) {
    return UsageError(absl::StrCat(flags.out, ": cannot be written"));
  }
  return status;
}

absl::Status Compute(const ComputeFlags& flags, const Connection& connection) {
  if (!flags.stream.empty()) return Stream(flags, connection);
  const auto request = BuildRequest(flags.request);
  if (!request.ok()) return request.status();
  const auto response =
      connection.client.ComputeAttention(*request, connection.Options());
  if (!response.ok()) return response.status();
  const absl::StatusOr<std::string> text = ResponseText(flags, *response);
  if (!text.ok()) return text.status();
  return WriteFile(flags.out.empty() ? "-" : flags.out, *text);
}

}  // namespace

void AddComputeCommand(CLI::App& app, Action& action) {
  CLI::App& command =
      *app.add_subcommand("compute", "Compute attention of tensors in files");
  const auto flags = std::make_shared<ComputeFlags>();
  AddRequestFlags(command, flags->request);
  CLI::Option* stream =
      command
          .add_option(
              "--stream", flags->stream,
              "many requests over one stream, each line a "
              "ComputeAttentionRequest in proto3 JSON; flags beside it replace "
              "fields of all")
          ->type_name("FILE|-")
          ->excludes("--request");
  constexpr char kGroup[] = "Result";
  command
      .add_option("--out", flags->out,
                  "write the output tensor, or the lines of --stream, there "
                  "instead of tables here")
      ->type_name("FILE|-")
      ->group(kGroup);
  CLI::Option* format =
      AddWordOption(command, "--format", flags->format,
                    "of the output tensor; absent: by the ending of --out",
                    std::map<std::string, FileFormat>{
                        {"json", FileFormat::kJson}, {"csv", FileFormat::kCsv}})
          ->excludes(stream)
          ->group(kGroup);
  command
      .add_flag("--json", flags->json,
                "print the whole ComputeAttentionResponse as JSON")
      ->excludes(format)
      ->group(kGroup);
  command.footer(kFooter);
  command.callback([flags, &action] {
    action = [flags](const Connection& connection) {
      return Compute(*flags, connection);
    };
  });
}

}  // namespace attention::client
