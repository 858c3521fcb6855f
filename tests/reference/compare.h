// Judges a computed tensor by the reference and its bound.
#ifndef TESTS_REFERENCE_COMPARE_H_
#define TESTS_REFERENCE_COMPARE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/reference/reference_attention.h"

namespace attention::reference {

// What was compared, and what was wrong with it.
struct Comparison {
  bool ok = true;
  std::string message;  // the first element that is wrong, and how; empty if ok

  int64_t elements = 0;
  int64_t failed_elements = 0;  // 1 if the shapes differ
  // The largest |actual - expected| / bound, finite expected elements only.
  double worst_ratio = 0;
  // The largest |actual - expected|, and the bound of that element.
  double worst_error = 0;
  double bound_at_worst_error = 0;

  // Joins another comparison to this one; the first message stays.
  void Merge(const Comparison& other);
};

// Fails if the shapes differ; at a NaN on either side; where the expected
// element is infinite and the actual one is not the same infinity; and where
// |actual - expected| exceeds the bound, by however little. `name` begins the
// message.
Comparison Compare(const std::string& name, const Tensor<double>& actual,
                   const Tensor<Bounded>& expected);

// Whether two tensors have the same shape and the same bits; -0 and 0 differ,
// and so do two NaNs with different payloads.
Comparison CompareBits(const std::string& name, const Tensor<double>& actual,
                       const Tensor<double>& expected);

// Judges top-k against all attention weights of each row. With |w^_j - w_j| <=
// e_j, the k-th largest of the computed weights lies between the k-th largest
// of w_j - e_j and the k-th largest of w_j + e_j, over the attended keys; and
// each slot's value must be within the bound of the key its index names. Fails
// also if an index repeats, names an excluded key, or a slot beyond the
// attended keys is anything but index -1 and weight 0; if values ascend, or
// equal ones do not come in ascending order of index.
Comparison CompareTopK(const Tensor<double>& weights,
                       const Tensor<double>& indices, const Answer& expected);

}  // namespace attention::reference

#endif  // TESTS_REFERENCE_COMPARE_H_
