#include "tests/reference/compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <sstream>

namespace attention::reference {
namespace {

std::string ShapeText(const Shape& shape) {
  std::ostringstream text;
  text << "[" << shape[0] << ", " << shape[1] << ", " << shape[2] << ", "
       << shape[3] << "]";
  return text.str();
}

std::string IndexText(const Shape& shape, int64_t index) {
  Shape position{};
  for (size_t axis = shape.size(); axis-- > 0;) {
    position[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return ShapeText(position);
}

void Fail(Comparison& comparison, const std::string& message) {
  if (comparison.ok) comparison.message = message;
  comparison.ok = false;
  ++comparison.failed_elements;
}

template <typename T, typename U>
bool SameShape(const std::string& name, const Tensor<T>& actual,
               const Tensor<U>& expected, Comparison& comparison) {
  const auto count = static_cast<size_t>(ElementCount(expected.shape));
  if (actual.shape == expected.shape && actual.elements.size() == count &&
      expected.elements.size() == count) {
    return true;
  }
  std::ostringstream message;
  message << name << " has shape " << ShapeText(actual.shape) << " and "
          << actual.elements.size() << " elements, expected "
          << ShapeText(expected.shape) << " and " << expected.elements.size();
  Fail(comparison, message.str());
  return false;
}

// Judges one element; returns whether it is right.
bool CompareElement(double actual, const Bounded& expected,
                    Comparison& comparison) {
  ++comparison.elements;
  if (std::isinf(expected.value)) {
    return static_cast<long double>(actual) == expected.value;
  }
  const long double error = std::fabs(actual - expected.value);
  if (error > 0) {
    comparison.worst_ratio = std::max(
        comparison.worst_ratio, static_cast<double>(error / expected.error));
  }
  if (static_cast<double>(error) > comparison.worst_error) {
    comparison.worst_error = static_cast<double>(error);
    comparison.bound_at_worst_error = static_cast<double>(expected.error);
  }
  // Written so that a NaN anywhere is a failure.
  return error <= expected.error;
}

std::string ElementText(double actual, const Bounded& expected) {
  std::ostringstream text;
  text.precision(17);
  text << "is " << actual << ", expected " << expected.value << " within "
       << expected.error << ", off by " << std::fabs(actual - expected.value);
  return text.str();
}

uint64_t Bits(double value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// The attended keys of a row, as candidates for its largest weights.
struct Candidates {
  std::vector<long double> least;  // weights less their bounds, descending
  std::vector<long double> most;   // weights plus their bounds, descending
};

Candidates CandidatesOf(const Answer& expected, int64_t item, int64_t head,
                        int64_t row) {
  Candidates candidates;
  for (int64_t key = 0; key < expected.attended.shape[3]; ++key) {
    if (!expected.attended.At(item, head, row, key)) continue;
    const Bounded weight = expected.attention_weights.At(item, head, row, key);
    candidates.least.push_back(weight.value - weight.error);
    candidates.most.push_back(weight.value + weight.error);
  }
  std::sort(candidates.least.rbegin(), candidates.least.rend());
  std::sort(candidates.most.rbegin(), candidates.most.rend());
  return candidates;
}

// One row of a top-k answer against the reference.
class TopKRow {
 public:
  TopKRow(const Tensor<double>& weights, const Tensor<double>& indices,
          const Answer& expected, int64_t item, int64_t head, int64_t row)
      : weights_(weights),
        indices_(indices),
        expected_(expected),
        item_(item),
        head_(head),
        row_(row),
        candidates_(CandidatesOf(expected, item, head, row)) {}

  // What is wrong with this slot; empty if nothing is.
  std::string Judge(int64_t slot, Comparison& comparison) {
    const double weight = weights_.At(item_, head_, row_, slot);
    const double index = indices_.At(item_, head_, row_, slot);
    if (slot >= static_cast<int64_t>(candidates_.most.size())) {
      return weight == 0 && !std::signbit(weight) && index == -1
                 ? ""
                 : "is beyond the attended keys, but not index -1, weight 0";
    }
    const auto key = static_cast<int64_t>(index);
    if (!(index >= 0 &&
          index < static_cast<double>(expected_.attended.shape[3]))) {
      return "has an index out of range";
    }
    if (!expected_.attended.At(item_, head_, row_, key)) {
      return "names an excluded key";
    }
    if (!seen_.insert(key).second) return "names a key for the second time";
    const Bounded bounded =
        expected_.attention_weights.At(item_, head_, row_, key);
    if (!CompareElement(weight, bounded, comparison)) {
      return ElementText(weight, bounded);
    }
    if (!(weight >= candidates_.least[static_cast<size_t>(slot)] &&
          weight <= candidates_.most[static_cast<size_t>(slot)])) {
      return "is not the largest weight left";
    }
    return slot == 0 ? "" : JudgeOrder(slot, weight, index);
  }

 private:
  std::string JudgeOrder(int64_t slot, double weight, double index) const {
    const double before = weights_.At(item_, head_, row_, slot - 1);
    if (weight > before) return "is above the slot before it";
    if (weight == before && index < indices_.At(item_, head_, row_, slot - 1)) {
      return "ties with a higher index that stands before it";
    }
    return "";
  }

  const Tensor<double>& weights_;
  const Tensor<double>& indices_;
  const Answer& expected_;
  const int64_t item_;
  const int64_t head_;
  const int64_t row_;
  const Candidates candidates_;
  std::set<int64_t> seen_;
};

}  // namespace

void Comparison::Merge(const Comparison& other) {
  if (ok) message = other.message;
  ok = ok && other.ok;
  elements += other.elements;
  failed_elements += other.failed_elements;
  worst_ratio = std::max(worst_ratio, other.worst_ratio);
  if (other.worst_error > worst_error) {
    worst_error = other.worst_error;
    bound_at_worst_error = other.bound_at_worst_error;
  }
}

Comparison Compare(const std::string& name, const Tensor<double>& actual,
                   const Tensor<Bounded>& expected) {
  Comparison comparison;
  if (!SameShape(name, actual, expected, comparison)) return comparison;
  for (size_t i = 0; i < actual.elements.size(); ++i) {
    if (CompareElement(actual.elements[i], expected.elements[i], comparison)) {
      continue;
    }
    Fail(comparison, name + IndexText(actual.shape, static_cast<int64_t>(i)) +
                         " " +
                         ElementText(actual.elements[i], expected.elements[i]));
  }
  return comparison;
}

Comparison CompareBits(const std::string& name, const Tensor<double>& actual,
                       const Tensor<double>& expected) {
  Comparison comparison;
  if (!SameShape(name, actual, expected, comparison)) return comparison;
  for (size_t i = 0; i < actual.elements.size(); ++i) {
    ++comparison.elements;
    if (Bits(actual.elements[i]) == Bits(expected.elements[i])) continue;
    Fail(comparison,
         name + IndexText(actual.shape, static_cast<int64_t>(i)) +
             " differs in its bits: " +
             ElementText(actual.elements[i], Exact(expected.elements[i])));
  }
  return comparison;
}

Comparison CompareTopK(const Tensor<double>& weights,
                       const Tensor<double>& indices, const Answer& expected) {
  Comparison comparison;
  const auto [batch, heads, rows, keys] = expected.attention_weights.shape;
  const int64_t slots = weights.shape[3];
  const Tensor<uint8_t> shape =
      MakeTensor<uint8_t>({batch, heads, rows, slots});
  if (!SameShape("top_k weights", weights, shape, comparison) ||
      !SameShape("top_k indices", indices, shape, comparison)) {
    return comparison;
  }
  for (int64_t item = 0; item < batch; ++item) {
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t row = 0; row < rows; ++row) {
        TopKRow judge(weights, indices, expected, item, head, row);
        for (int64_t slot = 0; slot < slots; ++slot) {
          const std::string wrong = judge.Judge(slot, comparison);
          if (wrong.empty()) continue;
          Fail(comparison,
               "top_k" + ShapeText({item, head, row, slot}) + " " + wrong);
        }
      }
    }
  }
  return comparison;
}

}  // namespace attention::reference
