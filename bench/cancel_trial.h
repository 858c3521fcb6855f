// How long a computation goes on after it is no longer wanted.
#ifndef BENCH_CANCEL_TRIAL_H_
#define BENCH_CANCEL_TRIAL_H_

#include <chrono>

#include "bench/kernel_case.h"
#include "server/core/pool/compute_pool.h"

namespace attention::bench {

enum class Ending { kCancel, kDeadline };

// Starts the case on `pool` and ends it after `delay`, by Cancel or by a
// deadline; milliseconds from then until no task of it runs any more. Negative
// if it was done before.
double MillisecondsAfter(Ending ending, std::chrono::microseconds delay,
                         const KernelCase& kernel_case,
                         core::ComputePool& pool);

}  // namespace attention::bench

#endif  // BENCH_CANCEL_TRIAL_H_
