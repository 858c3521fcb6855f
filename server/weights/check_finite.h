// Whether every element of a weight set is a number to compute with.
#ifndef SERVER_WEIGHTS_CHECK_FINITE_H_
#define SERVER_WEIGHTS_CHECK_FINITE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/weights/contents.h"

namespace attention::weights {

// FieldError naming the first NaN or Inf, such as "weights.key.weight.data at
// index [0, 1] is NaN". REQUIRES: CheckShapes(contents).ok().
absl::Status CheckFinite(const WeightSetContents& contents);

// The same of a run of one tensor: `bytes`, whole elements, from element
// `first` of a tensor of `shape` on. `path` is "key.weight".
absl::Status CheckFinite(absl::string_view path,
                         const std::vector<int64_t>& shape, DType dtype,
                         int64_t first, absl::string_view bytes);

// FAILED_PRECONDITION about "weight_set", naming the element, if a finite
// FLOAT64 element is infinite as a float. REQUIRES: CheckFinite(contents).ok().
absl::Status CheckFitsFloat(const WeightSetContents& contents);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_CHECK_FINITE_H_
