// What a computation takes, known from its shapes before anything is allocated.
#ifndef SERVER_RPC_COMPUTE_COST_H_
#define SERVER_RPC_COMPUTE_COST_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/core/layer/layer.h"
#include "server/rpc/compute/request.h"
#include "server/rpc/door/limits.h"

namespace attention::rpc {

// Each saturates at the largest int64.
struct ComputeCost {
  // Of the tensors of the reply.
  int64_t result_bytes = 0;
  // Of inputs that cannot be used in place, results that cannot be computed in
  // place, projections, and the scratch memory of every thread.
  int64_t workspace_bytes = 0;
  // Of projections and attention, every position counted.
  int64_t multiply_adds = 0;
};

// `layer` is null without a weight set. T is float or double.
template <typename T>
ComputeCost CostOf(const ComputeRequest& request,
                   const core::LayerWeights<T>* layer, int threads);

// RESOURCE_EXHAUSTED, naming figure and flag, if one is over its limit.
absl::Status CheckCost(const ComputeCost& cost, const Limits& limits);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_COST_H_
