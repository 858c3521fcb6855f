// A command line as data, read from the CLI11 tree that parses it: the one
// source of --help, man pages and completion.
#ifndef COMMAND_LINE_COMMAND_H_
#define COMMAND_LINE_COMMAND_H_

#include <string>
#include <vector>

#include "command_line/cli_fwd.h"

namespace attention::command_line {

// What may stand for a value.
enum class ValueKind {
  kNone,       // a flag that takes no value
  kText,       // anything
  kFile,       // the name of a file
  kDirectory,  // the name of a directory
  kChoice,     // one of Flag::choices
};

// A flag or a positional argument.
struct Flag {
  std::vector<std::string> names;  // "-h", "--help"; "name" of a positional
  std::string value;               // what stands for it: "FILE|-"
  ValueKind kind = ValueKind::kNone;
  std::vector<std::string> choices;
  std::string description;
  // What the description leaves out: range, default, environment variable,
  // flags it needs or excludes.
  std::vector<std::string> notes;
  std::string group;  // heading
  bool required = false;
  bool repeatable = false;
};

// A heading of the footer and the indented lines under it.
struct Section {
  std::string title;  // "Examples"
  std::vector<std::string> lines;
};

struct Command {
  std::vector<std::string> path;  // {"attention", "weights", "init"}
  std::string summary;            // one line
  std::vector<std::string> paragraphs;
  std::vector<Section> sections;
  std::vector<Flag> positionals;
  std::vector<Flag> flags;
  std::vector<Flag> inherited;  // flags of the commands above
  std::vector<Command> commands;
  bool requires_command = false;

  std::string name() const;  // the path, joined by blanks
};

// What `app` and all below it take. What has no group is hidden and left out.
// The description is the summary. The footer holds paragraphs, with empty lines
// between them, and sections: a title such as "Examples:" and lines that are
// indented by two blanks, where a backslash continues a command.
Command ReadCommand(const CLI::App& app);

// Each command of the section "Examples", its continued lines joined.
std::vector<std::string> Examples(const Command& command);

// The section of that title; null if there is none.
const Section* FindSection(const Command& command, const std::string& title);

// `flags` by their headings, in the order in which those come first.
std::vector<std::vector<Flag>> ByGroup(const std::vector<Flag>& flags);

// "attention compute [FLAGS]", "attention weights init [FLAGS] NAME".
std::string Usage(const Command& command);

}  // namespace attention::command_line

#endif  // COMMAND_LINE_COMMAND_H_
