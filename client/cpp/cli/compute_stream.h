// `attention compute --stream`.
#ifndef CLIENT_CPP_CLI_COMPUTE_STREAM_H_
#define CLIENT_CPP_CLI_COMPUTE_STREAM_H_

#include <iosfwd>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/compute_flags.h"

namespace attention::client {

// Sends each line of `in`, a ComputeAttentionRequest in proto3 JSON with the
// fields of `flags` replaced, over one stream; blank lines are left out. Gives
// `write` one line for each answer, as it comes: {"id": LINE, "response": ..}
// or {"id": LINE, "error": {"code": .., "message": .., "fields": ..}}, where
// LINE counts from 1. `source` is what an error calls `in`.
//
// A line that cannot be read is a usage error, after the answers to those
// before it, and so is an error of `write`. CheckError if the server refused
// some.
absl::Status ComputeStream(
    const RequestFlags& flags, const std::string& source, std::istream& in,
    absl::FunctionRef<absl::Status(const std::string&)> write,
    const Connection& connection);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_COMPUTE_STREAM_H_
