// The inner loops of attention, vectorised over rows.
//
// A strip is StripRows rows side by side, one per lane of two vectors.
// All that belongs to a strip is stored column by column: element (i, r) of a
// matrix with one column per row of the strip is at [i * StripRows + r]. So
// every step of the softmax is the same instruction for all rows; key, value
// and weights of projections are read in place one number at a time; and what a
// row gets depends neither on its lane nor on its neighbours.
#ifndef SERVER_CORE_STRIP_KERNEL_H_
#define SERVER_CORE_STRIP_KERNEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace attention::core {

// The instruction set in use, such as "AVX3" (Highway's name of AVX-512).
const char* StripTarget();

// For tests and benchmarks: the instruction sets that this processor can run,
// best first, and a way to use another than the best ("" is that again). False
// if it cannot run it. REQUIRES: nothing else here runs meanwhile.
std::vector<std::string> StripTargets();
bool UseStripTarget(absl::string_view target);

// Rows of a strip: two vectors of the widest instruction set of this processor.
template <typename T>
int64_t StripRows();

// strip[c * StripRows + r] = rows[r][c]. `rows` has StripRows pointers; a strip
// that is not full repeats one of its rows.
template <typename T>
void PackStrip(const T* const* rows, int64_t columns, T* strip);

// rows[r][c] = strip[c * StripRows + r] for the first `count` rows.
template <typename T>
void UnpackStrip(const T* strip, int64_t columns, int64_t count,
                 T* const* rows);

// How a product reads the matrix beside the strip.
enum class Read {
  kRows,     // element (m, k) is at [m * stride + k], such as key
  kColumns,  // at [k * stride + m], such as value
};

// product[m * StripRows + r] = scale * sum over k of matrix(m, k) *
// strip[k * StripRows + r], for m < results and k < depth. Strip and product
// are 64-byte aligned; the matrix is not read if depth is 0.
template <Read kRead, typename T>
void MultiplyStrip(const T* matrix, int64_t stride, int64_t results,
                   int64_t depth, const T* strip, T scale, T* product);

// product += the same of a matrix that is read by rows, with scale 1. For long
// sums that are made part by part: adds the terms of each result up in one sum,
// which reads the strip less often than the two that scores take.
template <typename T>
void AddStripProduct(const T* matrix, int64_t stride, int64_t results,
                     int64_t depth, const T* strip, T* product);

// The same of a matrix whose columns, elements [k * stride + m], were packed
// before: what many strips are multiplied by is brought together once. `packed`
// takes results * depth numbers, in the order they are needed.
template <typename T>
void PackColumns(const T* matrix, int64_t stride, int64_t results,
                 int64_t depth, T* packed);
template <typename T>
void AddPackedProduct(const T* packed, int64_t results, int64_t depth,
                      const T* strip, T* product);

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

// Folds the keys of a block into a strip: scores = scale * key * query,
// softcapped, added to; the maximum moves on and what was there shrinks with
// it; weights = kWeightScale * exp(scores - max), 0 where excluded, within 1
// ulp; output += value^T * weights.
//
// Returns false, leaving the strip undefined, if the score of an attended key
// is not finite. Source: Milakov and Gimelshein 2018, "Online normalizer
// calculation for softmax", algorithm 3; Dao et al. 2022 for the output.
//
// REQUIRES: count even, or the last block of the row: keys are summed in pairs.
template <typename T>
bool FoldBlock(const KeyBlock<T>& block, const Strip<T>& strip);

// rows[r][c] = output / sum for the first `count` rows of a strip, zeros for a
// row that attended to nothing. Returns whether every quotient is finite.
// Overwrites strip.output.
template <typename T>
bool FinishStrip(const Strip<T>& strip, int64_t value_dim, int64_t count,
                 T* const* rows);

}  // namespace attention::core

#endif  // SERVER_CORE_STRIP_KERNEL_H_
