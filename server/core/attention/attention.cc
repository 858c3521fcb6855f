#include "server/core/attention/attention.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "server/core/attention/problem.h"
#include "server/core/attention/tiles.h"
#include "server/core/attention/whole_rows.h"
#include "server/core/kernel/strip_kernel.h"
#include "server/core/tile_count.h"

namespace attention::core {
namespace {

// Applies `function` to rows [first_row, first_row + rows) of the mean matrix.
template <typename T, typename Function>
void TransformMean(const AttentionProblem<T>& problem, int64_t batch,
                   int64_t first_row, int64_t rows, Function function) {
  for (int64_t row = first_row; row < first_row + rows; ++row) {
    T* mean = problem.outputs.matrix.Row(batch, 0, row);
    std::transform(mean, mean + problem.kv_len, mean, function);
  }
}

// All heads one after the other, so that the order of the sum is fixed.
template <typename T>
absl::Status MeanOverHeads(const AttentionProblem<T>& problem, int64_t batch,
                           int64_t first_row, int64_t rows,
                           Workspace& workspace) {
  TransformMean(problem, batch, first_row, rows, [](T) { return T{0}; });
  for (int64_t head = 0; head < problem.num_heads; ++head) {
    absl::Status status =
        WholeRowAttention(problem, batch, head, first_row, rows, workspace);
    if (!status.ok()) return status;
  }
  const T heads = static_cast<T>(problem.num_heads);
  TransformMean(problem, batch, first_row, rows,
                [heads](T sum) { return sum / heads; });
  return absl::OkStatus();
}

}  // namespace

template <typename T>
Computation AttentionSteps(const AttentionInputs<T>& inputs,
                           const AttentionOptions& options,
                           const AttentionOutputs<T>& outputs) {
  const auto problem =
      std::make_shared<const AttentionProblem<T>>(inputs, options, outputs);
  const bool tiled = !outputs.matrix && !outputs.top_k_weights;
  const bool mean = outputs.matrix && outputs.mean_over_heads;
  const int64_t tile_rows =
      tiled ? TiledQueryRows(problem->query_len, problem->group_size())
            : std::min(problem->query_len, StripRows<T>());
  const int64_t tiles = TileCount(problem->query_len, tile_rows);
  const int64_t heads = tiled  ? problem->num_kv_heads
                        : mean ? 1
                               : problem->num_heads;
  Computation steps;
  steps.push_back(
      {problem->batch * heads * tiles, [=](int64_t task, Workspace& workspace) {
         // The tiles of a head follow each other, so that its keys and values
         // stay in the cache. Under a causal mask the last rows take longest:
         // they go first.
         const int64_t turn = task % tiles;
         const int64_t tile = problem->options.causal ? tiles - 1 - turn : turn;
         const int64_t head = task / tiles % heads;
         const int64_t batch = task / tiles / heads;
         const int64_t first_row = tile * tile_rows;
         const int64_t rows =
             std::min(tile_rows, problem->query_len - first_row);
         if (tiled) {
           return TiledAttention(*problem, batch, head, first_row, rows,
                                 workspace);
         }
         if (mean) {
           return MeanOverHeads(*problem, batch, first_row, rows, workspace);
         }
         return WholeRowAttention(*problem, batch, head, first_row, rows,
                                  workspace);
       }});
  return steps;
}

template <typename T>
absl::Status Attention(const AttentionInputs<T>& inputs,
                       const AttentionOptions& options,
                       const AttentionOutputs<T>& outputs) {
  absl::Status status = ValidateAttention(inputs, options, outputs);
  if (!status.ok()) return status;
  return RunInline(AttentionSteps(inputs, options, outputs));
}

template Computation AttentionSteps<float>(const AttentionInputs<float>&,
                                           const AttentionOptions&,
                                           const AttentionOutputs<float>&);
template Computation AttentionSteps<double>(const AttentionInputs<double>&,
                                            const AttentionOptions&,
                                            const AttentionOutputs<double>&);
template absl::Status Attention<float>(const AttentionInputs<float>&,
                                       const AttentionOptions&,
                                       const AttentionOutputs<float>&);
template absl::Status Attention<double>(const AttentionInputs<double>&,
                                        const AttentionOptions&,
                                        const AttentionOutputs<double>&);

}  // namespace attention::core
