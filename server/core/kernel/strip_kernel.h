// The inner loops of attention, vectorised over rows.
#ifndef SERVER_CORE_KERNEL_STRIP_KERNEL_H_
#define SERVER_CORE_KERNEL_STRIP_KERNEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/core/kernel/strip.h"

namespace attention::core {

// The instruction set in use, such as "AVX3" (Highway's name of AVX-512).
const char* StripTarget();

// For tests and benchmarks: the instruction sets that this processor can run,
// best first, and a way to use another than the best. False, and nothing has
// changed, if it cannot run it. REQUIRES: nothing else here runs meanwhile.
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

#endif  // SERVER_CORE_KERNEL_STRIP_KERNEL_H_
