// Whether and how calls of a method come in.
#ifndef SERVER_RPC_DOOR_DOOR_H_
#define SERVER_RPC_DOOR_DOOR_H_

#include <cstdint>

#include "server/core/pool/compute_pool.h"
#include "server/rpc/door/admission.h"

namespace attention::rpc {

// What a method's calls have to pass.
struct Door {
  // Null: none counts as a request or is refused for the load, so that it is
  // answered when nothing else is; for messages of at most kInlineBytes
  // (message.h).
  Admission* admission;
  // What connections have brought; those of refused calls count as well.
  Arrivals& arrivals;
  // Reads long messages.
  core::ComputePool& pool;
  int64_t max_axis;  // Limits::max_axis
  // A call counts as an open stream, not as a request.
  bool is_stream = false;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_DOOR_H_
