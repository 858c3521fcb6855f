#include "tests/fuzz/check.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/files/array_file.h"

namespace attention::files {
namespace {

void Require(bool holds, const std::string& claim) {
  if (holds) return;
  std::fprintf(stderr, "breach: %s\n", claim.c_str());
  std::abort();
}

bool SameElements(const Array& a, const Array& b, bool is_text) {
  if (a.data == b.data) return true;
  if (!is_text || a.data.size() != b.data.size()) return false;
  for (int64_t i = 0; i < ArrayView(a).size(); ++i) {
    const double left = ElementAt(a, i);
    const double right = ElementAt(b, i);
    const bool both_nan = std::isnan(left) && std::isnan(right);
    if (!both_nan &&
        (left != right || std::signbit(left) != std::signbit(right))) {
      return false;
    }
  }
  return true;
}

void CheckRoundTrip(const Array& array, FileFormat format) {
  std::ostringstream written;
  const NamedArray named[] = {{"name", array}};
  const absl::Status status = WriteArrays(named, {}, format, written);
  Require(status.ok(), absl::StrCat("written: ", status.ToString()));
  const auto again = ReadArray(MemorySource("again", written.str()), format,
                               std::nullopt, array.type, kFuzzLimits);
  Require(again.ok(), absl::StrCat("read again: ", again.status().ToString()));
  Require(again->type == array.type && again->shape == array.shape,
          "type and shape survive being written");
  const bool is_text =
      format == FileFormat::kJson || format == FileFormat::kCsv;
  Require(SameElements(array, *again, is_text),
          "elements survive being written");
}

}  // namespace

MemorySource InputSource(const uint8_t* bytes, size_t size) {
  return {kInputName, std::string(reinterpret_cast<const char*>(bytes), size)};
}

void CheckRejected(const absl::Status& status) {
  constexpr size_t kShortestReason = 8;
  ++Counts().rejected;
  const std::string message(status.message());
  Require(absl::StartsWith(message, kInputName) &&
              message.size() > sizeof(kInputName) + kShortestReason,
          absl::StrCat("names what is wrong with the input: ", message));
  Require(!absl::StrContains(message, '\n'),
          absl::StrCat("is one line: ", message));
}

void CheckAccepted(const Array& array, FileFormat format) {
  ++Counts().accepted;
  const auto bytes = ByteCount(ElementSize(array.type), array.shape);
  Require(bytes == static_cast<int64_t>(array.data.size()),
          "as many bytes as the shape says");
  CheckRoundTrip(array, format);
}

void Check(const absl::StatusOr<Array>& array, FileFormat format) {
  if (array.ok()) {
    CheckAccepted(*array, format);
  } else {
    CheckRejected(array.status());
  }
}

CheckCounts::~CheckCounts() {
  std::fprintf(stderr, "accepted %s, rejected %s\n",
               std::to_string(accepted).c_str(),
               std::to_string(rejected).c_str());
}

CheckCounts& Counts() {
  static CheckCounts counts;
  return counts;
}

}  // namespace attention::files
