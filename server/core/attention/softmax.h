// One row on its way from scores to attention weights.
#ifndef SERVER_CORE_ATTENTION_SOFTMAX_H_
#define SERVER_CORE_ATTENTION_SOFTMAX_H_

#include <cstdint>

namespace attention::core {

// Where a row of keys first fails a test; -1 if it does not.
inline constexpr int64_t kNowhere = -1;

// scores = softcap * tanh(scores / softcap).
// Source: Gemma Team 2024, "Gemma 2", eq. 1.
template <typename T>
void Softcap(T softcap, int64_t count, T* scores);

// First index whose score is NaN or infinite.
template <typename T>
int64_t FirstNonFinite(const T* scores, int64_t count);

// The same, among attended positions only.
template <typename T>
int64_t FirstNonFinite(const T* scores, const uint8_t* attended, int64_t count);

struct SoftmaxResult {
  bool live = false;   // anything attended
  bool finite = true;  // lse is finite; true for a dead row
  double lse = 0;      // -inf for a dead row
};

// weights = exp(scores - max) / sum over attended positions, 0 elsewhere, in
// place. The sum is in double. A dead row becomes zeros. After finite = false
// the row is undefined: a score of a live row exceeds the range of T.
//
// Agrees with real arithmetic within 4 roundoffs of T relative, beyond what the
// error of the scores themselves implies: the subtraction, exp (below 1 ulp in
// glibc), the division, and the rounding of the sum.
template <typename T>
SoftmaxResult Softmax(const uint8_t* attended, int64_t count, T* scores);

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_SOFTMAX_H_
