#include "server/memory/allocated.h"

#include <malloc.h>

#include <cstddef>

// gperftools/malloc_extension_c.h, there only if the program has tcmalloc.
extern "C" {
[[gnu::weak]] int MallocExtension_GetNumericProperty(const char* property,
                                                     size_t* value);
[[gnu::weak]] void MallocExtension_ReleaseToSystem(size_t bytes);
}

namespace attention::memory {

int64_t AllocatedBytes() {
  size_t bytes = 0;
  if (MallocExtension_GetNumericProperty != nullptr &&
      MallocExtension_GetNumericProperty("generic.current_allocated_bytes",
                                         &bytes) != 0) {
    return static_cast<int64_t>(bytes);
  }
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
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
