#include "server/rpc/tensors/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#include "server/core/mutex.h"
#include "server/core/pool/arrays.h"
#include "server/memory/allocated.h"

namespace attention::rpc {
namespace {

using Clock = std::chrono::steady_clock;

// From here on a buffer is a mapping. Below, the allocator keeps memory for
// itself anyway.
constexpr int64_t kSmallestMapping = int64_t{128} << 10;

// Sizes of mappings: four steps from one power of two to the next, so that at
// most a quarter is wasted and requests of about one size share their memory.
int64_t MappingSize(int64_t bytes) {
  int64_t power = kSmallestMapping;
  while (power <= bytes / 2) power *= 2;
  const int64_t step = power / 4;
  return (bytes + step - 1) / step * step;
}

// What the allocator is asked for.
int64_t SmallSize(int64_t bytes) {
  return std::max(core::ArrayBytes(bytes, 1), core::kArrayAlignment);
}

}  // namespace

int64_t BufferPool::HeldBytes(int64_t bytes) {
  if (bytes < kSmallestMapping) return SmallSize(bytes);
  // More than any memory, and too much for the next power of two.
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  return bytes > kMost / 4 ? kMost : MappingSize(bytes);
}

// The mappings nobody uses now.
struct Buffer::Idle {
  struct Mapping {
    char* data;
    int64_t size;
    Clock::time_point since;
  };

  const int64_t max_bytes;
  const std::chrono::milliseconds keep;
  memory::Ledger& ledger;  // not used once closed

  core::Mutex mutex;
  core::CondVar changed;
  // The longest idle first.
  std::vector<Mapping> mappings ABSL_GUARDED_BY(mutex);
  int64_t bytes ABSL_GUARDED_BY(mutex) = 0;
  bool closed ABSL_GUARDED_BY(mutex) = false;  // the pool has ended
  std::thread cleaner;

  Idle(int64_t its_max_bytes, std::chrono::milliseconds its_keep,
       memory::Ledger& its_ledger)
      : max_bytes(its_max_bytes), keep(its_keep), ledger(its_ledger) {}

  // A mapping of exactly `size` bytes, null if there is none.
  char* Find(int64_t size) {
    const core::MutexLock lock(mutex);
    // The one used last is the most likely to be in the caches.
    const auto found =
        std::find_if(mappings.rbegin(), mappings.rend(),
                     [&](const Mapping& m) { return m.size == size; });
    if (found == mappings.rend()) return nullptr;
    char* const data = found->data;
    bytes -= size;
    ledger.Give(memory::Kind::kIdleBuffers, size);
    mappings.erase(std::next(found).base());
    return data;
  }

  void Unmap(char* data, int64_t size) noexcept {
    munmap(data, static_cast<size_t>(size));
    memory::CountMapped(-size);
  }

  void Keep(char* data, int64_t size) noexcept {
    {
      const core::MutexLock lock(mutex);
      if (!closed && bytes + size <= max_bytes && TryAdd(data, size)) return;
    }
    Unmap(data, size);
  }

  bool TryAdd(char* data, int64_t size) noexcept
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    try {
      mappings.push_back({data, size, Clock::now()});
    } catch (const std::bad_alloc&) {
      return false;
    }
    // What it was held for may not have been given back yet.
    if (!ledger.TakeIfFree(memory::Kind::kIdleBuffers, size)) {
      mappings.pop_back();
      return false;
    }
    bytes += size;
    if (mappings.size() == 1) changed.NotifyOne();
    return true;
  }

  // Takes out what has been idle since before `until`, to be unmapped without
  // the lock that every request takes.
  std::vector<Mapping> TakeOut(Clock::time_point until)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const auto end = std::find_if(
        mappings.begin(), mappings.end(),
        [until](const Mapping& mapping) { return mapping.since > until; });
    std::vector<Mapping> out(mappings.begin(), end);
    mappings.erase(mappings.begin(), end);
    for (const Mapping& mapping : out) bytes -= mapping.size;
    return out;
  }

  void Release(const std::vector<Mapping>& out) {
    for (const Mapping& mapping : out) {
      Unmap(mapping.data, mapping.size);
      ledger.Give(memory::Kind::kIdleBuffers, mapping.size);
    }
  }

  void ReleaseAll() {
    std::vector<Mapping> out;
    {
      const core::MutexLock lock(mutex);
      out = TakeOut(Clock::time_point::max());
    }
    Release(out);
  }

  // The cleaner's thread.
  void Clean() {
    while (WaitForIdle()) {
      std::vector<Mapping> out;
      {
        const core::MutexLock lock(mutex);
        out = TakeOut(Clock::now() - keep);
      }
      Release(out);
    }
  }

  // Ends the cleaner's thread.
  void Close() {
    const core::MutexLock lock(mutex);
    closed = true;
    changed.NotifyOne();
  }

  // Until something is idle, and then as long as that is kept; false if there
  // was nothing and the pool has ended.
  bool WaitForIdle() {
    const core::MutexLock lock(mutex);
    while (!closed && mappings.empty()) changed.Wait(mutex);
    if (closed) return false;
    const Clock::time_point until = Clock::now() + keep;
    while (!closed && changed.WaitUntil(mutex, until)) {
    }
    return true;
  }
};

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  std::swap(home_, other.home_);
  return *this;
}

Buffer::~Buffer() {
  if (mapped_ > 0) {
    home_->Keep(data_, mapped_);
  } else {
    std::free(data_);
  }
}

BufferPool::BufferPool(int64_t max_idle_bytes, memory::Ledger& ledger,
                       std::chrono::milliseconds keep)
    : idle_(std::make_shared<Buffer::Idle>(max_idle_bytes, keep, ledger)) {
  idle_->cleaner = std::thread([idle = idle_.get()] { idle->Clean(); });
}

BufferPool::~BufferPool() {
  idle_->Close();
  idle_->cleaner.join();
  idle_->ReleaseAll();
}

void BufferPool::ReleaseIdle() { idle_->ReleaseAll(); }

Buffer BufferPool::Take(int64_t bytes) {
  Buffer buffer;
  buffer.size_ = bytes;
  if (bytes < kSmallestMapping) {
    buffer.data_ = static_cast<char*>(std::aligned_alloc(
        core::kArrayAlignment, static_cast<size_t>(SmallSize(bytes))));
    if (buffer.data_ == nullptr) throw std::bad_alloc();
    return buffer;
  }
  const int64_t mapped = MappingSize(bytes);
  buffer.data_ = idle_->Find(mapped);
  if (buffer.data_ == nullptr) {
    void* const memory =
        mmap(nullptr, static_cast<size_t>(mapped), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    buffer.data_ = static_cast<char*>(memory);
    memory::CountMapped(mapped);
  }
  buffer.mapped_ = mapped;
  buffer.home_ = idle_;
  return buffer;
}

int64_t BufferPool::idle_bytes() const {
  const core::MutexLock lock(idle_->mutex);
  return idle_->bytes;
}

}  // namespace attention::rpc
