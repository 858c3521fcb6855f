// `attention heatmap`: attention as a picture.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/compute_flags.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/picture_flags.h"
#include "client/cpp/cli/shown_attention.h"
#include "client/cpp/cli/tensor_file.h"

namespace attention::client {
namespace {

struct HeatmapFlags {
  std::string matrix;    // file of a tensor; or
  std::string response;  // file of a whole response in JSON; or
  RequestFlags request;  // what to compute
  PictureFlags picture;
  bool json = false;
};

constexpr char kExamples[] = R"(Examples:
  attention heatmap --query tokens.csv \
      --labels "Your journey starts with one step"
  attention heatmap --query tokens.csv --weight-set layer --causal \
      --out heads.png --json
  attention compute --query tokens.csv --matrix biased --json | \
      attention heatmap --response - --labels @words.txt --out scores.svg
  attention heatmap query.csv --width 800 --out matrix.png)";

absl::StatusOr<MatrixToShow> ReadMatrix(const std::string& path) {
  absl::StatusOr<v1::Tensor> matrix = ReadTensor(path, v1::DATA_TYPE_FLOAT64);
  if (!matrix.ok()) return matrix.status();
  MatrixToShow shown;
  shown.matrix = *std::move(matrix);
  shown.source = path == "-" ? "the standard input" : path;
  if (path != "-") shown.title = path.substr(path.rfind('/') + 1);
  return shown;
}

absl::StatusOr<MatrixToShow> ReadResponse(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  v1::ComputeAttentionResponse response;
  absl::Status status = MessageFromJson(*text, path, response);
  if (!status.ok()) return status;
  if (!response.has_attention_matrix()) {
    return UsageError(absl::StrCat(
        path,
        ": has no attention_matrix; ask for one with attention compute "
        "--json --matrix attention-weights"));
  }
  MatrixToShow shown;
  shown.matrix = response.attention_matrix();
  // The mean of the heads has no head axis.
  shown.is_mean = shown.matrix.shape_size() == response.output().shape_size();
  shown.source = absl::StrCat(path, ": attention_matrix");
  shown.title = "Attention";
  return shown;
}

absl::StatusOr<MatrixToShow> ComputeMatrix(const RequestFlags& flags,
                                           const Connection& connection) {
  absl::StatusOr<v1::ComputeAttentionRequest> request = BuildRequest(flags);
  if (!request.ok()) return request.status();
  RequestMatrix(flags.show.mean, *request);
  const auto response =
      connection.client.ComputeAttention(*request, connection.Options());
  if (!response.ok()) return response.status();
  return ShowAttention(*request, *response, connection);
}

std::string WordOf(OutputFormat format) {
  switch (format) {
    case OutputFormat::kPng:
      return "png";
    case OutputFormat::kSvg:
      return "svg";
    case OutputFormat::kText:
      return "text";
  }
  return "";
}

absl::Status Heatmap(const HeatmapFlags& flags, const Connection& connection) {
  const absl::StatusOr<OutputFormat> format = FormatOf(flags.picture);
  if (!format.ok()) return format.status();
  if (flags.json && (flags.picture.out.empty() || flags.picture.out == "-")) {
    return UsageError(
        "--json takes the standard output, and so would the picture; name a "
        "file with --out");
  }
  const absl::StatusOr<MatrixToShow> shown =
      !flags.matrix.empty()     ? ReadMatrix(flags.matrix)
      : !flags.response.empty() ? ReadResponse(flags.response)
                                : ComputeMatrix(flags.request, connection);
  if (!shown.ok()) return shown.status();
  const absl::StatusOr<AttentionPicture> picture =
      MakePicture(*shown, flags.picture);
  if (!picture.ok()) return picture.status();
  absl::Status written = WritePicture(*picture, flags.picture);
  if (!written.ok() || !flags.json) return written;
  return WriteFile("-", PrettyJson({{"out", flags.picture.out},
                                    {"format", WordOf(*format)}}));
}

}  // namespace

void AddHeatmapCommand(CLI::App& app, Action& action) {
  CLI::App& command = *app.add_subcommand(
      "heatmap", "Show attention as a picture: PNG, SVG, or in the terminal");
  const auto flags = std::make_shared<HeatmapFlags>();
  AddMatrixRequestFlags(command, flags->request);
  const auto computing = command.get_options(
      [](const CLI::Option* option) { return !option->check_name("--help"); });
  CLI::Option* matrix =
      command
          .add_option("MATRIX", flags->matrix,
                      "file of a tensor [query_len, key_len], [heads, ..] or "
                      "[batch, heads, ..] to show; -inf is an excluded "
                      "position. Absent: it is computed")
          ->type_name("FILE|-");
  CLI::Option* response =
      command
          .add_option("--response", flags->response,
                      "the matrix in what attention compute --json printed")
          ->type_name("FILE|-")
          ->excludes(matrix);
  for (CLI::Option* option : computing) {
    matrix->excludes(option);
    response->excludes(option);
  }
  AddPictureFlags(command, flags->picture);
  command.add_flag("--json", flags->json,
                   "print where the picture went as JSON: out and format");
  command.footer(kExamples);
  command.callback([flags, &action] {
    action = [flags](const Connection& connection) {
      return Heatmap(*flags, connection);
    };
  });
}

}  // namespace attention::client
