// How a length is cut into tiles.
#ifndef SERVER_CORE_TILE_COUNT_H_
#define SERVER_CORE_TILE_COUNT_H_

#include <cstdint>

namespace attention::core {

// Number of tiles of `tile` rows (or columns) that cover `size`.
constexpr int64_t TileCount(int64_t size, int64_t tile) {
  return size == 0 ? 0 : (size + tile - 1) / tile;
}

}  // namespace attention::core

#endif  // SERVER_CORE_TILE_COUNT_H_
