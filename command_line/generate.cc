#include "command_line/generate.h"

#include "absl/strings/str_cat.h"
#include "command_line/bash_completion.h"
#include "command_line/command_json.h"
#include "command_line/zsh_completion.h"

namespace attention::command_line {
namespace {

void AddPages(const Command& command, const Command& root, const Manual& manual,
              std::map<std::string, std::string>& files) {
  files[PageName(command) + ".1"] = ManPage(command, root, manual);
  for (const Command& below : command.commands) {
    AddPages(below, root, manual, files);
  }
}

}  // namespace

const std::map<std::string, Artifact>& ArtifactWords() {
  static const auto* words =
      new std::map<std::string, Artifact>{{"man", Artifact::kMan},
                                          {"bash", Artifact::kBash},
                                          {"zsh", Artifact::kZsh},
                                          {"json", Artifact::kJson}};
  return *words;
}

std::map<std::string, std::string> Generate(const Command& root,
                                            Artifact artifact,
                                            const Manual& manual) {
  const std::string program = PageName(root);
  std::map<std::string, std::string> files;
  switch (artifact) {
    case Artifact::kMan:
      AddPages(root, root, manual, files);
      break;
    case Artifact::kBash:
      files[program] = BashCompletion(root);
      break;
    case Artifact::kZsh:
      files["_" + program] = ZshCompletion(root);
      break;
    case Artifact::kJson:
      files[program + ".json"] = CommandJson(root);
      break;
  }
  return files;
}

}  // namespace attention::command_line
