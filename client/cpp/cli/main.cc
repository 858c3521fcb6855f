// attention: the command line of the attention service.
#include <chrono>
#include <iostream>
#include <string>

#include "CLI/CLI.hpp"
#include "attention/client.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"

namespace attention::client {
namespace {

struct GlobalFlags {
  std::string target = "127.0.0.1:50051";
  double deadline_seconds = 0;  // 0: none
};

constexpr char kFooter[] =
    R"(Exit codes: 0 done; 1 the server refused, or a number of the demo is off;
2 the command line or a file is at fault; 3 no answer (no server there, it is
shutting down, or the deadline has passed).

Examples:
  attention compute --query tokens.csv --scale 1 --matrix attention-weights
  attention heatmap --query tokens.csv --causal --out weights.png
  attention weights init my-layer --distribution linear --layout out-in \
      --seed 1 --query-width 768 --head-dim 64 --heads 12
  attention compute --weight-set my-layer --query x.json --causal --out y.json
  attention compute --stream requests.jsonl --causal --out answers.jsonl
  attention bench --concurrency 64 --shape 6,2 --format csv
  attention demo)";

void AddGlobalFlags(CLI::App& app, GlobalFlags& flags) {
  app.add_option("--target", flags.target, "host:port of the server")
      ->envname("ATTENTION_TARGET")
      ->capture_default_str();
  app.add_option("--deadline", flags.deadline_seconds,
                 "seconds a call may take; absent: no bound")
      ->envname("ATTENTION_DEADLINE")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber);
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Computes attention on an attention-server, keeps its weight "
      "sets, and replays the chapter.",
      "attention");
  app.set_version_flag("--version", ATTENTION_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  GlobalFlags flags;
  AddGlobalFlags(app, flags);
  Action action;
  AddComputeCommand(app, action);
  AddHeatmapCommand(app, action);
  AddWeightsCommand(app, action);
  AddInfoCommand(app, action);
  AddHealthCommand(app, action);
  AddBenchCommand(app, action);
  AddDemoCommand(app, action);
  app.footer(kFooter);  // last, or every command inherits it
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Zero for --help and --version, which are printed here.
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << "attention: " << error.what() << " (see --help)\n";
    return kExitUsage;
  }

  const Client client(flags.target);
  Connection connection{client, {}};
  if (flags.deadline_seconds > 0) {
    connection.timeout = std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(flags.deadline_seconds));
  }
  const absl::Status status = action(connection);
  if (!status.ok()) {
    std::cout << std::flush;
    std::cerr << ErrorLine(status, flags.target) << "\n";
  }
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace attention::client

int main(int argc, char** argv) { return attention::client::Main(argc, argv); }
