#include "client/cpp/cli/compute_stream.h"

#include <atomic>
#include <cstdint>
#include <istream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "attention/stream.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/json_text.h"

namespace attention::client {
namespace {

// Text of PrettyJson without its line breaks and what indents the lines; inside
// of a string there are none.
std::string OneLine(const std::string& pretty) {
  std::string line;
  bool at_start = false;
  for (const char c : pretty) {
    at_start = c == '\n' || (at_start && c == ' ');
    if (!at_start) line += c;
  }
  return line;
}

std::string AnswerLine(const AttentionStream::Answer& answer) {
  const std::string front = absl::StrCat("{\"id\": ", answer.id, ", ");
  if (answer.response.ok()) {
    return absl::StrCat(front, "\"response\": ",
                        OneLine(MessageToJson(*answer.response)), "}\n");
  }
  return absl::StrCat(front, "\"error\": ",
                      OneLine(PrettyJson(ErrorJson(answer.response.status()))),
                      "}\n");
}

}  // namespace

absl::Status ComputeStream(
    const RequestFlags& flags, const std::string& source, std::istream& in,
    absl::FunctionRef<absl::Status(const std::string&)> write,
    const Connection& connection) {
  int64_t refused = 0;
  int64_t answered = 0;
  absl::Status written;
  std::atomic<bool> written_in_vain{false};
  const auto stream = connection.client.OpenStream(
      [&](const AttentionStream::Answer& answer) {
        ++answered;
        refused += answer.response.ok() ? 0 : 1;
        // Nobody reads on, or the disk is full: no more is asked.
        if (!written_in_vain) written = write(AnswerLine(answer));
        if (!written.ok()) written_in_vain = true;
      },
      {}, connection.Options());
  absl::Status status;
  std::string line;
  for (uint64_t number = 1;
       status.ok() && !written_in_vain && std::getline(in, line); ++number) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    v1::ComputeAttentionRequest request;
    status = MessageFromJson(line, absl::StrCat(source, ":", number), request);
    if (status.ok()) {
      status =
          ApplyRequestFlags(flags, /*stdin_is_taken=*/source == "-", request);
    }
    // An error of Send is that of the stream, which Finish tells.
    if (status.ok() && !stream->Send(number, std::move(request)).ok()) break;
  }
  absl::Status ended = stream->Finish();
  if (!status.ok()) return status;
  if (!written.ok()) return written;
  if (!ended.ok()) return ended;
  if (refused == 0) return absl::OkStatus();
  return CheckError(absl::StrCat("the server refused ", refused, " of ",
                                 answered, " requests"));
}

}  // namespace attention::client
