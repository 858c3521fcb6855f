#include "server/memory/allocated.h"

#include <malloc.h>

#include <atomic>
#include <cstddef>

// gperftools/malloc_extension_c.h, there only if the program has tcmalloc.
extern "C" {
[[gnu::weak]] int MallocExtension_GetNumericProperty(const char* property,
                                                     size_t* value);
[[gnu::weak]] void MallocExtension_ReleaseToSystem(size_t bytes);
// sanitizer/allocator_interface.h, there only in a build with a sanitizer.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer's own name
[[gnu::weak]] size_t __sanitizer_get_current_allocated_bytes();
}

namespace attention::memory {
namespace {

std::atomic<int64_t> mapped{0};

int64_t OfAllocator() {
  if (__sanitizer_get_current_allocated_bytes != nullptr) {
    return static_cast<int64_t>(__sanitizer_get_current_allocated_bytes());
  }
  size_t bytes = 0;
  if (MallocExtension_GetNumericProperty != nullptr &&
      MallocExtension_GetNumericProperty("generic.current_allocated_bytes",
                                         &bytes) != 0) {
    return static_cast<int64_t>(bytes);
  }
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

}  // namespace

int64_t AllocatedBytes() {
  return OfAllocator() + mapped.load(std::memory_order_relaxed);
}

void CountMapped(int64_t bytes) {
  mapped.fetch_add(bytes, std::memory_order_relaxed);
}

int64_t FreeBytes() {
  size_t bytes = 0;
  if (MallocExtension_GetNumericProperty != nullptr) {
    MallocExtension_GetNumericProperty("tcmalloc.pageheap_free_bytes", &bytes);
  }
  return static_cast<int64_t>(bytes);
}

void ReleaseToSystem(int64_t bytes) {
  if (MallocExtension_ReleaseToSystem == nullptr) return;
  MallocExtension_ReleaseToSystem(static_cast<size_t>(bytes));
}

}  // namespace attention::memory
