#include "server/rpc/tensors/plan_memory.h"

#include "server/core/saturating.h"

namespace attention::rpc {
namespace {

using core::SaturatingAdd;
using core::SaturatingMultiply;

void Add(int64_t bytes, int64_t& sum) { sum = SaturatingAdd(sum, bytes); }

}  // namespace

void PlanMemory::Count(For use, int64_t count, int64_t element_size) {
  const int64_t bytes = SaturatingMultiply(count, element_size);
  if (use == For::kResult) Add(bytes, cost_.result_bytes);
  if (use == For::kWorkspace) Add(bytes, cost_.workspace_bytes);
  Add(bytes, Held(use));
}

int64_t& PlanMemory::Held(For use) {
  switch (use) {
    case For::kInput:
      return cost_.held_inputs;
    case For::kWorkspace:
      return cost_.held_workspace;
    default:
      return cost_.held_reply;
  }
}

void* PlanMemory::TakeBytes(For use, int64_t count, int64_t element_size,
                            Buffer& buffer) {
  Count(use, count, element_size);
  const int64_t bytes = SaturatingMultiply(count, element_size);
  Add(BufferPool::HeldBytes(bytes) - bytes, Held(use));
  if (!takes()) return Nowhere();
  buffer = buffers_->Take(bytes);
  return buffer.data();
}

void* PlanMemory::Nowhere() {
  alignas(64) static char nowhere[64];
  return nowhere;
}

}  // namespace attention::rpc
