#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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
  std::optional<FileFormat> format;  // of what is written
  std::vector<std::string> save;     // which tensors; empty: all there are
  bool json = false;                 // the whole response
  PictureFlags picture;              // of --heatmap; no file: none
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
    absl::StrAppend(
        &text,
        used.name().empty()
            ? "weights of the request"
            : absl::StrCat("weight set ", used.name(), "@", used.version()),
        ", sha256 ", used.sha256(), "\n");
  }
  absl::StrAppendFormat(&text, "computed in %.2f ms, after %.2f ms in queue\n",
                        Milliseconds(response.timing().compute()),
                        Milliseconds(response.timing().queue()));
  return text;
}

// The names of the tensors that an answer to `request` will have.
std::vector<std::string> AnswerNames(
    const v1::ComputeAttentionRequest& request) {
  std::vector<std::string> names = {"output"};
  if (request.has_attention_matrix()) names.emplace_back("attention_matrix");
  if (request.top_k() > 0) {
    names.insert(names.end(), {"top_k_weights", "top_k_indices"});
  }
  if (request.want_lse()) names.emplace_back("lse");
  return names;
}

// Those of them that are to be written in `format`, before anything is
// computed.
absl::StatusOr<std::vector<std::string>> NamesToWrite(
    const ComputeFlags& flags, FileFormat format,
    const v1::ComputeAttentionRequest& request) {
  std::vector<std::string> names = AnswerNames(request);
  for (const std::string& name : flags.save) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return UsageError(absl::StrCat("--save ", name, ": the answer will have ",
                                     absl::StrJoin(names, ", ")));
    }
  }
  if (!flags.save.empty()) names = flags.save;
  if (names.size() == 1 || files::IsBundle(format)) return names;
  return UsageError(absl::StrCat(files::FileFormatWord(format),
                                 " holds one tensor, but there are ",
                                 absl::StrJoin(names, ", "),
                                 "; choose one with --save, or write npz, "
                                 "safetensors or --json"));
}

// The indices of the top k, which have the shape of their weights.
absl::StatusOr<files::Array> IndexArray(const v1::TopK& top_k) {
  files::Array array = {
      files::ElementType::kInt64,
      {top_k.weights().shape().begin(), top_k.weights().shape().end()},
      {}};
  const auto bytes =
      files::ByteCount(files::ElementSize(array.type), array.shape);
  if (bytes != top_k.indices_size() * files::ElementSize(array.type)) {
    return absl::InternalError("top_k.indices do not fit top_k.weights");
  }
  for (const int64_t index : top_k.indices()) {
    array.data.append(reinterpret_cast<const char*>(&index), sizeof(index));
  }
  return array;
}

absl::StatusOr<files::Array> TakeArray(const std::string& name,
                                       v1::ComputeAttentionResponse& response) {
  if (name == "attention_matrix") {
    return ArrayOf(std::move(*response.mutable_attention_matrix()));
  }
  if (name == "top_k_indices") return IndexArray(response.top_k());
  if (name == "top_k_weights") return ArrayOf(response.top_k().weights());
  if (name == "lse") return ArrayOf(std::move(*response.mutable_lse()));
  return ArrayOf(std::move(*response.mutable_output()));
}

absl::Status WriteTensors(const std::string& path, FileFormat format,
                          const std::vector<std::string>& names,
                          v1::ComputeAttentionResponse response) {
  std::vector<NamedOutput> outputs;
  for (const std::string& name : names) {
    absl::StatusOr<files::Array> array = TakeArray(name, response);
    if (!array.ok()) return array.status();
    outputs.push_back({name, *std::move(array)});
  }
  return WriteArrays(path, format, outputs);
}

// Of tensors that are written as such; none if the answer is for people or is
// wanted whole.
std::optional<FileFormat> FormatToWrite(const ComputeFlags& flags) {
  if (flags.json || flags.format) return flags.format;
  if (flags.out.empty() && flags.save.empty()) return std::nullopt;
  return files::FormatOfEnding(flags.out).value_or(FileFormat::kJson);
}

absl::Status Stream(const ComputeFlags& flags, const Connection& connection) {
  std::ifstream file;
  if (flags.stream != "-") {
    file.open(flags.stream);
    if (!file) {
      return UsageError(absl::StrCat(
          flags.stream, ": cannot be read: ", std::strerror(errno)));
    }
    std::error_code missing;
    if (std::filesystem::equivalent(flags.stream, flags.out, missing)) {
      return UsageError(absl::StrCat("--out ", flags.out,
                                     " is what --stream reads; expected "
                                     "another file"));
    }
  }
  const bool to_file = !flags.out.empty() && flags.out != "-";
  std::ofstream out_file;
  std::ostream& out = to_file ? out_file : std::cout;
  // What the file held stays until there is something in its place.
  const auto write = [&](const std::string& line) {
    if (to_file && !out_file.is_open()) {
      out_file.open(flags.out, std::ios::trunc);
    }
    if (out << line << std::flush) return absl::OkStatus();
    return UsageError(
        absl::StrCat(to_file ? flags.out : "the standard output",
                     ": cannot be written: ", std::strerror(errno)));
  };
  const bool from_file = flags.stream != "-";
  absl::Status status =
      ComputeStream(flags.request, flags.stream, from_file ? file : std::cin,
                    write, connection);
  if (!status.ok()) return status;
  // What cannot be read, such as a folder, ends like a file without a line.
  if (from_file ? file.bad() : std::ferror(stdin) != 0) {
    return UsageError(
        absl::StrCat(from_file ? flags.stream : "the standard input",
                     ": cannot be read; expected a request on each line"));
  }
  return write("");
}

// Computes `request` and draws its attention matrix, which is asked for if it
// was not, and then is not in the response.
absl::StatusOr<v1::ComputeAttentionResponse> ComputeAndDraw(
    v1::ComputeAttentionRequest request, const PictureFlags& flags,
    const Connection& connection, std::optional<AttentionPicture>& drawn) {
  const absl::StatusOr<OutputFormat> format = FormatOf(flags);
  if (!format.ok()) return format.status();
  const bool was_asked_for = request.has_attention_matrix();
  RequestMatrix(/*mean=*/false, request);
  absl::StatusOr<v1::ComputeAttentionResponse> response =
      connection.client.ComputeAttention(request, connection.Options());
  if (!response.ok()) return response.status();
  const auto shown = ShowAttention(request, *response, connection);
  if (!shown.ok()) return shown.status();
  auto picture = MakePicture(*shown, flags);
  if (!picture.ok()) return picture.status();
  drawn = *std::move(picture);
  if (!was_asked_for) response->clear_attention_matrix();
  return response;
}

absl::Status WriteResult(const ComputeFlags& flags,
                         const std::optional<FileFormat>& format,
                         const std::vector<std::string>& names,
                         v1::ComputeAttentionResponse response) {
  const std::string out = flags.out.empty() ? "-" : flags.out;
  if (format) return WriteTensors(out, *format, names, std::move(response));
  if (flags.json) return WriteFile(out, MessageToJson(response));
  const absl::StatusOr<std::string> tables = ResponseTables(response);
  if (!tables.ok()) return tables.status();
  return WriteFile(out, *tables);
}

absl::Status Compute(const ComputeFlags& flags, const Connection& connection) {
  if (!flags.stream.empty()) return Stream(flags, connection);
  const auto request = BuildRequest(flags.request);
  if (!request.ok()) return request.status();
  const std::optional<FileFormat> format = FormatToWrite(flags);
  std::vector<std::string> names;
  if (format) {
    auto to_write = NamesToWrite(flags, *format, *request);
    if (!to_write.ok()) return to_write.status();
    names = *std::move(to_write);
  }
  std::optional<AttentionPicture> picture;
  auto response =
      flags.picture.out.empty()
          ? connection.client.ComputeAttention(*request, connection.Options())
          : ComputeAndDraw(*request, flags.picture, connection, picture);
  if (!response.ok()) return response.status();
  absl::Status status = WriteResult(flags, format, names, *std::move(response));
  // The picture last: one that was there stays unless all else went well.
  if (!status.ok() || !picture) return status;
  return WritePicture(*picture, flags.picture);
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
                  "write the tensors of the answer, or the lines of --stream, "
                  "there instead of tables here")
      ->type_name("FILE|-")
      ->group(kGroup);
  CLI::Option* format =
      AddWordOption(command, "--format", flags->format,
                    "of what is written; absent: by the ending of --out, "
                    "json if that says nothing",
                    files::FileFormatWords())
          ->excludes(stream)
          ->group(kGroup);
  CLI::Option* save =
      command
          .add_option("--save", flags->save,
                      "which tensor to write: output, attention_matrix, "
                      "top_k_weights, top_k_indices or lse; may be repeated; "
                      "absent: all that were asked for")
          ->type_name("TENSOR")
          ->allow_extra_args(false)
          ->excludes(stream)
          ->group(kGroup);
  command
      .add_flag("--json", flags->json,
                "print the whole ComputeAttentionResponse as JSON")
      ->excludes(format)
      ->excludes(save)
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
  command.footer(kFooter);
  command.callback([flags, &action] {
    action = [flags](const Connection& connection) {
      return Compute(*flags, connection);
    };
  });
}

}  // namespace attention::client
