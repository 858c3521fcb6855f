// The flags of `attention compute` and the request they mean.
#ifndef CLIENT_CPP_CLI_COMPUTE_FLAGS_H_
#define CLIENT_CPP_CLI_COMPUTE_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "client/cpp/cli/tensor_file.h"
#include "command_line/cli_fwd.h"

namespace attention::client {

// Files of tensors, FILE or FILE:NAME; empty: not given.
struct TensorFlags {
  std::string query;
  std::string key;
  std::string value;
  std::string attend_mask;
  std::string bias;
  // Of query, key and value; absent: the file's own, FLOAT32 for text.
  std::optional<v1::DataType> dtype;
  InputFlags input;
};

struct HeadFlags {
  std::string weight_set;  // NAME[@VERSION|:LABEL]
  std::optional<int32_t> num_heads;
  std::optional<int32_t> num_kv_heads;
};

struct PositionFlags {
  bool causal = false;
  std::optional<int32_t> window_left;
  std::optional<int32_t> window_right;
  std::optional<v1::Alignment> alignment;
  std::vector<int32_t> query_offsets;
  std::vector<int32_t> key_lengths;
};

struct SoftmaxFlags {
  std::optional<double> scale;
  std::optional<double> softcap;
  std::optional<double> dropout;
  std::optional<uint64_t> seed;
};

// What to show beside the output.
struct ShowFlags {
  std::optional<v1::AttentionMatrixOptions::Stage> matrix;
  bool mean = false;
  std::optional<int32_t> top_k;
  bool lse = false;
};

struct RequestFlags {
  std::string request;  // file of a whole request in JSON
  TensorFlags tensors;
  HeadFlags heads;
  PositionFlags positions;
  SoftmaxFlags softmax;
  ShowFlags show;
};

// Adds every flag to `command`. REQUIRES: `flags` outlives `command`.
void AddRequestFlags(CLI::App& command, RequestFlags& flags);

// The same but for what to show beside the output, of which there is only the
// matrix, --matrix and --mean.
void AddMatrixRequestFlags(CLI::App& command, RequestFlags& flags);

// The request of --request, or an empty one, with each field that has a flag
// replaced. Reads the files. Errors are usage errors.
absl::StatusOr<v1::ComputeAttentionRequest> BuildRequest(
    const RequestFlags& flags);

// Replaces the fields of `request` that have a flag. Reads the files; "-" is
// refused if the standard input is taken. Errors are usage errors.
absl::Status ApplyRequestFlags(const RequestFlags& flags, bool stdin_is_taken,
                               v1::ComputeAttentionRequest& request);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_COMPUTE_FLAGS_H_
