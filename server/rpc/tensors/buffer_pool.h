// Memory for the tensors of requests and replies, used again.
#ifndef SERVER_RPC_TENSORS_BUFFER_POOL_H_
#define SERVER_RPC_TENSORS_BUFFER_POOL_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "server/memory/ledger.h"

namespace attention::rpc {

class BufferPool;

// Memory aligned to 64 bytes, contents undefined. Goes back to its pool when it
// ends, which may be after the pool itself and on any thread. Movable.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer();
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;

  char* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  friend class BufferPool;
  struct Idle;

  char* data_ = nullptr;
  int64_t size_ = 0;
  int64_t mapped_ = 0;          // bytes of a mapping; 0: of the allocator
  std::shared_ptr<Idle> home_;  // of a mapping
};

// Gives out buffers. A small one is the allocator's; a large one is a mapping
// of its own, which the system would have to clear, page by page, each time
// anew: it is kept for the next request that fits. What nobody has used for
// `keep` goes back to the system, and never more than `max_idle_bytes` is kept.
// What is kept is in the ledger; what is in use is its user's to take out of
// it, before Take. Thread-safe; has a thread of its own, which sleeps while
// nothing is kept.
class BufferPool {
 public:
  // The ledger outlives the pool.
  BufferPool(int64_t max_idle_bytes, memory::Ledger& ledger,
             std::chrono::milliseconds keep = std::chrono::milliseconds(2000));
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // Throws std::bad_alloc. REQUIRES: bytes >= 0. data() is never null.
  Buffer Take(int64_t bytes);

  // Bytes that a buffer of so many takes of the memory; saturating.
  static int64_t HeldBytes(int64_t bytes);

  // Gives everything that is kept back to the system.
  void ReleaseIdle();

  // Bytes kept for later.
  int64_t idle_bytes() const;

 private:
  const std::shared_ptr<Buffer::Idle> idle_;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_TENSORS_BUFFER_POOL_H_
