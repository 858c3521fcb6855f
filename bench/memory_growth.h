// What a computation adds to the memory of the process.
#ifndef BENCH_MEMORY_GROWTH_H_
#define BENCH_MEMORY_GROWTH_H_

#include <cstdint>
#include <functional>

namespace attention::bench {

// Bytes by which the resident memory of this process grows beyond what it is
// now while `function` runs, at its peak. Linux counts pages in batches per
// thread, so it may be off by a quarter of a megabyte.
// Source: Linux Documentation/filesystems/proc.rst, clear_refs.
int64_t PeakGrowth(const std::function<void()>& function);

}  // namespace attention::bench

#endif  // BENCH_MEMORY_GROWTH_H_
