// What one server accepts; published by GetServerInfo.
#ifndef SERVER_RPC_DOOR_LIMITS_H_
#define SERVER_RPC_DOOR_LIMITS_H_

#include <cstdint>

#include "server/rpc/door/connection_limits.h"

namespace attention::rpc {

// Each is a flag of the server with its name in dashes (--max-result-bytes;
// --max-transfer-idle, whose unit is part of what it is given).
struct Limits {
  // Of one request.
  int64_t max_message_bytes = int64_t{64} << 20;
  int64_t max_result_bytes = int64_t{64} << 20;
  int64_t max_workspace_bytes = int64_t{512} << 20;
  int64_t max_multiply_adds = int64_t{1} << 40;
  int64_t max_axis = int64_t{1} << 24;
  // Of all requests that are held at one time.
  int32_t max_requests_in_flight = 1024;
  // Of everything that is held (server/memory/ledger.h); 0 is what the process
  // may have (server/memory/memory_limit.h).
  int64_t memory_limit = 0;
  // Of one StreamAttention: messages between being read and being answered.
  int32_t max_stream_in_flight = 256;
  // Of all StreamAttention, UploadWeights and GetWeights, and of watches of
  // health and streams of reflection each: as many as four clients can open on
  // a connection each.
  int32_t max_open_streams = 4096;
  // Of a StreamAttention without a message under way: they may live for hours,
  // but not for ever for nobody.
  double max_stream_idle_seconds = 3600;
  // Of one UploadWeights: all tensors, and how long 1 MiB may take to come; of
  // a GetWeights, how long a message may take to be read.
  int64_t max_weight_set_bytes = int64_t{1} << 30;
  double max_transfer_idle_seconds = 60;
  // Of one connection: bytes that have reached no call yet, and how long a part
  // of them may stand still. Four messages and at least 128 MiB, but at most a
  // quarter of memory_limit, if it is 0.
  int64_t max_arriving_bytes = 0;
  double receive_idle_seconds = 10;
  // Of connections.
  ConnectionLimits connections;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_LIMITS_H_
