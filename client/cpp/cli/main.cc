// attention: the command line of the attention service.
#include <grpc/grpc.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "attention/client.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/standard_streams.h"
#include "client/cpp/cli/tls_flags.h"
#include "command_line/help_text.h"
#include "command_line/seconds.h"
#include "nlohmann/json.hpp"

namespace attention::client {
namespace {

struct GlobalFlags {
  std::string target = kDefaultTarget;
  double deadline_seconds = 0;  // 0: none
  TlsFlags tls;
};

constexpr char kFooter[] =
    R"(With --json a command prints its result as one JSON document, and an error as
one line of JSON on the standard error: code, message, and the violations, each
with field and description. The code is that of the server, such as
INVALID_ARGUMENT, or USAGE for the command line and files, or CHECK for a number
that is off. A file named - is the standard input or output.

Exit codes:
  0    done
  1    the server refused, or a number of the demo is off
  2    the command line or a file is at fault
  3    no answer: no server there, one that is stopping, or past the deadline
  130  interrupted (Ctrl-C); the server is told to give up the call

Examples:
  attention compute --query tokens.csv --scale 1 --matrix attention-weights
  attention heatmap --query tokens.csv --causal --out weights.png
  attention weights init my-layer --distribution linear --layout out-in \
      --seed 1 --query-width 768 --head-dim 64 --heads 12
  attention --target 127.0.0.1:50051 --deadline 500ms health
  attention demo)";

// What is wrong with a --target, or "". gRPC takes a port modulo 65536.
std::string WrongTarget(const std::string& target) {
  if (target.empty()) return "is empty; expected HOST:PORT or unix:PATH";
  if (absl::StartsWith(target, "unix:")) return "";
  const std::string port = target.substr(target.rfind(':') + 1);
  const bool is_number = absl::c_all_of(
      port, [](unsigned char c) { return absl::ascii_isdigit(c); });
  int number = 0;
  if (port.size() == target.size() || port.empty() || !is_number ||
      (absl::SimpleAtoi(port, &number) && number >= 1 && number <= 65535)) {
    return "";
  }
  return absl::StrCat("has port ", port, "; expected 1 to 65535");
}

void AddGlobalFlags(CLI::App& app, GlobalFlags& flags) {
  app.add_option("--target", flags.target,
                 "host:port of the server, or unix:PATH")
      ->check(CLI::Validator(WrongTarget, ""))
      ->envname("ATTENTION_TARGET")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  constexpr double kYear = 365.0 * 86400;
  app.add_option("--deadline", flags.deadline_seconds,
                 "how long a call may take: 2, 500ms or 1min; absent: no bound")
      ->envname("ATTENTION_DEADLINE")
      ->transform(command_line::AsSeconds())
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, kYear).description(""));
  AddTlsFlags(app, flags.tls);
}

// The variables that set flags which `error` is about and the command line does
// not have: " (from ATTENTION_DEADLINE)".
std::string Origin(const CLI::App& app, const CLI::ParseError& error, int argc,
                   char** argv) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string variable = option->get_envname();
    const std::string name = option->get_name();
    if (variable.empty() || std::getenv(variable.c_str()) == nullptr ||
        !absl::StrContains(error.what(), name)) {
      continue;
    }
    if (std::none_of(argv + 1, argv + argc, [&](absl::string_view argument) {
          return absl::StartsWith(argument, name);
        })) {
      return absl::StrCat(" (from ", variable, ")");
    }
  }
  return "";
}

// "attention weights init", as far as the command line was understood.
std::string DeepestCommand(const CLI::App& app) {
  std::string name = app.get_name();
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    absl::StrAppend(&name, " ", at->get_name());
  }
  return name;
}

// What is wrong. CLI11 misses a command without naming what is there instead,
// and takes the value of a flag that it does not know for something else first.
std::string What(const CLI::App& app, const CLI::ParseError& error) {
  std::string what = error.what();
  const std::vector<std::string> left = app.remaining(/*recurse=*/true);
  for (const std::string& word : left) {
    if (absl::StartsWith(word, "--")) {
      return absl::StrCat(word, " is no flag of ", DeepestCommand(app));
    }
  }
  if (!absl::StrContains(what, "subcommand is required")) return what;
  if (left.empty()) {
    return absl::StrCat(DeepestCommand(app), ": which command?");
  }
  return absl::StrCat("\"", left.front(), "\" is no command of ",
                      DeepestCommand(app));
}

// Before anything is opened, and for as long as the program runs. `json` is
// whether an interrupt is told as JSON.
void PrepareProcess(bool json) {
  GuardStandardStreams();
  // What gRPC has to say comes as a status; its log would be a second line.
  setenv("GRPC_VERBOSITY", "NONE", /*replace=*/0);
  // A use of gRPC that does not end: when the last one does, gRPC 1.51 may wait
  // up to 10 s for a poller of its own, though every call has been answered.
  grpc_init();
  const absl::Status interrupted = absl::CancelledError("interrupted");
  ReportInterrupts(json ? ErrorJson(interrupted).dump() + "\n"
                        : "attention: interrupted\n");
}

void AddCommands(CLI::App& app, Action& action) {
  AddComputeCommand(app, action);
  AddHeatmapCommand(app, action);
  AddWeightsCommand(app, action);
  AddInfoCommand(app, action);
  AddHealthCommand(app, action);
  AddBenchCommand(app, action);
  AddDemoCommand(app, action);
  AddGenerateCommand(app, action);
}

// An empty value is mostly a variable of a shell that nobody has set; CLI11
// takes it for a 0.
void RefuseEmptyValues(CLI::App& app) {
  const auto wrong = [](const std::string& value) {
    return value.empty() ? std::string("is empty; expected a value, or no flag")
                         : std::string();
  };
  for (CLI::Option* option : app.get_options()) {
    if (option->get_name() == "--title") continue;  // empty is no title
    option->check(CLI::Validator(wrong, ""));
  }
  for (CLI::App* command : app.get_subcommands({})) RefuseEmptyValues(*command);
}

// Nothing, if there is a command to run; else how the program ends.
std::optional<absl::Status> Parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // of --help and --version
      app.exit(error);
      return WriteStandardOutput("");
    }
    return UsageError(absl::StrCat(What(app, error),
                                   Origin(app, error, argc, argv), " (see ",
                                   DeepestCommand(app), " --help)"));
  }
  return std::nullopt;
}

// Tells an error on the standard error, as a line for people or one of JSON.
int ExitWith(const absl::Status& status, const GlobalFlags& flags, bool json) {
  if (status.ok()) return kExitOk;
  std::cout << std::flush;
  std::cerr << (json ? ErrorJson(status).dump(
                           -1, ' ', /*ensure_ascii=*/false,
                           nlohmann::ordered_json::error_handler_t::replace)
                     : ErrorLine(status, flags.target, flags.tls.enabled()))
            << "\n";
  return ExitCodeOf(status);
}

int Main(int argc, char** argv) {
  // Known before the line is parsed, which may fail.
  const bool json = std::any_of(
      argv, argv + argc,
      [](absl::string_view argument) { return argument == "--json"; });
  PrepareProcess(json);
  CLI::App app(
      "Computes attention on an attention-server, keeps its weight "
      "sets, and replays the chapter.",
      "attention");
  app.formatter(std::make_shared<command_line::HelpFormatter>());
  app.set_help_flag("-h,--help", "print this and exit");
  app.set_version_flag("--version", ATTENTION_VERSION,
                       "print the version and exit");
  app.require_subcommand(1);
  app.fallthrough();
  GlobalFlags flags;
  AddGlobalFlags(app, flags);
  Action action;
  AddCommands(app, action);
  RefuseEmptyValues(app);
  app.footer(kFooter);  // last, or every command inherits it
  if (const auto ended = Parse(app, argc, argv)) {
    return ExitWith(*ended, flags, json);
  }

  absl::StatusOr<ClientOptions> options = ToClientOptions(flags.tls);
  if (!options.ok()) return ExitWith(options.status(), flags, json);
  // Somebody waits for this program; gRPC's pauses grow to two minutes.
  options->longest_reconnect_pause = std::chrono::milliseconds(100);
  const Client client(flags.target, *options);
  Connection connection{client, {}};
  connection.target = flags.target;
  if (flags.deadline_seconds > 0) {
    connection.timeout = std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(flags.deadline_seconds));
  }
  absl::Status status = WithinMemory([&] { return action(connection); });
  if (status.ok()) status = WriteStandardOutput("");
  return ExitWith(status, flags, json);
}

}  // namespace
}  // namespace attention::client

int main(int argc, char** argv) { return attention::client::Main(argc, argv); }
