#include "server/core/attention/key_range.h"

#include <algorithm>

namespace attention::core {

int64_t ValidKvLen(const AttentionOptions& options, int64_t item,
                   int64_t kv_len) {
  return options.key_lengths.empty()
             ? kv_len
             : options.key_lengths[static_cast<size_t>(item)];
}

int64_t QueryOffset(const AttentionOptions& options, int64_t item,
                    int64_t query_len, int64_t valid_kv_len) {
  if (!options.query_offsets.empty()) {
    return options.query_offsets[static_cast<size_t>(item)];
  }
  return options.alignment == Alignment::kBottomRight ? valid_kv_len - query_len
                                                      : 0;
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
