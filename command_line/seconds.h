// Flags that are times.
#ifndef COMMAND_LINE_SECONDS_H_
#define COMMAND_LINE_SECONDS_H_

#include <map>
#include <string>

#include "CLI/CLI.hpp"

namespace attention::command_line {

// A transform of a flag: 2, 2s, 500ms and 1min become seconds. Adds nothing to
// the flag's line of --help.
inline CLI::Validator AsSeconds() {
  return CLI::AsNumberWithUnit(
             std::map<std::string, double>{{"ms", 1e-3}, {"s", 1}, {"min", 60}})
      .description("");
}

}  // namespace attention::command_line

#endif  // COMMAND_LINE_SECONDS_H_
