#include "command_line/man_page.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace attention::command_line {
namespace {

// `text` as roff prints it: backslash and hyphen are its own, and so is a
// point or quote that begins a line.
std::string Escape(absl::string_view text) {
  std::string escaped =
      absl::StrReplaceAll(text, {{"\\", "\\e"}, {"-", "\\-"}});
  if (absl::StartsWith(escaped, ".") || absl::StartsWith(escaped, "'")) {
    escaped.insert(0, "\\&");
  }
  return escaped;
}

std::string Bold(absl::string_view text) {
  return absl::StrCat("\\fB", Escape(text), "\\fR");
}

std::string Italic(absl::string_view text) {
  return absl::StrCat("\\fI", Escape(text), "\\fR");
}

// ".SH" and its text, which is in quotes, as it may hold blanks.
std::string Heading(absl::string_view macro, absl::string_view text) {
  return absl::StrCat(macro, " \"",
                      absl::StrReplaceAll(Escape(text), {{"\"", "\\(dq"}}),
                      "\"\n");
}

std::string Sentence(const Flag& flag) {
  std::vector<std::string> notes = flag.notes;
  if (flag.required) notes.insert(notes.begin(), "required");
  std::string text = flag.description;
  if (!notes.empty()) {
    absl::StrAppend(&text, " (", absl::StrJoin(notes, "; "), ")");
  }
  return Escape(text);
}

std::string FlagParagraph(const Flag& flag) {
  std::string head;
  if (flag.names.front().front() != '-') {
    head = Italic(flag.value);
  } else {
    head = absl::StrJoin(flag.names, ", ",
                         [](std::string* out, const std::string& name) {
                           absl::StrAppend(out, Bold(name));
                         });
    if (!flag.value.empty()) absl::StrAppend(&head, " ", Italic(flag.value));
  }
  return absl::StrCat(".TP\n", head, "\n", Sentence(flag), "\n");
}

void AppendFlags(const std::vector<Flag>& flags, const std::string& unnamed,
                 std::string& page) {
  for (const std::vector<Flag>& group : ByGroup(flags)) {
    const std::string& name = group.front().group;
    page += Heading(".SS", name == "Options" ? unnamed : name);
    for (const Flag& flag : group) page += FlagParagraph(flag);
  }
}

// Lines as they are.
std::string Verbatim(const std::vector<std::string>& lines) {
  std::string text = ".nf\n";
  for (const std::string& line : lines) {
    absl::StrAppend(&text, Escape(line), "\n");
  }
  return text + ".fi\n";
}

std::string SectionText(const Section& section) {
  return Heading(".SH", absl::AsciiStrToUpper(section.title)) +
         Verbatim(section.lines);
}

std::string Synopsis(const Command& command) {
  const std::string name = command.name();
  const std::string usage = Usage(command);
  return absl::StrCat(".SH SYNOPSIS\n", Bold(name),
                      Escape(usage.substr(name.size())), "\n");
}

std::string Environment(const Command& command) {
  constexpr absl::string_view kNote = "environment: ";
  std::string text;
  for (const auto* flags : {&command.flags, &command.inherited}) {
    for (const Flag& flag : *flags) {
      for (const std::string& note : flag.notes) {
        if (!absl::StartsWith(note, kNote)) continue;
        absl::StrAppend(&text, ".TP\n", Bold(note.substr(kNote.size())),
                        "\nstands for ", Bold(flag.names.back()),
                        " where that is not given\n");
      }
    }
  }
  return text.empty() ? "" : ".SH ENVIRONMENT\n" + text;
}

void CollectPages(const Command& command, std::vector<std::string>& pages) {
  for (const Command& below : command.commands) {
    pages.push_back(PageName(below));
  }
}

// The pages below, the one above, and the others of the project.
std::string SeeAlso(const Command& command, const Command& root,
                    const Manual& manual) {
  std::vector<std::string> pages;
  if (command.path.size() > 1) {
    pages.push_back(
        absl::StrJoin(command.path.begin(), command.path.end() - 1, "-"));
  }
  CollectPages(command, pages);
  if (command.path.size() == root.path.size()) {
    pages.insert(pages.end(), manual.see_also.begin(), manual.see_also.end());
  }
  if (pages.empty()) return "";
  return absl::StrCat(
      ".SH SEE ALSO\n",
      absl::StrJoin(pages, ",\n",
                    [](std::string* out, const std::string& page) {
                      absl::StrAppend(out, ".BR ", Escape(page), " (1)");
                    }),
      "\n");
}

}  // namespace

std::string PageName(const Command& command) {
  return absl::StrJoin(command.path, "-");
}

std::string ManPage(const Command& command, const Command& root,
                    const Manual& manual) {
  const std::string name = PageName(command);
  std::string page = absl::StrCat(
      ".TH ", Escape(absl::AsciiStrToUpper(name)), R"( 1 "" ")", manual.version,
      R"(" "attention-service")", "\n.SH NAME\n", Escape(name), " \\- ",
      Escape(command.summary), "\n", Synopsis(command));
  if (!command.paragraphs.empty()) page += ".SH DESCRIPTION\n";
  page += absl::StrJoin(command.paragraphs, ".PP\n",
                        [](std::string* out, const std::string& paragraph) {
                          absl::StrAppend(out, Escape(paragraph), "\n");
                        });
  if (!command.commands.empty()) page += ".SH COMMANDS\n";
  for (const Command& below : command.commands) {
    absl::StrAppend(&page, ".TP\n", Bold(below.path.back()), "\n",
                    Escape(below.summary), "\n");
  }
  if (!command.positionals.empty()) page += ".SH ARGUMENTS\n";
  for (const Flag& positional : command.positionals) {
    page += FlagParagraph(positional);
  }
  page += ".SH OPTIONS\n";
  AppendFlags(command.flags, "Flags", page);
  AppendFlags(command.inherited, "Flags of every command", page);
  page += Environment(command);
  if (&command != &root) {
    for (const Section& section : root.sections) {
      if (section.title != "Examples") page += SectionText(section);
    }
  }
  for (const Section& section : command.sections) page += SectionText(section);
  return page + SeeAlso(command, root, manual);
}

}  // namespace attention::command_line
