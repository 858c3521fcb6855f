#include "client/cpp/cli/array_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/number_text.h"
#include "client/cpp/cli/standard_streams.h"
#include "nlohmann/json.hpp"

namespace attention::client {
namespace {

using Json = nlohmann::json;

// Far more than any tensor has, far less than the stack can take.
constexpr size_t kMaxDepth = 16;

std::string PathText(const std::vector<int64_t>& path) {
  std::string text;
  for (const int64_t index : path) absl::StrAppend(&text, "[", index, "]");
  return text.empty() ? "the top" : text;
}

// Reads nested arrays depth first. The first element met fixes the shape; every
// other must agree with it.
class JsonReader {
 public:
  explicit JsonReader(std::string source) : source_(std::move(source)) {}

  absl::StatusOr<Array> Read(const Json& json) {
    for (const Json* level = &json; level->is_array();
         level = &level->front()) {
      array_.shape.push_back(static_cast<int64_t>(level->size()));
      if (array_.shape.size() > kMaxDepth) return Error("nested too deeply");
      if (level->empty()) break;
    }
    if (array_.shape.empty()) return Error("expected an array");
    const absl::Status status = Walk(json);
    if (!status.ok()) return status;
    return std::move(array_);
  }

 private:
  absl::Status Error(const std::string& problem) const {
    return UsageError(
        absl::StrCat(source_, ": at ", PathText(path_), ": ", problem));
  }

  absl::Status Walk(const Json& json) {
    if (path_.size() == array_.shape.size()) return TakeElement(json);
    const int64_t expected = array_.shape[path_.size()];
    if (!json.is_array()) {
      return Error(absl::StrCat("expected an array of ", expected));
    }
    if (static_cast<int64_t>(json.size()) != expected) {
      return Error(absl::StrCat("has ", json.size(), " entries but ", expected,
                                " came before; all must have as many"));
    }
    for (int64_t i = 0; i < expected; ++i) {
      path_.push_back(i);
      absl::Status status = Walk(json[static_cast<size_t>(i)]);
      if (!status.ok()) return status;
      path_.pop_back();
    }
    return absl::OkStatus();
  }

  absl::Status TakeElement(const Json& json) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    if (json.is_number()) {
      array_.elements.push_back(json.get<double>());
    } else if (json.is_boolean()) {
      array_.elements.push_back(json.get<bool>() ? 1 : 0);
    } else if (json == "NaN") {
      array_.elements.push_back(std::numeric_limits<double>::quiet_NaN());
    } else if (json == "Infinity") {
      array_.elements.push_back(kInfinity);
    } else if (json == "-Infinity") {
      array_.elements.push_back(-kInfinity);
    } else {
      return Error(absl::StrCat("expected a number, found ", json.dump()));
    }
    return absl::OkStatus();
  }

  const std::string source_;
  std::vector<int64_t> path_;
  Array array_;
};

absl::StatusOr<std::string> ReadStream(std::istream& stream,
                                       const std::string& source) {
  std::string text;
  char block[1 << 16];
  while (stream.read(block, sizeof(block)) || stream.gcount() > 0) {
    text.append(block, static_cast<size_t>(stream.gcount()));
  }
  // A directory opens, but cannot be read.
  if (stream.bad()) return UsageError(absl::StrCat(source, ": cannot be read"));
  return text;
}

bool ElementFromCsv(absl::string_view text, double& element) {
  if (text == "true" || text == "false") {
    element = text == "true" ? 1 : 0;
    return true;
  }
  return absl::SimpleAtod(text, &element);
}

void AppendJson(const Array& array, size_t axis, size_t& next,
                std::string& text) {
  if (axis == array.shape.size()) {
    absl::StrAppend(&text, ShortestText(array.elements[next++]));
    return;
  }
  const bool is_row = axis + 1 == array.shape.size();
  text += '[';
  for (int64_t i = 0; i < array.shape[axis]; ++i) {
    if (i > 0) text += is_row ? ", " : ",\n" + std::string(axis + 1, ' ');
    AppendJson(array, axis + 1, next, text);
  }
  text += ']';
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  if (path == "-") return ReadStream(std::cin, "the standard input");
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) {
    return UsageError(
        absl::StrCat(path, ": cannot be opened: ", std::strerror(errno)));
  }
  return ReadStream(file, path);
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  if (path == "-") return WriteStandardOutput(text);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file.good()) {
    return UsageError(
        absl::StrCat(path, ": cannot be written: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

bool LooksLikeJson(const std::string& text) {
  const absl::string_view start = absl::StripLeadingAsciiWhitespace(text);
  return !start.empty() && (start[0] == '[' || start[0] == '{');
}

absl::StatusOr<Array> ArrayFromJson(const std::string& text,
                                    const std::string& source) {
  const absl::StatusOr<Json> json = ParseJson<Json>(text, source);
  if (!json.ok()) return json.status();
  return JsonReader(source).Read(*json);
}

absl::StatusOr<Array> ArrayFromCsv(const std::string& text,
                                   const std::string& source) {
  Array array;
  int64_t rows = 0;
  int64_t columns = 0;
  int line_number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    int64_t cells = 0;
    for (const absl::string_view cell : absl::StrSplit(line, ',')) {
      const absl::string_view word = absl::StripAsciiWhitespace(cell);
      ++cells;
      if (!ElementFromCsv(word, array.elements.emplace_back())) {
        return UsageError(absl::StrCat(source, ":", line_number, ": column ",
                                       cells, " is \"", word,
                                       "\"; expected a number"));
      }
    }
    if (rows++ == 0) columns = cells;
    if (cells != columns) {
      return UsageError(absl::StrCat(source, ":", line_number, ": has ", cells,
                                     " columns but the first row has ",
                                     columns));
    }
  }
  if (rows == 0) return UsageError(absl::StrCat(source, ": is empty"));
  array.shape = {rows, columns};
  return array;
}

std::string ArrayToJson(const Array& array) {
  std::string text;
  size_t next = 0;
  AppendJson(array, 0, next, text);
  return text + "\n";
}

std::string ArrayToCsv(const Array& array) {
  std::string text;
  size_t next = 0;
  for (int64_t row = 0; row < array.shape[0]; ++row) {
    for (int64_t column = 0; column < array.shape[1]; ++column) {
      absl::StrAppend(&text, column > 0 ? "," : "",
                      ShortestText(array.elements[next++]));
    }
    text += '\n';
  }
  return text;
}

}  // namespace attention::client
