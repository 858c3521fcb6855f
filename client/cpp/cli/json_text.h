// JSON text, and messages of the contract as JSON.
#ifndef CLIENT_CPP_CLI_JSON_TEXT_H_
#define CLIENT_CPP_CLI_JSON_TEXT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/cli/cli_status.h"
#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace attention::client {

// `text` with every number -0 as -0.0, which parsers take for a double.
std::string WithSignedZeros(const std::string& text);

// Parses `text`; a usage error names `source` and where it stops being JSON.
// Json is nlohmann::json or nlohmann::ordered_json.
template <typename Json>
absl::StatusOr<Json> ParseJson(const std::string& text,
                               const std::string& source) {
  try {
    return Json::parse(WithSignedZeros(text));
  } catch (const typename Json::parse_error& error) {
    // The text in brackets in front is the library's number of the error.
    const std::string what = error.what();
    return UsageError(absl::StrCat(
        source, ": is not JSON: ",
        what.substr(
            what.find("] ") == std::string::npos ? 0 : what.find("] ") + 2)));
  }
}

// Reads a message from proto3 JSON.
absl::Status MessageFromJson(const std::string& text, const std::string& source,
                             google::protobuf::Message& message);

// A message as proto3 JSON with the contract's field names. Every tensor in it,
// at any depth, carries its elements as values with the shortest digits that
// read back as the same elements.
std::string MessageToJson(const google::protobuf::Message& message);

// `json` on lines of their own, but an array of numbers or strings on one line.
std::string PrettyJson(const nlohmann::ordered_json& json);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_JSON_TEXT_H_
