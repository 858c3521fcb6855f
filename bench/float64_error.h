// How far the core is from attention in double.
#ifndef BENCH_FLOAT64_ERROR_H_
#define BENCH_FLOAT64_ERROR_H_

#include <cstdint>

#include "bench/kernel_case.h"
#include "server/core/pool/compute_pool.h"

namespace attention::bench {

struct Float64Error {
  double worst = 0;  // absolute
  int64_t rows = 0;  // that were compared
};

// Compares the output that the case holds with loops of its own in double: all
// rows if there are at most `max_rows`, else about that many, evenly spaced
// with an odd step so that every place of a tile is met. NaN counts as
// infinite.
Float64Error ErrorOf(const KernelCase& kernel_case, int64_t max_rows,
                     core::ComputePool& pool);

}  // namespace attention::bench

#endif  // BENCH_FLOAT64_ERROR_H_
