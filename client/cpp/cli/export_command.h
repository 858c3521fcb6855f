// `attention weights export`, and what `weights get` shares with it.
#ifndef CLIENT_CPP_CLI_EXPORT_COMMAND_H_
#define CLIENT_CPP_CLI_EXPORT_COMMAND_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/client.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/layer_export.h"
#include "client/cpp/cli/tensor_file.h"
#include "command_line/cli_fwd.h"

namespace attention::client {

// The version that `selector`, NAME[@VERSION|:LABEL], means. Shows its progress
// on a terminal unless `quiet`.
absl::StatusOr<StoredWeightSet> FetchWeights(const std::string& selector,
                                             bool quiet,
                                             const Connection& connection);

// Writes `stored` as a file of tensors. REQUIRES: files::IsBundle(format).
absl::Status WriteLayer(const std::string& path, FileFormat format,
                        const LayerExport& layer, StoredWeightSet stored);

// Adds it below `weights`. REQUIRES: `action` outlives `weights`.
void AddExportCommand(CLI::App& weights, Action& action);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_EXPORT_COMMAND_H_
