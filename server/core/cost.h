// What a computation needs, known from its shapes before anything is allocated.
#ifndef SERVER_CORE_COST_H_
#define SERVER_CORE_COST_H_

#include <cstdint>
#include <limits>

namespace attention::core {

// Integer arithmetic that stays at the largest int64 instead of overflowing.
// REQUIRES: arguments >= 0.
constexpr int64_t SaturatingMultiply(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product)
             ? std::numeric_limits<int64_t>::max()
             : product;
}
constexpr int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum)
             ? std::numeric_limits<int64_t>::max()
             : sum;
}

struct AttentionShape {
  int64_t batch = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t query_len = 0;
  int64_t kv_len = 0;
  int64_t head_dim = 0;
  int64_t value_dim = 0;
};

// Multiply-adds of scores and output, every position counted; saturating.
int64_t AttentionMultiplyAdds(const AttentionShape& shape);

// Multiply-adds of one projection over `rows` rows; saturating.
int64_t ProjectionMultiplyAdds(int64_t rows, int64_t in, int64_t out);

// Bytes of Workspace one task of AttentionSteps<T> takes; saturating.
// REQUIRES: shape.num_kv_heads >= 1.
template <typename T>
int64_t AttentionWorkspaceBytes(const AttentionShape& shape);

}  // namespace attention::core

#endif  // SERVER_CORE_COST_H_
