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
#include "client/cpp/cli/picture_flags.h"
#include "client/cpp/cli/shown_attention.h"
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
  PictureFlags picture;              // of --heatmap; no file: none
};

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

// Computes `request` and draws its attention matrix, which is asked for if it
// was not, and then is not in the response.
absl::StatusOr<v1::ComputeAttentionResponse> ComputeAndDraw(
    v1::ComputeAttentionRequest request, const PictureFlags& flags,
    const Connection& connection) {
  const absl::StatusOr<OutputFormat> format = FormatOf(flags);
  if (!format.ok()) return format.status();
  const bool was_asked_for = request.has_attention_matrix();
  RequestMatrix(/*mean=*/false, request);
  absl::StatusOr<v1::ComputeAttentionResponse> response =
      connection.client.ComputeAttention(request, connection.Options());
  if (!response.ok()) return response.status();
  const auto shown = ShowAttention(request, *response, connection);
  if (!shown.ok()) return shown.status();
  const auto picture = MakePicture(*shown, flags);
  if (!picture.ok()) return picture.status();
  absl::Status status = WritePicture(*picture, flags);
  if (!status.ok()) return status;
  if (!was_asked_for) response->clear_attention_matrix();
  return response;
}

absl::Status Compute(const ComputeFlags& flags, const Connection& connection) {
  if (!flags.stream.empty()) return Stream(flags, connection);
  const auto request = BuildRequest(flags.request);
  if (!request.ok()) return request.status();
  const auto response =
      flags.picture.out.empty()
          ? connection.client.ComputeAttention(*request, connection.Options())
          : ComputeAndDraw(*request, flags.picture, connection);
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
              "many requests over one stream: each line a "
              "ComputeAttentionRequest in proto3 JSON, flags beside it replace "
              "fields of all; each answer is a line {\"id\": LINE, "
              "\"response\": ..} or {\"id\": LINE, \"error\": ..}, as it "
              "comes. --deadline is that of the whole stream")
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
  command.add_flag("--json", flags->json, "the whole response as proto3 JSON")
      ->excludes(format)
      ->excludes(stream)
      ->group(kGroup);
  CLI::Option* heatmap =
      command
          .add_option("--heatmap", flags->picture.out,
                      "also draw the attention matrix of --matrix, or the "
                      "attention weights; see attention heatmap")
          ->type_name("FILE.png|FILE.svg|FILE.txt")
          ->excludes(stream)
          ->excludes("--top-k")
          ->group("Picture");
  for (CLI::Option* option : AddLabelFlags(command, flags->picture.labels)) {
    option->needs(heatmap);
  }
  command.callback([flags, &action] {
    action = [flags](const Connection& connection) {
      return Compute(*flags, connection);
    };
  });
}

}  // namespace attention::client
