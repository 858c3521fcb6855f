// Dropout on attention weights.
#ifndef SERVER_CORE_ATTENTION_DROPOUT_H_
#define SERVER_CORE_ATTENTION_DROPOUT_H_

#include <array>
#include <cstdint>

#include "server/core/attention/arguments.h"

namespace attention::core {

// Philox4x32-10: four random 32-bit words that depend on counter and key alone.
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key);

// Drops and scales keys [first_key, first_key + count) of one row of attention
// weights, in place.
//
// The weight of key j in query row i of head h of batch item b is dropped when
// r < probability * 2^32, where r is word j % 4 of Philox with counter
// (j / 4, i, h, 0) and key seed + b (mod 2^64), low word first. What is kept is
// multiplied by 1 / (1 - probability), computed in double and rounded to T.
template <typename T>
void DropRow(const Dropout& dropout, int64_t batch, int64_t head, int64_t row,
             int64_t first_key, int64_t count, T* weights);

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_DROPOUT_H_
