// Which keys a query row may see by its position.
#ifndef SERVER_CORE_ATTENTION_KEY_RANGE_H_
#define SERVER_CORE_ATTENTION_KEY_RANGE_H_

#include <cstdint>

#include "server/core/attention/arguments.h"

namespace attention::core {

// Keys begin <= j < end. Empty ranges are {0, 0}.
struct KeyRange {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
};

// Keys of a batch item that may be read: its key_lengths, or kv_len.
int64_t ValidKvLen(const AttentionOptions& options, int64_t item,
                   int64_t kv_len);

// Where row 0 of a batch item stands: its query_offsets, or what alignment says
// (kUnspecified counts as kTopLeft: it is only accepted where that is the
// same).
int64_t QueryOffset(const AttentionOptions& options, int64_t item,
                    int64_t query_len, int64_t valid_kv_len);

// Keys that causal and window let the row at `position` see, below
// valid_kv_len.
KeyRange VisibleKeys(const AttentionOptions& options, int64_t position,
                     int64_t valid_kv_len);

// The keys any of `rows` rows may see, of which the first stands at `position`.
KeyRange VisibleKeys(const AttentionOptions& options, int64_t position,
                     int64_t rows, int64_t valid_kv_len);

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_KEY_RANGE_H_
