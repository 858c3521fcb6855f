// A command line as JSON, for programs that wrap it and for tests.
#ifndef COMMAND_LINE_COMMAND_JSON_H_
#define COMMAND_LINE_COMMAND_JSON_H_

#include <string>

#include "command_line/command.h"

namespace attention::command_line {

// {"path", "summary", "usage", "examples", "positionals", "flags",
// "commands"}, where a flag is {"names", "value", "kind", "choices",
// "description", "required"}.
std::string CommandJson(const Command& command);

}  // namespace attention::command_line

#endif  // COMMAND_LINE_COMMAND_JSON_H_
