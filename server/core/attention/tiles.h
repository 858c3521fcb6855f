// Attention without a row of scores ever being whole in memory.
#ifndef SERVER_CORE_ATTENTION_TILES_H_
#define SERVER_CORE_ATTENTION_TILES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/core/attention/arguments.h"
#include "server/core/attention/problem.h"
#include "server/core/pool/compute_pool.h"

namespace attention::core {

// Query rows of one tile, for all the heads that share a key/value head.
// Depends on lengths and group size alone.
int64_t TiledQueryRows(int64_t query_len, int64_t group_size);

// Computes rows [first_row, first_row + rows) of every query head that shares
// kv_head: output and lse. Scores are made a tile of keys at a time and folded
// into the output at once; tiles no row may see are passed over. The heads are
// stacked into one product, so key and value are read once for all of them.
//
// A tile whose numbers leave the range of T on the way is given to
// WholeRowAttention, which can hold them or says what overflows.
// Source: Dao et al. 2022, "FlashAttention", algorithm 1.
//
// REQUIRES: neither matrix nor top_k is asked for.
template <typename T>
absl::Status TiledAttention(const AttentionProblem<T>& problem, int64_t batch,
                            int64_t kv_head, int64_t first_row, int64_t rows,
                            Workspace& workspace);

// Bytes of Workspace TiledAttention takes but where it leaves a tile to
// WholeRowAttention, which begins anew; saturating. `added`: there is a mask or
// a bias.
template <typename T>
int64_t TiledWorkspaceBytes(const AttentionShape& shape, bool added,
                            bool dropout);

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_TILES_H_
