// What the allocator has given out.
#ifndef SERVER_MEMORY_ALLOCATED_H_
#define SERVER_MEMORY_ALLOCATED_H_

#include <cstdint>

namespace attention::memory {

// Bytes that the allocator has given out and not got back: tcmalloc's
// generic.current_allocated_bytes where the program has it
// (docs/adr/0008-tcmalloc.md), else mallinfo2's. Mappings of our own are not
// among them. Thread-safe; some microseconds.
int64_t AllocatedBytes();

// Bytes that tcmalloc keeps for later and that are resident; 0 of any other
// allocator. Thread-safe.
int64_t FreeBytes();

// Gives about `bytes` of them back to the system. Thread-safe; takes
// milliseconds for each GiB.
void ReleaseToSystem(int64_t bytes);

}  // namespace attention::memory

#endif  // SERVER_MEMORY_ALLOCATED_H_
