// The parts of a ComputeAttentionRequest beyond query, key and value.
#ifndef SERVER_RPC_COMPUTE_OPTIONS_H_
#define SERVER_RPC_COMPUTE_OPTIONS_H_

#include "absl/status/status.h"
#include "attention/v1/attention.pb.h"
#include "proto/codec.h"
#include "server/rpc/compute/request.h"
#include "server/rpc/tensors/received_request.h"

namespace attention::rpc {

// attend_mask and bias: dtype, rank, and each axis of full size or 1.
// REQUIRES: request.shape.
absl::Status ParseMasks(const ReceivedRequest& received,
                        const CodecLimits& limits, ComputeRequest& request);

// Positions, lengths, factors, dropout. Their ranges are left to
// core::ValidateAttention; unknown enum values are refused.
absl::Status ParseOptions(const v1::ComputeAttentionRequest& message,
                          ComputeRequest& request);

// What is asked for beside output: matrix, top_k, lse.
// REQUIRES: request.shape.
absl::Status ParseWanted(const v1::ComputeAttentionRequest& message,
                         ComputeRequest& request);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_OPTIONS_H_
