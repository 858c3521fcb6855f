#include "command_line/help_text.h"

#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "command_line/wrap.h"

namespace attention::command_line {
namespace {

constexpr size_t kColumn = 26;  // where descriptions begin

// "  --query FILE|-" and what it means, beside it or, if it is long, below.
std::string Entry(const std::string& what, const std::string& description) {
  std::string entry = absl::StrCat("  ", what);
  if (entry.size() + 2 > kColumn) {
    absl::StrAppend(&entry, "\n", std::string(kColumn, ' '));
  } else {
    entry.resize(kColumn, ' ');
  }
  return absl::StrCat(entry, Wrap(description, kColumn), "\n");
}

std::string FlagEntry(const Flag& flag) {
  const bool positional = flag.names.front().front() != '-';
  std::string what = positional ? flag.value : absl::StrJoin(flag.names, ", ");
  if (!positional && !flag.value.empty()) {
    absl::StrAppend(&what, " ", flag.value);
  }
  std::vector<std::string> notes = flag.notes;
  if (flag.required) notes.insert(notes.begin(), "required");
  std::string description = flag.description;
  if (!notes.empty()) {
    absl::StrAppend(&description, " (", absl::StrJoin(notes, "; "), ")");
  }
  return Entry(what, description);
}

void AppendGroups(const std::vector<Flag>& flags, const std::string& heading,
                  std::string& text) {
  for (const std::vector<Flag>& group : ByGroup(flags)) {
    const std::string& name = group.front().group;
    absl::StrAppend(&text, "\n", name == "Options" ? heading : name, ":\n");
    for (const Flag& flag : group) absl::StrAppend(&text, FlagEntry(flag));
  }
}

}  // namespace

std::string HelpText(const Command& command) {
  std::string text =
      absl::StrCat(Wrap(command.summary), "\n\nUsage: ", Usage(command), "\n");
  if (!command.positionals.empty()) absl::StrAppend(&text, "\nArguments:\n");
  for (const Flag& positional : command.positionals) {
    absl::StrAppend(&text, FlagEntry(positional));
  }
  if (!command.commands.empty()) absl::StrAppend(&text, "\nCommands:\n");
  for (const Command& below : command.commands) {
    absl::StrAppend(&text, Entry(below.path.back(), below.summary));
  }
  AppendGroups(command.flags, "Flags", text);
  AppendGroups(command.inherited, "Flags of every command", text);
  for (const std::string& paragraph : command.paragraphs) {
    absl::StrAppend(&text, "\n", Wrap(paragraph), "\n");
  }
  for (const Section& section : command.sections) {
    absl::StrAppend(&text, "\n", section.title, ":\n  ",
                    absl::StrJoin(section.lines, "\n  "), "\n");
  }
  return text;
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string /*name*/,
                                     CLI::AppFormatMode /*mode*/) const {
  return HelpText(ReadCommand(*app));
}

}  // namespace attention::command_line
