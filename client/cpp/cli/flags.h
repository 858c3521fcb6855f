// Words of the command line that several commands share.
#ifndef CLIENT_CPP_CLI_FLAGS_H_
#define CLIENT_CPP_CLI_FLAGS_H_

#include <map>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"

namespace attention::client {

// float32, float64, float16, bfloat16.
const std::map<std::string, v1::DataType>& DataTypeWords();

// in-out, out-in.
const std::map<std::string, v1::Layout>& LayoutWords();
// What a number has to be; finite too. CLI11's own names a bound of 309 digits.
CLI::Validator AboveZero();
CLI::Validator AtLeastZero();

// The word of a layout; empty if it has none.
std::string LayoutWord(v1::Layout layout);

// An option whose value is one of `words`; another is refused with a list of
// them. Value is Enum or std::optional<Enum>. REQUIRES: `value` outlives
// `command`.
template <typename Value, typename Enum>
CLI::Option* AddWordOption(CLI::App& command, const std::string& name,
                           Value& value, const std::string& description,
                           const std::map<std::string, Enum>& words) {
  std::string choices;
  for (const auto& entry : words) {
    choices += (choices.empty() ? "" : "|") + entry.first;
  }
  return command
      .add_option_function<std::string>(
          name,
          [&value, name, words, choices](const std::string& word) {
            const auto found = words.find(word);
            if (found == words.end()) {
              throw CLI::ValidationError(
                  name, "is \"" + word + "\"; expected " + choices);
            }
            value = found->second;
          },
          description)
      ->type_name(choices);
}

// --quiet, of a command that transfers weights.
void AddQuietFlag(CLI::App& command, bool& quiet);

// Reads NAME, NAME@VERSION or NAME:LABEL.
absl::StatusOr<v1::WeightSetSelector> ParseSelector(const std::string& text);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_FLAGS_H_
