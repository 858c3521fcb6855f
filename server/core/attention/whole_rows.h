// Attention with a whole row of scores in memory at a time.
#ifndef SERVER_CORE_ATTENTION_WHOLE_ROWS_H_
#define SERVER_CORE_ATTENTION_WHOLE_ROWS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/core/attention/arguments.h"
#include "server/core/attention/problem.h"
#include "server/core/pool/compute_pool.h"

namespace attention::core {

// Computes rows [first_row, first_row + rows) of one head: output and whatever
// else the problem's outputs ask for. The attention weights are normalised
// before they meet value, so nothing overflows on the way that would fit in the
// end; what does overflow is named. The way for who asks to see the attention
// matrix or top_k, and for tiles whose numbers TiledAttention cannot hold.
//
// With mean_over_heads the attention weights are added to the matrix.
template <typename T>
absl::Status WholeRowAttention(const AttentionProblem<T>& problem,
                               int64_t batch, int64_t head, int64_t first_row,
                               int64_t rows, Workspace& workspace);

// Bytes of Workspace WholeRowAttention takes; saturating.
template <typename T>
int64_t WholeRowWorkspaceBytes(const AttentionShape& shape, bool top_k);

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_WHOLE_ROWS_H_
