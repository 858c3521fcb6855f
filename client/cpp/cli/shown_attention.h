// The attention of a request, to be shown.
#ifndef CLIENT_CPP_CLI_SHOWN_ATTENTION_H_
#define CLIENT_CPP_CLI_SHOWN_ATTENTION_H_

#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/picture_flags.h"

namespace attention::client {

// Makes `request` ask for an attention matrix, that of the weights if it has
// not asked for one; of their mean over the heads if `mean`.
void RequestMatrix(bool mean, v1::ComputeAttentionRequest& request);

// The attention matrix in `response`, the answer to `request`, with -inf at the
// positions that are excluded. Weights are 0 there, as they may be elsewhere:
// where the request can exclude any, the server is asked once more, for the
// biased scores of the same weight set version, which are -inf there.
// REQUIRES: the request asked for a matrix.
absl::StatusOr<MatrixToShow> ShowAttention(
    const v1::ComputeAttentionRequest& request,
    const v1::ComputeAttentionResponse& response, const Connection& connection);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_SHOWN_ATTENTION_H_
