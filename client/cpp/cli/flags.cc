#include "client/cpp/cli/flags.h"

#include <cmath>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/cli/cli_status.h"

namespace attention::client {
namespace {

CLI::Validator Bounded(const std::string& bound, const std::string& description,
                       bool (*is_within)(double)) {
  return {[=](const std::string& text) {
            double number = 0;
            if (absl::SimpleAtod(text, &number) && std::isfinite(number) &&
                is_within(number)) {
              return std::string();
            }
            return absl::StrCat("is ", text, "; expected a number ", bound);
          },
          description};
}

}  // namespace

const std::map<std::string, v1::DataType>& DataTypeWords() {
  static const auto* words = new std::map<std::string, v1::DataType>{
      {"float32", v1::DATA_TYPE_FLOAT32},
      {"float64", v1::DATA_TYPE_FLOAT64},
      {"float16", v1::DATA_TYPE_FLOAT16},
      {"bfloat16", v1::DATA_TYPE_BFLOAT16}};
  return *words;
}

const std::map<std::string, v1::Layout>& LayoutWords() {
  static const auto* words = new std::map<std::string, v1::Layout>{
      {"in-out", v1::LAYOUT_IN_OUT}, {"out-in", v1::LAYOUT_OUT_IN}};
  return *words;
}

CLI::Validator AboveZero() {
  return Bounded("above 0", "POSITIVE", [](double n) { return n > 0; });
}

CLI::Validator AtLeastZero() {
  return Bounded("of at least 0", "NONNEGATIVE",
                 [](double n) { return n >= 0; });
}

std::string LayoutWord(v1::Layout layout) {
  for (const auto& [word, known] : LayoutWords()) {
    if (known == layout) return word;
  }
  return "";
}

void AddQuietFlag(CLI::App& command, bool& quiet) {
  command.add_flag("--quiet", quiet, "show no progress on a terminal");
}

absl::StatusOr<v1::WeightSetSelector> ParseSelector(const std::string& text) {
  v1::WeightSetSelector selector;
  const size_t end = text.find_first_of("@:");
  selector.set_name(text.substr(0, end));
  if (end == std::string::npos) return selector;

  const std::string which = text.substr(end + 1);
  if (text[end] == ':') {
    selector.set_label(which);
    return selector;
  }
  int64_t version = 0;
  if (!absl::SimpleAtoi(which, &version)) {
    return UsageError(absl::StrCat("\"", text, "\": version \"", which,
                                   "\" is not a number; expected "
                                   "NAME[@VERSION|:LABEL]"));
  }
  selector.set_version(version);
  return selector;
}

}  // namespace attention::client
