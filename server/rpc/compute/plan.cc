#include "server/rpc/compute/plan.h"

#include "server/rpc/door/status.h"

namespace attention::rpc {

absl::Status CheckCost(const Cost& cost, const Limits& limits) {
  if (cost.result_bytes > limits.max_result_bytes) {
    return OverLimit("bytes of the reply's tensors:", cost.result_bytes,
                     limits.max_result_bytes, "max-result-bytes");
  }
  if (cost.workspace_bytes > limits.max_workspace_bytes) {
    return OverLimit("bytes of temporary memory:", cost.workspace_bytes,
                     limits.max_workspace_bytes, "max-workspace-bytes");
  }
  if (cost.multiply_adds > limits.max_multiply_adds) {
    return OverLimit("multiply-adds:", cost.multiply_adds,
                     limits.max_multiply_adds, "max-multiply-adds");
  }
  return absl::OkStatus();
}

}  // namespace attention::rpc
