// The largest attention weights of a row.
#ifndef SERVER_CORE_ATTENTION_TOP_K_H_
#define SERVER_CORE_ATTENTION_TOP_K_H_

#include <cstdint>

namespace attention::core {

// Writes the k largest of `weights` where `attended`, descending, ties to the
// lower index; slots beyond the attended ones get weight 0 and index -1.
// Indices count from first_key. `order` is scratch for `count` entries.
template <typename T>
void TopK(const T* weights, const uint8_t* attended, int64_t count,
          int64_t first_key, int64_t k, int32_t* order, T* top_weights,
          int32_t* top_indices);

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_TOP_K_H_
