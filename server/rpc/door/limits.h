// What one server accepts; published by GetServerInfo.
#ifndef SERVER_RPC_DOOR_LIMITS_H_
#define SERVER_RPC_DOOR_LIMITS_H_

#include <cstdint>

#include "server/rpc/door/connection_limits.h"

namespace attention::rpc {

// Each is a flag of the server with its name in dashes (--max-result-bytes;
// --max-upload-idle, whose unit is part of what it is given).
struct Limits {
  // Of one request.
  int64_t max_message_bytes = int64_t{64} << 20;
  int64_t max_result_bytes = int64_t{64} << 20;
  int64_t max_workspace_bytes = int64_t{512} << 20;
  int64_t max_multiply_adds = int64_t{1} << 40;
  int64_t max_axis = int64_t{1} << 24;
  // Of all requests that are held at one time.
  int32_t max_requests_in_flight = 1024;
  int64_t max_bytes_in_flight = int64_t{2} << 30;
  // Of one StreamAttention: messages between being read and being answered.
  int32_t max_stream_in_flight = 256;
  // Of one UploadWeights: all tensors, and how long 1 MiB may take to come.
  int64_t max_weight_set_bytes = int64_t{1} << 30;
  double max_upload_idle_seconds = 60;
  // Of connections.
  ConnectionLimits connections;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_LIMITS_H_
