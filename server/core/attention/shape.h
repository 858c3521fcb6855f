// The lengths of a computation.
#ifndef SERVER_CORE_ATTENTION_SHAPE_H_
#define SERVER_CORE_ATTENTION_SHAPE_H_

#include <array>
#include <cstdint>

namespace attention::core {

struct AttentionShape {
  int64_t batch = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t query_len = 0;
  int64_t kv_len = 0;
  int64_t head_dim = 0;
  int64_t value_dim = 0;

  // Query heads that share a key/value head. REQUIRES: num_kv_heads >= 1.
  int64_t group_size() const { return num_heads / num_kv_heads; }

  // Of the tensors, by batch, head, row and column.
  std::array<int64_t, 4> query() const {
    return {batch, num_heads, query_len, head_dim};
  }
  std::array<int64_t, 4> key() const {
    return {batch, num_kv_heads, kv_len, head_dim};
  }
  std::array<int64_t, 4> value() const {
    return {batch, num_kv_heads, kv_len, value_dim};
  }
  std::array<int64_t, 4> output() const {
    return {batch, num_heads, query_len, value_dim};
  }
};

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_SHAPE_H_
