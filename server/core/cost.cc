#include "server/core/cost.h"

#include <algorithm>

#include "server/core/query_tiles.h"
#include "server/core/tiled_attention.h"

namespace attention::core {

int64_t AttentionMultiplyAdds(const AttentionShape& shape) {
  int64_t count = SaturatingMultiply(shape.batch, shape.num_heads);
  count = SaturatingMultiply(count, shape.query_len);
  count = SaturatingMultiply(count, shape.kv_len);
  return SaturatingMultiply(count,
                            SaturatingAdd(shape.head_dim, shape.value_dim));
}

int64_t ProjectionMultiplyAdds(int64_t rows, int64_t in, int64_t out) {
  return SaturatingMultiply(SaturatingMultiply(rows, in), out);
}

template <typename T>
int64_t AttentionWorkspaceBytes(const AttentionShape& shape) {
  const int64_t tiled = TiledWorkspaceBytes<T>(
      shape.query_len, shape.num_heads / shape.num_kv_heads, shape.head_dim,
      shape.value_dim);
  const int64_t rows = QueryTileRows(shape.query_len, shape.kv_len);
  // Scores of a tile; of one row the attended flags, and an order for top_k.
  const int64_t whole_rows = SaturatingMultiply(
      shape.kv_len, SaturatingAdd(SaturatingMultiply(rows, int64_t{sizeof(T)}),
                                  int64_t{sizeof(uint8_t) + sizeof(int32_t)}));
  return std::max(tiled, whole_rows);
}

template int64_t AttentionWorkspaceBytes<float>(const AttentionShape&);
template int64_t AttentionWorkspaceBytes<double>(const AttentionShape&);

}  // namespace attention::core
