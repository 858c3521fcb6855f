#include "server/core/attention/cost.h"

#include <algorithm>

#include "server/core/attention/tiles.h"
#include "server/core/kernel/strip_kernel.h"
#include "server/core/saturating.h"

namespace attention::core {

int64_t AttentionMultiplyAdds(const AttentionShape& shape) {
  int64_t count = SaturatingMultiply(shape.batch, shape.num_heads);
  count = SaturatingMultiply(count, shape.query_len);
  count = SaturatingMultiply(count, shape.kv_len);
  return SaturatingMultiply(count,
                            SaturatingAdd(shape.head_dim, shape.value_dim));
}

template <typename T>
int64_t AttentionWorkspaceBytes(const AttentionShape& shape) {
  const int64_t tiled = TiledWorkspaceBytes<T>(
      shape.query_len, shape.group_size(), shape.head_dim, shape.value_dim);
  // Of a strip: scores and weights, by row and by key, and query or output; of
  // one row the attended flags, and an order for top_k.
  const int64_t lanes = StripRows<T>();
  const int64_t whole_rows = SaturatingAdd(
      SaturatingMultiply(shape.kv_len,
                         2 * lanes * int64_t{sizeof(T)} +
                             int64_t{sizeof(uint8_t) + sizeof(int32_t)}),
      SaturatingMultiply(
          SaturatingAdd(std::max(shape.head_dim, shape.value_dim), 4),
          lanes * int64_t{sizeof(T)}));
  return std::max(tiled, whole_rows);
}

template int64_t AttentionWorkspaceBytes<float>(const AttentionShape&);
template int64_t AttentionWorkspaceBytes<double>(const AttentionShape&);

}  // namespace attention::core
