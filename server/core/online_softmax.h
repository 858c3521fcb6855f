// The softmax of a tile of scores, vectorised, as one step of a longer row.
#ifndef SERVER_CORE_ONLINE_SOFTMAX_H_
#define SERVER_CORE_ONLINE_SOFTMAX_H_

#include <cstdint>

#include "server/core/key_range.h"

namespace attention::core {

// A row of scores starts at a multiple of this many elements, and has room up
// to the next one: the widest vector there is, whatever T.
inline constexpr int64_t kScoreAlignment = 64;

constexpr int64_t PaddedColumns(int64_t columns) {
  return (columns + kScoreAlignment - 1) / kScoreAlignment * kScoreAlignment;
}

// What the scores of a row so far amount to: output is the sum of
// exp(score - max) * value, sum that of exp(score - max).
template <typename T>
struct RowState {
  T max;  // -inf before the first attended score
  double sum;
  bool live;  // anything attended
};

// What PrepareRow does to a row before its softmax.
template <typename T>
struct RowOptions {
  T softcap = 0;                         // 0: none
  const uint8_t* attend_mask = nullptr;  // or null
  int64_t attend_mask_stride = 0;        // 1 or 0
  const T* bias = nullptr;               // or null
  int64_t bias_stride = 0;               // 1 or 0

  bool any() const {
    return softcap != 0 || attend_mask != nullptr || bias != nullptr;
  }
};

// Applies softcap, adds the bias, and puts -inf where excluded, to `count`
// scores. Returns whether every score was finite; sets `live` if any position
// is attended.
template <typename T>
bool PrepareRow(const RowOptions<T>& options, int64_t count, T* scores,
                bool& live);

// Turns rows of scores into exp(score - max) and moves each row's state on;
// output rows, of which value_dim elements are in use, are rescaled to the new
// max. Only visible[row] (columns of the tile) counts, what lies outside
// becomes 0. `prepared` says that -inf means excluded.
//
// Returns false, leaving everything undefined, if a visible score is NaN or
// infinite, other than the -inf of a prepared row.
//
// Agrees with real arithmetic within 2 roundoffs for each exp (1 ulp) and 1 for
// each rescaling, relative.
// Source: Milakov and Gimelshein 2018, "Online normalizer calculation for
// softmax", algorithm 3; Dao et al. 2022 for the output.
template <typename T>
bool OnlineSoftmax(int64_t rows, int64_t columns, bool prepared, T* scores,
                   int64_t scores_stride, const KeyRange* visible,
                   RowState<T>* states, T* output, int64_t value_dim);

// output = sums / divisor; returns whether every quotient is finite.
template <typename T>
bool Normalize(T divisor, int64_t count, const T* sums, T* output);

}  // namespace attention::core

#endif  // SERVER_CORE_ONLINE_SOFTMAX_H_
