// Completion for bash.
#ifndef COMMAND_LINE_BASH_COMPLETION_H_
#define COMMAND_LINE_BASH_COMPLETION_H_

#include <string>

#include "command_line/command.h"

namespace attention::command_line {

// A script for bash 4.4 or later that completes commands, flags, values that
// are words of a list, and file names. It needs nothing but bash.
std::string BashCompletion(const Command& root);

}  // namespace attention::command_line

#endif  // COMMAND_LINE_BASH_COMPLETION_H_
