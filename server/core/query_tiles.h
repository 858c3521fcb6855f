// How query rows are cut into tiles.
#ifndef SERVER_CORE_QUERY_TILES_H_
#define SERVER_CORE_QUERY_TILES_H_

#include <algorithm>
#include <cstdint>

namespace attention::core {

// Rows of one query tile. Depends on the lengths alone, never on batch, threads
// or load, so that the bits of a row cannot either. 96 rows are whole register
// tiles of every OpenBLAS kernel (6, 8, 12, 16, 24 rows); long key sequences
// get fewer rows so that a tile of scores stays within a few MiB.
constexpr int64_t QueryTileRows(int64_t query_len, int64_t kv_len) {
  constexpr int64_t kRows = 96;
  constexpr int64_t kRowsOverLongKeys = 24;
  constexpr int64_t kLongKeys = 16384;
  const int64_t rows = kv_len > kLongKeys ? kRowsOverLongKeys : kRows;
  return std::min(rows, query_len);
}

// Number of tiles of `tile` rows (or columns) that cover `size`.
constexpr int64_t TileCount(int64_t size, int64_t tile) {
  return size == 0 ? 0 : (size + tile - 1) / tile;
}

}  // namespace attention::core

#endif  // SERVER_CORE_QUERY_TILES_H_
