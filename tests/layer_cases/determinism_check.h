// Whether the bits of a request depend on anything but the request.
#ifndef TESTS_LAYER_CASES_DETERMINISM_CHECK_H_
#define TESTS_LAYER_CASES_DETERMINISM_CHECK_H_

#include <cstdint>
#include <functional>
#include <string>

#include "tests/layer_cases/run_core.h"

namespace attention::core {

// What is checked: something that answers a case on a pool, or on the calling
// thread if there is none. Must be thread-safe.
using Compute =
    std::function<CoreAnswer(const LayerCase& layer_case, ComputePool* pool)>;

struct DeterminismReport {
  int64_t requests = 0;
  int64_t answers = 0;   // compared with the same request alone
  int64_t elements = 0;  // of those answers
  int64_t differing_elements = 0;
  std::string first_difference;  // empty if there is none

  void Merge(const DeterminismReport& other);
};

// Where a request is computed.
struct DeterminismSetting {
  int threads = 0;    // of the pool; 0: the calling thread
  bool load = false;  // other requests in the same pool and in other threads
};

// Answers `requests` random requests of every dtype and with all options alone
// on the calling thread; then alone, and as an item of a batch at every
// position, in `setting`; and counts the elements whose bits differ. The seeds
// of the requests start at `first_seed`.
DeterminismReport CheckDeterminism(const Compute& compute, int64_t requests,
                                   uint64_t first_seed,
                                   const DeterminismSetting& setting);

// The same in each setting of the promise: the calling thread, and pools of 1,
// 2 and 4 threads, idle and under load.
DeterminismReport CheckDeterminism(const Compute& compute, int64_t requests,
                                   uint64_t first_seed);

// Deliberate mistakes, to see the check fail: the core's attention weights
// times value, summed in tiles of keys whose size depends on the number of
// threads, on the size of the batch, or on what else is being computed.
Compute ThreadDependentTile();
Compute BatchDependentTile();
Compute LoadDependentTile();

}  // namespace attention::core

#endif  // TESTS_LAYER_CASES_DETERMINISM_CHECK_H_
