// `attention demo`: the chapter's examples, sent, shown and checked.
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/chapter.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/heat_map.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/replay.h"
#include "client/cpp/cli/standard_streams.h"

namespace attention::client {
namespace {

using Json = nlohmann::ordered_json;

struct DemoFlags {
  std::string chapter;  // file; empty: the one in this program
  std::optional<ColorMode> color;
  bool pause = false;
  bool json = false;
};

constexpr char kFooter[] =
    R"(Each step tells what is computed, shows the numbers, compares them with the
chapter's, draws the attention weights, and prints the commands that compute the
same on the same server. It leaves weight sets named chapter/... there, and a
second replay adds nothing. The exit code is 1 if a number is off.

Examples:
  attention demo
  attention demo --pause
  attention demo --json)";

constexpr char kNext[] = R"(
What to try next
    attention weights list               what this replay has left on the server
    attention weights get chapter/multi-head@1
    attention compute --help             masks, windows, biases, top-k, streams
    attention demo --pause               this, one step at a time
)";

// What a shell must be told so that the commands meet the same server: nothing,
// where they do anyway.
std::string TargetCommand(const std::string& target) {
  const char* const variable = std::getenv("ATTENTION_TARGET");
  const std::string found =
      variable == nullptr || *variable == '\0' ? kDefaultTarget : variable;
  return found == target ? ""
                         : absl::StrCat("export ATTENTION_TARGET=", target);
}

// Waits for Enter.
void Pause() {
  std::cout << "\n-- Enter goes on --" << std::flush;
  std::string line;
  std::getline(std::cin, line);
}

// How the examples are shown.
struct Style {
  bool json = false;
  bool pause = false;
  ColorMode color = ColorMode::kPlain;
};

// Only a terminal gets a pause, and colours unless they are asked for.
Style StyleOf(const DemoFlags& flags) {
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  return {flags.json,
          flags.pause && !flags.json && terminal && isatty(STDIN_FILENO) == 1,
          flags.color.value_or(DetectColorMode(std::getenv("NO_COLOR"),
                                               std::getenv("COLORTERM"),
                                               std::getenv("TERM"), terminal))};
}

// The tally of a replay.
struct Tally {
  size_t checked = 0;
  std::vector<std::string> off;
  Json examples = Json::array();
};

absl::Status RunExample(const ChapterCase& example, int digits,
                        const std::string& place, const Style& style,
                        const Connection& connection, Tally& tally) {
  const absl::StatusOr<Replayed> replayed = Replay(example, digits, connection);
  if (!replayed.ok()) return replayed.status();
  tally.checked += replayed->checked();
  for (std::string& off : replayed->off(example.id)) {
    tally.off.push_back(std::move(off));
  }
  if (style.json) {
    tally.examples.push_back(ReplayJson(example, *replayed));
    return absl::OkStatus();
  }
  const absl::StatusOr<std::string> text =
      ReplayText(example, *replayed, place, style.color);
  return text.ok() ? WriteStandardOutput(*text) : text.status();
}

// All examples, as people read them or into the tally.
absl::Status RunExamples(const Chapter& chapter, const Style& style,
                         const Connection& connection, Tally& tally) {
  absl::Status status;
  if (!style.json) status = WriteStandardOutput(chapter.title + "\n");
  size_t number = 0;
  for (const ChapterCase& example : chapter.cases) {
    if (!status.ok()) return status;
    if (style.pause && number > 0) Pause();
    const std::string place = absl::StrCat(++number, "/", chapter.cases.size());
    status =
        RunExample(example, chapter.digits, place, style, connection, tally);
    if (!status.ok() && ExitCodeOf(status) != kExitUsage) {
      return {status.code(), absl::StrCat(example.id, ": ", status.message())};
    }
  }
  return status;
}

absl::StatusOr<Chapter> ReadChapter(const DemoFlags& flags,
                                    const std::string& target) {
  absl::StatusOr<std::string> text = ChapterJson();
  if (!flags.chapter.empty()) text = ReadFile(flags.chapter);
  if (!text.ok()) return text.status();
  absl::StatusOr<Chapter> chapter = ParseChapter(*text);
  const std::string command = TargetCommand(target);
  if (chapter.ok() && !command.empty() && !chapter->cases.empty()) {
    std::vector<std::string>& first = chapter->cases.front().commands;
    first.insert(first.begin(), command);
  }
  return chapter;
}

absl::Status Demo(const DemoFlags& flags, const Connection& connection) {
  const absl::StatusOr<Chapter> chapter = ReadChapter(flags, connection.target);
  if (!chapter.ok()) return chapter.status();
  Tally tally;
  absl::Status status =
      RunExamples(*chapter, StyleOf(flags), connection, tally);
  if (status.ok()) {
    status = WriteStandardOutput(flags.json
                                     ? PrettyJson({{"title", chapter->title},
                                                   {"examples", tally.examples},
                                                   {"numbers", tally.checked},
                                                   {"off", tally.off}})
                                     : kNext);
  }
  if (!status.ok()) return status;
  if (!tally.off.empty()) {
    return CheckError(
        absl::StrCat(tally.off.size(), " of ", tally.checked,
                     " numbers are off: ", absl::StrJoin(tally.off, "; ")));
  }
  if (flags.json) return absl::OkStatus();
  return WriteStandardOutput(absl::StrCat("\nAll ", tally.checked,
                                          " numbers of ", chapter->cases.size(),
                                          " examples are as expected.\n"));
}

}  // namespace

void AddDemoCommand(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<DemoFlags>();
  CLI::App& command = *app.add_subcommand(
      "demo", "Teach the chapter step by step, and check every number");
  command.add_flag("--pause", flags->pause,
                   "wait for Enter between the steps, on a terminal");
  command
      .add_option("--chapter", flags->chapter,
                  "another chapter.json than the one in this program")
      ->type_name("FILE|-");
  AddWordOption(
      command, "--color", flags->color,
      "of the heat maps; absent: what the terminal can show",
      std::map<std::string, ColorMode>{{"none", ColorMode::kPlain},
                                       {"256", ColorMode::k256},
                                       {"true", ColorMode::kTrueColor}});
  command.add_flag("--json", flags->json,
                   "print title, examples, numbers (how many) and off (which "
                   "are wrong) as JSON");
  command.footer(kFooter);
  command.callback([flags, &action] {
    action = [flags](const Connection& connection) {
      return Demo(*flags, connection);
    };
  });
}

}  // namespace attention::client
