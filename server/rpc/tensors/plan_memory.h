// The memory of one request, measured by the code that takes it.
#ifndef SERVER_RPC_TENSORS_PLAN_MEMORY_H_
#define SERVER_RPC_TENSORS_PLAN_MEMORY_H_

#include <google/protobuf/repeated_field.h>

#include <cstdint>

#include "server/rpc/tensors/buffer_pool.h"

namespace attention::rpc {

// What a request takes beside the message it came in. Each saturates at the
// largest int64.
struct MemoryCost {
  // Of the tensors of the reply.
  int64_t result_bytes = 0;
  // Of inputs that cannot be used in place, results that cannot be computed in
  // place, projections, and the scratch memory of every thread.
  int64_t workspace_bytes = 0;
  // As it is really held: the inputs gathered out of the received message, the
  // tensors of the reply and its text, and the workspace.
  int64_t held_inputs = 0;
  int64_t held_reply = 0;
  int64_t held_workspace = 0;
};

// Hands out memory and adds up what that takes, or does nothing but add up. So
// a function that takes what a request needs of it is run twice, to know the
// cost before anything is allocated, and then to allocate exactly that.
class PlanMemory {
 public:
  // What memory is for; see MemoryCost.
  enum class For { kInput, kResult, kWorkspace, kText };

  // Measures.
  PlanMemory() = default;
  // Takes; throws std::bad_alloc.
  explicit PlanMemory(BufferPool& buffers) : buffers_(&buffers) {}

  bool takes() const { return buffers_ != nullptr; }
  const MemoryCost& cost() const { return cost_; }

  // Room for `count` elements of T, aligned to 64 bytes, contents undefined;
  // `buffer` gets it. Measuring, a pointer that is not null either, with
  // nothing to read behind it. REQUIRES: count >= 0.
  template <typename T>
  T* Take(For use, int64_t count, Buffer& buffer) {
    return static_cast<T*>(
        TakeBytes(use, count, static_cast<int64_t>(sizeof(T)), buffer));
  }

  // The same of a field of a message, which gets `count` elements, 0 each.
  template <typename T>
  T* Take(For use, int64_t count, google::protobuf::RepeatedField<T>& field) {
    Count(use, count, sizeof(T));
    if (!takes() || count == 0) return static_cast<T*>(Nowhere());
    field.Resize(static_cast<int>(count), 0);
    return field.mutable_data();
  }

  // Counts what somebody else takes.
  void Count(For use, int64_t count, int64_t element_size);

 private:
  void* TakeBytes(For use, int64_t count, int64_t element_size, Buffer& buffer);
  static void* Nowhere();
  int64_t& Held(For use);

  BufferPool* buffers_ = nullptr;
  MemoryCost cost_;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_TENSORS_PLAN_MEMORY_H_
