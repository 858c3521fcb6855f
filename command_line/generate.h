// The files that are made of a command line.
#ifndef COMMAND_LINE_GENERATE_H_
#define COMMAND_LINE_GENERATE_H_

#include <map>
#include <string>

#include "command_line/command.h"
#include "command_line/man_page.h"

namespace attention::command_line {

enum class Artifact { kMan, kBash, kZsh, kJson };

// Their words: man, bash, zsh, json.
const std::map<std::string, Artifact>& ArtifactWords();

// Name -> text: a page for each command, or the one file that there is of the
// other kinds.
std::map<std::string, std::string> Generate(const Command& root,
                                            Artifact artifact,
                                            const Manual& manual);

}  // namespace attention::command_line

#endif  // COMMAND_LINE_GENERATE_H_
