// Softcap and softmax of the reference; points 3, 5 and 6 of the derivation in
// reference_attention.h.
#ifndef TESTS_REFERENCE_REFERENCE_SOFTMAX_H_
#define TESTS_REFERENCE_REFERENCE_SOFTMAX_H_

#include <cstdint>
#include <vector>

#include "tests/reference/bounded.h"

namespace attention::reference {

// softcap * tanh(score / softcap).
Bounded Softcap(Bounded score, long double softcap, const Precision& precision);

// Biased scores of one row, of which only the attended ones count.
struct Row {
  std::vector<Bounded> scores;
  std::vector<uint8_t> attended;
};

// 0 and -inf where nothing is attended.
struct SoftmaxOfRow {
  std::vector<Bounded> weights;
  Bounded lse;
};

// How the row is added up.
struct Folding {
  int64_t additions_in_t = 0;  // roundings to T within the sum, at most
  int64_t rescalings = 0;
};
inline constexpr Folding kWholeRow = {};
Folding InTiles(int64_t kv_len);

SoftmaxOfRow Softmax(const Row& row, const Folding& folding,
                     const Precision& precision);

}  // namespace attention::reference

#endif  // TESTS_REFERENCE_REFERENCE_SOFTMAX_H_
