#include "server/core/key_range.h"

#include <algorithm>

namespace attention::core {

std::vector<int64_t> ValidKvLengths(const AttentionOptions& options,
                                    int64_t batch, int64_t kv_len) {
  if (!options.key_lengths.empty()) return options.key_lengths;
  std::vector<int64_t> all(static_cast<size_t>(batch), kv_len);
  return all;
}

std::vector<int64_t> QueryOffsets(
    const AttentionOptions& options, int64_t query_len,
    const std::vector<int64_t>& valid_kv_lengths) {
  if (!options.query_offsets.empty()) return options.query_offsets;
  std::vector<int64_t> offsets(valid_kv_lengths.size(), 0);
  if (options.alignment == Alignment::kBottomRight) {
    for (size_t item = 0; item < offsets.size(); ++item) {
      offsets[item] = valid_kv_lengths[item] - query_len;
    }
  }
  return offsets;
}

KeyRange VisibleKeys(const AttentionOptions& options, int64_t position,
                     int64_t valid_kv_len) {
  return VisibleKeys(options, position, 1, valid_kv_len);
}

KeyRange VisibleKeys(const AttentionOptions& options, int64_t position,
                     int64_t rows, int64_t valid_kv_len) {
  const int64_t last = position + rows - 1;
  int64_t begin = 0;
  int64_t end = valid_kv_len;
  if (options.causal) end = std::min(end, last + 1);
  if (options.window_right) {
    end = std::min(end, last + *options.window_right + 1);
  }
  if (options.window_left) {
    begin = std::max(begin, position - *options.window_left);
  }
  return begin < end ? KeyRange{begin, end} : KeyRange{};
}

}  // namespace attention::core
