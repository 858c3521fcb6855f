#include "server/core/attention/top_k.h"

#include <algorithm>

namespace attention::core {

template <typename T>
void TopK(const T* weights, const uint8_t* attended, int64_t count,
          int64_t first_key, int64_t k, int32_t* order, T* top_weights,
          int32_t* top_indices) {
  int32_t* end = order;
  for (int64_t j = 0; j < count; ++j) {
    if (attended[j]) *end++ = static_cast<int32_t>(j);
  }
  const int64_t found = std::min<int64_t>(k, end - order);
  std::partial_sort(order, order + found, end, [weights](int32_t a, int32_t b) {
    return weights[a] != weights[b] ? weights[a] > weights[b] : a < b;
  });
  for (int64_t slot = 0; slot < k; ++slot) {
    const bool used = slot < found;
    top_weights[slot] = used ? weights[order[slot]] : T{0};
    top_indices[slot] =
        used ? static_cast<int32_t>(first_key + order[slot]) : -1;
  }
}

template void TopK<float>(const float*, const uint8_t*, int64_t, int64_t,
                          int64_t, int32_t*, float*, int32_t*);
template void TopK<double>(const double*, const uint8_t*, int64_t, int64_t,
                           int64_t, int32_t*, double*, int32_t*);

}  // namespace attention::core
