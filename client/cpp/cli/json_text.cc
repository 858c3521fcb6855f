#include "client/cpp/cli/json_text.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "attention/v1/attention.pb.h"
#include "client/cpp/cli/number_text.h"
#include "google/protobuf/util/json_util.h"

namespace attention::client {
namespace {

using Json = nlohmann::ordered_json;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Applies MakeReadable to every tensor in `message`.
void MakeTensorsReadable(Message& message) {
  if (auto* tensor = dynamic_cast<v1::Tensor*>(&message)) {
    MakeReadable(*tensor);
    return;
  }
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      MakeTensorsReadable(*reflection.MutableMessage(&message, field));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      MakeTensorsReadable(
          *reflection.MutableRepeatedMessage(&message, field, i));
    }
  }
}

std::string ScalarText(const Json& json) {
  return json.is_number_float() ? ShortestText(json.get<double>())
                                : json.dump();
}

void Append(const Json& json, size_t indent, std::string& text) {
  if (!json.is_structured()) {
    text += ScalarText(json);
    return;
  }
  const bool is_object = json.is_object();
  const bool one_line =
      json.empty() ||
      (!is_object && std::none_of(json.begin(), json.end(), [](const Json& j) {
        return j.is_structured();
      }));
  const std::string newline = absl::StrCat("\n", std::string(indent + 2, ' '));
  text += is_object ? '{' : '[';
  bool first = true;
  for (const auto& [key, value] : json.items()) {
    if (!first) text += one_line ? ", " : ",";
    first = false;
    if (!one_line) text += newline;
    if (is_object) absl::StrAppend(&text, Json(key).dump(), ": ");
    Append(value, indent + 2, text);
  }
  if (!one_line) absl::StrAppend(&text, "\n", std::string(indent, ' '));
  text += is_object ? '}' : ']';
}

}  // namespace

std::string WithSignedZeros(const std::string& text) {
  files::SignedZeros zeros;
  std::string result;
  zeros.Append(text, result);
  zeros.Finish(result);
  return result;
}

absl::Status MessageFromJson(const std::string& text, const std::string& source,
                             Message& message) {
  const auto status =
      google::protobuf::util::JsonStringToMessage(text, &message);
  if (status.ok()) return absl::OkStatus();
  return UsageError(absl::StrCat(source, ": is not a ",
                                 message.GetDescriptor()->name(),
                                 " in JSON: ", std::string(status.message())));
}

std::string MessageToJson(const Message& message) {
  const std::unique_ptr<Message> readable(message.New());
  readable->CopyFrom(message);
  MakeTensorsReadable(*readable);
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  // Fails for an Any of unknown type only; the contract has none.
  const auto status =
      google::protobuf::util::MessageToJsonString(*readable, &text, options);
  return status.ok() ? PrettyJson(Json::parse(WithSignedZeros(text))) : "";
}

std::string PrettyJson(const Json& json) {
  std::string text;
  Append(json, 0, text);
  return text + "\n";
}

}  // namespace attention::client
