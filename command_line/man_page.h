// A manual page, in the man(7) language of roff.
#ifndef COMMAND_LINE_MAN_PAGE_H_
#define COMMAND_LINE_MAN_PAGE_H_

#include <string>
#include <vector>

#include "command_line/command.h"

namespace attention::command_line {

// Of a program and its pages.
struct Manual {
  std::string version;                // of the program: "attention 0.1.0"
  std::vector<std::string> see_also;  // pages besides those of the tree
};

// The page of `command`, one of the tree below `root`. Sections of the root
// other than its examples are those of every page: what exit codes mean.
std::string ManPage(const Command& command, const Command& root,
                    const Manual& manual);

// "attention-weights-init", under which man finds the page.
std::string PageName(const Command& command);

}  // namespace attention::command_line

#endif  // COMMAND_LINE_MAN_PAGE_H_
