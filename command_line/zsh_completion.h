// Completion for zsh.
#ifndef COMMAND_LINE_ZSH_COMPLETION_H_
#define COMMAND_LINE_ZSH_COMPLETION_H_

#include <string>

#include "command_line/command.h"

namespace attention::command_line {

// A function for zsh's completion system, to be put on its fpath as _PROGRAM:
// commands and flags with what they mean, words of a list, and file names.
std::string ZshCompletion(const Command& root);

}  // namespace attention::command_line

#endif  // COMMAND_LINE_ZSH_COMPLETION_H_
