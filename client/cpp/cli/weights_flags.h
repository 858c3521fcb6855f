// The flags of `attention weights set`, `import` and `init`, and the requests
// they mean.
#ifndef CLIENT_CPP_CLI_WEIGHTS_FLAGS_H_
#define CLIENT_CPP_CLI_WEIGHTS_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "client/cpp/cli/layer_import.h"
#include "client/cpp/cli/tensor_file.h"
#include "command_line/cli_fwd.h"

namespace attention::client {

// Of every new version.
struct VersionFlags {
  std::string name;
  std::optional<int64_t> expected_version;
  std::string idempotency_key;
  std::vector<std::string> labels;
  std::vector<std::string> annotations;  // KEY=VALUE
  v1::Layout layout = v1::LAYOUT_UNSPECIFIED;
  std::optional<int32_t> num_heads;
  std::optional<int32_t> num_kv_heads;
};

// Files of one projection; empty: absent.
struct ProjectionFlags {
  std::string weight;
  std::string bias;
};

struct SetFlags {
  VersionFlags version;
  std::string file;  // a whole weight set in JSON, npz or safetensors
  // Of the tensors; absent: the files' own, FLOAT32 for text.
  std::optional<v1::DataType> dtype;
  InputFlags input;
  ProjectionFlags query;
  ProjectionFlags key;
  ProjectionFlags value;
  ProjectionFlags output;
};

struct ImportFlags {
  VersionFlags version;
  std::string file;
  LayerImport layer;
  std::optional<int64_t> layer_number;
  InputFlags input;
};

struct InitFlags {
  VersionFlags version;
  v1::Initializer::Distribution distribution =
      v1::Initializer::DISTRIBUTION_UNSPECIFIED;
  uint32_t seed = 0;
  int32_t query_width = 0;
  std::optional<int32_t> key_width;
  std::optional<int32_t> value_width;
  int32_t head_dim = 0;
  std::optional<int32_t> value_dim;
  std::optional<int32_t> output_width;
  bool input_bias = false;
  bool output_bias = false;
};

// Adds every flag to `command`. REQUIRES: `flags` outlives `command`.
void AddSetFlags(CLI::App& command, SetFlags& flags);
void AddImportFlags(CLI::App& command, ImportFlags& flags);
void AddInitFlags(CLI::App& command, InitFlags& flags);

// The request the flags mean. Errors are usage errors. Reads the files of
// `flags`.
absl::StatusOr<v1::SetWeightsRequest> BuildSetRequest(const SetFlags& flags);
absl::StatusOr<v1::SetWeightsRequest> BuildImportRequest(
    const ImportFlags& flags);
absl::StatusOr<v1::SetWeightsRequest> BuildInitRequest(const InitFlags& flags);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_WEIGHTS_FLAGS_H_
