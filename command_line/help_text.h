// What --help prints.
#ifndef COMMAND_LINE_HELP_TEXT_H_
#define COMMAND_LINE_HELP_TEXT_H_

#include <string>

#include "CLI/CLI.hpp"
#include "command_line/command.h"

namespace attention::command_line {

// Lines that fit a terminal: summary, usage, arguments, commands, flags under
// their headings, paragraphs and sections.
std::string HelpText(const Command& command);

// Makes --help of an app, and of every command that is added to it afterwards,
// print its HelpText: app.formatter(std::make_shared<HelpFormatter>()).
class HelpFormatter : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
};

}  // namespace attention::command_line

#endif  // COMMAND_LINE_HELP_TEXT_H_
