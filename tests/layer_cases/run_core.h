// The core's answer to a LayerCase.
#ifndef TESTS_LAYER_CASES_RUN_CORE_H_
#define TESTS_LAYER_CASES_RUN_CORE_H_

#include "absl/status/status.h"
#include "server/core/pool/compute_pool.h"
#include "tests/layer_cases/layer_case.h"

namespace attention::core {

// Every tensor that was asked for; the others have no elements. The elements
// are exactly those the core wrote, widened to double.
struct CoreAnswer {
  absl::Status status;
  reference::Input output;  // rounded to the dtype of the case
  reference::Input matrix;
  reference::Input top_k_weights;
  reference::Input top_k_indices;
  reference::Input lse;
};

// Validates the case and computes it, on `pool`, or on the calling thread if
// there is none. Thread-safe.
CoreAnswer RunCore(const LayerCase& layer_case, ComputePool* pool = nullptr);

}  // namespace attention::core

#endif  // TESTS_LAYER_CASES_RUN_CORE_H_
