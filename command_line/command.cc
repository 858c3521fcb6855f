#include "command_line/command.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace attention::command_line {
namespace {

// CLI11 hands out the type's name and what its validators say as one text,
// "FLOAT:POSITIVE", and a name such as HOST:PORT may have a colon of its own.
// These begin what a validator says.
constexpr absl::string_view kValidators[] = {
    ":POSITIVE", ":NONNEGATIVE", ":{",    ":INT in ",
    ":UINT in ", ":FLOAT in ",   ":FILE", ":DIR"};

size_t FindValidators(absl::string_view type_name) {
  size_t first = type_name.size();
  for (const absl::string_view validator : kValidators) {
    first = std::min(first, type_name.find(validator));
  }
  return first;
}

// "POSITIVE" and "INT in [1 - 4096]", as people say it.
std::string RangeNote(absl::string_view validator) {
  if (validator == "POSITIVE") return "more than 0";
  if (validator == "NONNEGATIVE") return "at least 0";
  const size_t bracket = validator.find(" in [");
  if (bracket == absl::string_view::npos) return "";
  absl::string_view range = validator.substr(bracket + 5);
  absl::ConsumeSuffix(&range, "]");
  const std::vector<absl::string_view> ends = absl::StrSplit(range, " - ");
  return absl::StrJoin(ends, " to ");
}

bool IsWord(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '-';
  });
}

// Fills value, kind and choices, and notes what the validators demand.
void ReadValue(const CLI::Option& option, Flag& flag) {
  if (option.get_items_expected_max() == 0) return;
  const std::string type_name = option.get_type_name();
  const size_t end = FindValidators(type_name);
  flag.value = type_name.substr(0, end);
  absl::string_view validator = absl::string_view(type_name).substr(end);
  absl::ConsumePrefix(&validator, ":");

  std::vector<std::string> words = absl::StrSplit(flag.value, '|');
  if (absl::ConsumePrefix(&validator, "{")) {  // of CLI::IsMember
    words = absl::StrSplit(absl::StripSuffix(validator, "}"), ',');
    flag.value = absl::StrJoin(words, "|");
  }
  if (words.size() > 1 && std::all_of(words.begin(), words.end(), IsWord)) {
    flag.kind = ValueKind::kChoice;
    flag.choices = std::move(words);
  } else if (absl::StartsWith(flag.value, "FILE")) {
    flag.kind = ValueKind::kFile;
  } else if (absl::StartsWith(flag.value, "DIR")) {
    flag.kind = ValueKind::kDirectory;
  } else {
    flag.kind = ValueKind::kText;
  }
  if (std::string note = RangeNote(validator); !note.empty()) {
    flag.notes.push_back(std::move(note));
  }
}

// Names of options, in an order that does not depend on where they lie.
std::string Names(const std::set<CLI::Option*>& options) {
  std::set<std::string> names;
  for (const CLI::Option* option : options) names.insert(option->get_name());
  return absl::StrJoin(names, ", ");
}

Flag ReadFlag(const CLI::Option& option) {
  Flag flag;
  for (const std::string& name : option.get_snames()) {
    flag.names.push_back("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    flag.names.push_back("--" + name);
  }
  if (flag.names.empty()) flag.names.push_back(option.get_name(true));
  ReadValue(option, flag);
  flag.description = option.get_description();
  flag.group = option.get_group();
  flag.required = option.get_required();
  flag.repeatable = option.get_items_expected_max() > 1;
  if (!option.get_default_str().empty()) {
    flag.notes.push_back("default: " + option.get_default_str());
  }
  if (!option.get_envname().empty()) {
    flag.notes.push_back("environment: " + option.get_envname());
  }
  if (!option.get_needs().empty()) {
    flag.notes.push_back("with " + Names(option.get_needs()));
  }
  if (!option.get_excludes().empty()) {
    flag.notes.push_back("not with " + Names(option.get_excludes()));
  }
  return flag;
}

bool IsIndented(absl::string_view line) { return absl::StartsWith(line, "  "); }

void ReadFooter(const std::string& footer, Command& command) {
  const std::vector<std::string> lines =
      absl::StrSplit(absl::StripAsciiWhitespace(footer), '\n');
  bool in_paragraph = false;
  bool in_section = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    if (line.empty()) {
      in_paragraph = false;
    } else if (in_section && IsIndented(line)) {
      command.sections.back().lines.push_back(line.substr(2));
    } else if (absl::EndsWith(line, ":") && i + 1 < lines.size() &&
               IsIndented(lines[i + 1])) {
      command.sections.push_back({line.substr(0, line.size() - 1), {}});
      in_section = true;
      in_paragraph = false;
    } else {
      in_section = false;
      if (!in_paragraph) command.paragraphs.emplace_back();
      absl::StrAppend(&command.paragraphs.back(), in_paragraph ? " " : "",
                      line);
      in_paragraph = true;
    }
  }
}

void ReadFlags(const CLI::App& app, Command& command) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    (option->nonpositional() ? command.flags : command.positionals)
        .push_back(ReadFlag(*option));
  }
  for (const CLI::App* above = app.get_parent(); above != nullptr;
       above = above->get_parent()) {
    for (const CLI::Option* option : above->get_options()) {
      // Those of help are there already, and --version is the program's.
      if (option->get_group().empty() || option == above->get_help_ptr() ||
          option == above->get_help_all_ptr() ||
          option->check_lname("version")) {
        continue;
      }
      command.inherited.push_back(ReadFlag(*option));
    }
  }
}

}  // namespace

std::string Command::name() const { return absl::StrJoin(path, " "); }

Command ReadCommand(const CLI::App& app) {
  Command command;
  for (const CLI::App* part = &app; part != nullptr;
       part = part->get_parent()) {
    command.path.insert(command.path.begin(), part->get_name());
  }
  command.summary = app.get_description();
  command.requires_command = app.get_require_subcommand_min() > 0;
  ReadFooter(app.get_footer(), command);
  ReadFlags(app, command);
  for (const CLI::App* below : app.get_subcommands(
           [](const CLI::App* one) { return !one->get_group().empty(); })) {
    command.commands.push_back(ReadCommand(*below));
  }
  return command;
}

std::vector<std::string> Examples(const Command& command) {
  std::vector<std::string> examples;
  const Section* section = FindSection(command, "Examples");
  if (section == nullptr) return examples;
  bool continues = false;
  for (absl::string_view line : section->lines) {
    const bool continued = absl::ConsumeSuffix(&line, "\\");
    line = absl::StripAsciiWhitespace(line);
    if (continues) {
      absl::StrAppend(&examples.back(), " ", line);
    } else {
      examples.emplace_back(line);
    }
    continues = continued;
  }
  return examples;
}

const Section* FindSection(const Command& command, const std::string& title) {
  const auto found =
      std::find_if(command.sections.begin(), command.sections.end(),
                   [&](const Section& s) { return s.title == title; });
  return found == command.sections.end() ? nullptr : &*found;
}

std::vector<std::vector<Flag>> ByGroup(const std::vector<Flag>& flags) {
  std::vector<std::vector<Flag>> groups;
  for (const Flag& flag : flags) {
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const std::vector<Flag>& others) {
                                      return others.front().group == flag.group;
                                    });
    if (group == groups.end()) {
      groups.push_back({flag});
    } else {
      group->push_back(flag);
    }
  }
  return groups;
}

std::string Usage(const Command& command) {
  std::string usage = command.name();
  if (!command.flags.empty()) absl::StrAppend(&usage, " [FLAGS]");
  for (const Flag& positional : command.positionals) {
    const std::string& name = positional.value;
    absl::StrAppend(&usage, " ",
                    positional.required ? name : absl::StrCat("[", name, "]"),
                    positional.repeatable ? "..." : "");
  }
  if (!command.commands.empty()) {
    absl::StrAppend(&usage,
                    command.requires_command ? " COMMAND" : " [COMMAND]");
  }
  return usage;
}

}  // namespace attention::command_line
