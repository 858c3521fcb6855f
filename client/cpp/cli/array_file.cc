#include "client/cpp/cli/array_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/standard_streams.h"
#include "client/cpp/files/byte_source.h"
#include "client/cpp/files/json_array.h"
#include "nlohmann/json.hpp"

namespace attention::client {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const auto source = files::OpenSource(path);
  if (!source.ok()) return UsageError(source.status().message());
  std::string text(static_cast<size_t>((*source)->size()), '\0');
  const absl::Status status =
      (*source)->Read(0, (*source)->size(), text.data());
  if (!status.ok()) return UsageError(status.message());
  return text;
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  return WriteFile(path, [&](std::ostream& out) {
    out << text;
    return absl::OkStatus();
  });
}

absl::Status WriteFile(
    const std::string& path,
    absl::FunctionRef<absl::Status(std::ostream& out)> write) {
  if (path == "-") {
    absl::Status status = write(std::cout);
    return status.ok() ? WriteStandardOutput("") : status;
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  absl::Status status;
  if (file.is_open()) status = write(file);
  file.close();
  if (!status.ok() || file.good()) return status;
  return UsageError(
      absl::StrCat(path, ": cannot be written: ", std::strerror(errno)));
}

absl::StatusOr<Array> ArrayFromJson(const std::string& text,
                                    const std::string& source) {
  const absl::StatusOr<files::Array> read = files::ReadJsonArray(
      files::MemorySource(source, text), files::ElementType::kFloat64, {});
  if (!read.ok()) return UsageError(read.status().message());
  Array array = {read->shape,
                 std::vector<double>(read->data.size() / sizeof(double))};
  // memcpy must not be given the null of an empty vector.
  if (!array.elements.empty()) {
    std::memcpy(array.elements.data(), read->data.data(), read->data.size());
  }
  return array;
}

}  // namespace attention::client
