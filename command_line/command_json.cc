#include "command_line/command_json.h"

#include <vector>

#include "nlohmann/json.hpp"

namespace attention::command_line {
namespace {

using Json = nlohmann::ordered_json;

const char* KindName(ValueKind kind) {
  switch (kind) {
    case ValueKind::kNone:
      return "none";
    case ValueKind::kText:
      return "text";
    case ValueKind::kFile:
      return "file";
    case ValueKind::kDirectory:
      return "directory";
    case ValueKind::kChoice:
      return "choice";
  }
  return "";
}

Json FlagsToJson(const std::vector<Flag>& flags) {
  Json json = Json::array();
  for (const Flag& flag : flags) {
    json.push_back({{"names", flag.names},
                    {"value", flag.value},
                    {"kind", KindName(flag.kind)},
                    {"choices", flag.choices},
                    {"description", flag.description},
                    {"required", flag.required}});
  }
  return json;
}

Json ToJson(const Command& command) {
  Json json = {{"path", command.path},
               {"summary", command.summary},
               {"usage", Usage(command)},
               {"examples", Examples(command)},
               {"positionals", FlagsToJson(command.positionals)},
               {"flags", FlagsToJson(command.flags)},
               {"commands", Json::array()}};
  for (const Command& below : command.commands) {
    json["commands"].push_back(ToJson(below));
  }
  return json;
}

}  // namespace

std::string CommandJson(const Command& command) {
  return ToJson(command).dump(2) + "\n";
}

}  // namespace attention::command_line
