// What answers one request: what it costs, its memory, its work.
#ifndef SERVER_RPC_COMPUTE_PLAN_H_
#define SERVER_RPC_COMPUTE_PLAN_H_

#include <cstdint>

#include "absl/status/status.h"
#include "attention/v1/attention.pb.h"
#include "server/core/pool/compute_pool.h"
#include "server/rpc/door/limits.h"
#include "server/rpc/tensors/buffer_pool.h"
#include "server/rpc/tensors/plan_memory.h"

namespace attention::rpc {

// Known from the shapes of a request, before anything of its size is allocated.
// Each saturates at the largest int64.
struct Cost : MemoryCost {
  // Of projections and attention, every position counted.
  int64_t multiply_adds = 0;
  // So little that it is one task of the pool, with all that comes before and
  // after it: then one worker takes scratch memory, else each of them.
  bool in_one_task = false;
};

// A request that has been understood and found right by its shapes and options.
// Whoever runs it calls, in this order and once each: cost, and nothing more if
// that is refused; Allocate; Steps; Conclude when the steps are done. The plan
// lives until then. For one thread at a time.
class Plan {
 public:
  Plan() = default;
  virtual ~Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  virtual const Cost& cost() const = 0;

  // Takes all the memory that cost() counts, but for the workers' own.
  // FAILED_PRECONDITION or RESOURCE_EXHAUSTED about "weight_set" where a weight
  // set cannot be had in the type to compute in, which stays with it. Throws
  // std::bad_alloc.
  virtual absl::Status Allocate(BufferPool& buffers) = 0;

  // The work: from the received bytes to the tensors of the reply. The steps
  // refer to this.
  virtual core::Computation Steps() = 0;

  // What is left to say in the reply.
  virtual void Conclude(const v1::Timing& timing) = 0;
};

// RESOURCE_EXHAUSTED, naming figure and flag, if one is over its limit.
absl::Status CheckCost(const Cost& cost, const Limits& limits);

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_PLAN_H_
