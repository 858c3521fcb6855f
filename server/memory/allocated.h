// What the allocator has given out.
#ifndef SERVER_MEMORY_ALLOCATED_H_
#define SERVER_MEMORY_ALLOCATED_H_

#include <cstdint>

namespace attention::memory {

// Bytes that the process has allocated and not given back: what the allocator
// says, which is tcmalloc where the program has it (docs/adr/0008-tcmalloc.md),
// a sanitizer's or glibc's, and mappings of our own (CountMapped). Thread-safe;
// some microseconds.
int64_t AllocatedBytes();

// `bytes` more have been mapped beside the allocator, or fewer if negative.
// Thread-safe.
void CountMapped(int64_t bytes);

// Bytes that tcmalloc keeps for later and that are resident; 0 of any other
// allocator. Thread-safe.
int64_t FreeBytes();

// Gives about `bytes` of them back to the system. Thread-safe; takes
// milliseconds for each GiB.
void ReleaseToSystem(int64_t bytes);

}  // namespace attention::memory

#endif  // SERVER_MEMORY_ALLOCATED_H_
