// Rows side by side, and keys to fold into them.
//
// A strip is StripRows rows side by side, one per lane of two vectors.
// All that belongs to a strip is stored column by column: element (i, r) of a
// matrix with one column per row of the strip is at [i * StripRows + r]. So
// every step of the softmax is the same instruction for all rows; key, value
// and weights of projections are read in place one number at a time; and what a
// row gets depends neither on its lane nor on its neighbours.
#ifndef SERVER_CORE_KERNEL_STRIP_H_
#define SERVER_CORE_KERNEL_STRIP_H_

#include <cstdint>

namespace attention::core {

// How a product reads the matrix beside the strip.
enum class Read {
  kRows,     // element (m, k) is at [m * stride + k], such as key
  kColumns,  // at [k * stride + m], such as value
};

// What the weights of a strip are multiplied by until FinishStrip. The smallest
// weight that float can hold is then a normal number; products with subnormal
// ones are slow on many processors.
template <typename T>
inline constexpr T kWeightScale = sizeof(T) == 4 ? T{0x1p24} : T{1};

// What the keys so far amount to, for each row of a strip: with
// weight = kWeightScale * exp(score - max), output is the sum of weight *
// value, sum that of weight. At first every max is -inf and every sum 0, and
// output need not be set. 64-byte aligned.
template <typename T>
struct Strip {
  const T* query = nullptr;  // [head_dim, StripRows], packed
  T* output = nullptr;       // [value_dim, StripRows]
  T* max = nullptr;          // [StripRows], of the keys attended to
  double* sum = nullptr;     // [StripRows]
};

// Keys that are folded into a strip at once.
template <typename T>
struct KeyBlock {
  const T* key = nullptr;    // [count, head_dim], rows key_stride apart
  const T* value = nullptr;  // [count, value_dim], rows value_stride apart
  int64_t key_stride = 0;
  int64_t value_stride = 0;
  int64_t count = 0;
  int64_t head_dim = 0;
  int64_t value_dim = 0;

  T scale = 1;
  T softcap = 0;  // 0: none

  // Row r sees keys visible_begin[r] <= j < visible_end[r] of the block;
  // integers from 0 to count.
  const T* visible_begin = nullptr;  // [StripRows]
  const T* visible_end = nullptr;    // [StripRows]

  // Added to the scores, -inf to exclude: [count, StripRows], or null.
  const T* added = nullptr;
  // Factors of the weights after softmax: [count, StripRows], or null.
  const T* kept = nullptr;

  T* scores = nullptr;  // [count, StripRows], scratch, 64-byte aligned
};

}  // namespace attention::core

#endif  // SERVER_CORE_KERNEL_STRIP_H_
