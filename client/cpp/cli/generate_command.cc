// `attention generate`: what the build makes of the command line itself.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/flags.h"
#include "command_line/generate.h"

namespace attention::client {
namespace {

struct GenerateFlags {
  command_line::Artifact artifact = command_line::Artifact::kMan;
  std::string directory;  // empty: the standard output
};

absl::Status GenerateFiles(const GenerateFlags& flags, const CLI::App& app) {
  const command_line::Manual manual = {
      absl::StrCat("attention ", app.version()), {"attention-server"}};
  for (const auto& [name, text] : command_line::Generate(
           command_line::ReadCommand(app), flags.artifact, manual)) {
    absl::Status status = WriteFile(
        flags.directory.empty() ? "-"
                                : absl::StrCat(flags.directory, "/", name),
        text);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

void AddGenerateCommand(CLI::App& app, Action& action) {
  CLI::App& command = *app.add_subcommand(
      "generate", "Write man pages, completion, or the command line as JSON");
  command.group("");  // hidden
  const auto flags = std::make_shared<GenerateFlags>();
  AddWordOption(command, "artifact", flags->artifact, "what to write",
                command_line::ArtifactWords())
      ->required();
  command
      .add_option("directory", flags->directory,
                  "where its files go; absent: the standard output")
      ->type_name("DIR");
  command.callback([flags, &app, &action] {
    action = [flags, &app](const Connection& /*connection*/) {
      return GenerateFiles(*flags, app);
    };
  });
}

}  // namespace attention::client
