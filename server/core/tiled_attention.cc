#include "server/core/tiled_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "server/core/blas.h"
#include "server/core/cost.h"
#include "server/core/dropout.h"
#include "server/core/online_softmax.h"
#include "server/core/whole_row_attention.h"

namespace attention::core {
namespace {

// Stacked rows and keys of a tile: a tile of scores, the rows of query and
// output it belongs to, and the key and value rows it meets stay within a
// second-level cache of 1 MiB at head_dim 64, and OpenBLAS is near its full
// speed on products of these shapes.
constexpr int64_t kStackedRows = 256;
constexpr int64_t kKeys = 512;

// One tile at work. Stacked row r is query row first_row + r / group_size of
// head kv_head * group_size + r % group_size.
template <typename T>
class Tile {
 public:
  Tile(const AttentionProblem<T>& problem, int64_t batch, int64_t kv_head,
       int64_t first_row, int64_t rows, Workspace& workspace)
      : problem_(problem),
        batch_(batch),
        kv_head_(kv_head),
        first_row_(first_row),
        rows_(rows * problem.group_size),
        query_(workspace.Allocate<T>(rows_ * problem.head_dim)),
        output_(workspace.Allocate<T>(rows_ * problem.value_dim)),
        scores_(workspace.Allocate<T>(rows_ * PaddedColumns(kKeys))),
        states_(workspace.Allocate<RowState<T>>(rows_)),
        visible_(workspace.Allocate<KeyRange>(rows_)) {}

  // False if a number on the way leaves the range of T.
  bool Compute() {
    PackQuery();
    std::fill_n(output_, rows_ * problem_.value_dim, T{0});
    std::fill_n(states_, rows_,
                RowState<T>{-std::numeric_limits<T>::infinity(), 0, false});
    const KeyRange keys =
        problem_.Visible(batch_, first_row_, rows_ / problem_.group_size);
    for (int64_t begin = keys.begin; begin < keys.end; begin += kKeys) {
      if (!AddKeys({begin, std::min(begin + kKeys, keys.end)})) return false;
    }
    return Finish();
  }

 private:
  int64_t Row(int64_t stacked) const {
    return first_row_ + stacked / problem_.group_size;
  }
  int64_t Head(int64_t stacked) const {
    return kv_head_ * problem_.group_size + stacked % problem_.group_size;
  }

  void PackQuery() {
    for (int64_t r = 0; r < rows_; ++r) {
      std::copy_n(problem_.inputs.query.Row(batch_, Head(r), Row(r)),
                  problem_.head_dim, query_ + r * problem_.head_dim);
    }
  }

  // Folds the keys of one tile into states and output.
  bool AddKeys(KeyRange keys) {
    const int64_t count = keys.size();
    const int64_t stride = PaddedColumns(count);
    const auto& key = problem_.inputs.key;
    const auto& value = problem_.inputs.value;
    Gemm(Transpose::kNo, Transpose::kYes, rows_, count, problem_.head_dim,
         problem_.softmax_scale, query_, problem_.head_dim,
         key.Row(batch_, kv_head_, keys.begin), key.stride[kRow], T{0}, scores_,
         stride);
    bool prepared = false;
    for (int64_t r = 0; r < rows_; ++r) {
      KeyRange& visible = visible_[r];
      visible = problem_.Visible(batch_, Row(r), 1);
      visible.begin = std::clamp(visible.begin - keys.begin, int64_t{0}, count);
      visible.end = std::clamp(visible.end - keys.begin, int64_t{0}, count);
      const RowOptions<T> options = OptionsOf(r, keys.begin + visible.begin);
      if (!options.any() || visible.size() <= 0) continue;
      prepared = true;
      if (!PrepareRow(options, visible.size(),
                      scores_ + r * stride + visible.begin, states_[r].live)) {
        return false;
      }
    }
    if (!OnlineSoftmax(rows_, count, prepared, scores_, stride, visible_,
                       states_, output_, problem_.value_dim)) {
      return false;
    }
    if (problem_.options.dropout) {
      for (int64_t r = 0; r < rows_; ++r) {
        DropRow(*problem_.options.dropout, batch_, Head(r), Row(r), keys.begin,
                count, scores_ + r * stride);
      }
    }
    // Adds to the zeros of Compute: OpenBLAS's own way of clearing is slower.
    Gemm(Transpose::kNo, Transpose::kNo, rows_, problem_.value_dim, count, T{1},
         scores_, stride, value.Row(batch_, kv_head_, keys.begin),
         value.stride[kRow], T{1}, output_, problem_.value_dim);
    return true;
  }

  RowOptions<T> OptionsOf(int64_t stacked, int64_t first_key) const {
    RowOptions<T> options;
    if (problem_.options.softcap) {
      options.softcap = static_cast<T>(*problem_.options.softcap);
    }
    if (const auto& mask = problem_.inputs.attend_mask) {
      options.attend_mask =
          &mask.At(batch_, Head(stacked), Row(stacked), first_key);
      options.attend_mask_stride = mask.stride[kColumn];
    }
    if (const auto& bias = problem_.inputs.bias) {
      options.bias = &bias.At(batch_, Head(stacked), Row(stacked), first_key);
      options.bias_stride = bias.stride[kColumn];
    }
    return options;
  }

  // Divides by the sums and writes what was asked for.
  bool Finish() {
    const auto& outputs = problem_.outputs;
    for (int64_t r = 0; r < rows_; ++r) {
      const RowState<T>& state = states_[r];
      // Attended, yet every biased score fell to -inf.
      if (state.live && !std::isfinite(state.max)) return false;
      const T divisor = state.live ? static_cast<T>(state.sum) : T{1};
      if (!Normalize(divisor, problem_.value_dim,
                     output_ + r * problem_.value_dim,
                     outputs.output.Row(batch_, Head(r), Row(r)))) {
        return false;
      }
      if (outputs.lse) {
        // -inf + log(0) = -inf for a dead row; finite wherever max is.
        outputs.lse.At(batch_, Head(r), Row(r), 0) = static_cast<T>(
            static_cast<double>(state.max) + std::log(state.sum));
      }
    }
    return true;
  }

  const AttentionProblem<T>& problem_;
  const int64_t batch_;
  const int64_t kv_head_;
  const int64_t first_row_;
  const int64_t rows_;         // stacked
  T* const query_;             // [rows_, head_dim]
  T* const output_;            // [rows_, value_dim]
  T* const scores_;            // [rows_, padded keys of a tile]
  RowState<T>* const states_;  // [rows_]
  KeyRange* const visible_;    // [rows_], columns of the present tile
};

}  // namespace

int64_t TiledQueryRows(int64_t query_len, int64_t group_size) {
  return std::min(query_len, std::max<int64_t>(1, kStackedRows / group_size));
}

template <typename T>
absl::Status TiledAttention(const AttentionProblem<T>& problem, int64_t batch,
                            int64_t kv_head, int64_t first_row, int64_t rows,
                            Workspace& workspace) {
  if (Tile<T>(problem, batch, kv_head, first_row, rows, workspace).Compute()) {
    return absl::OkStatus();
  }
  for (int64_t head = kv_head * problem.group_size;
       head < (kv_head + 1) * problem.group_size; ++head) {
    workspace.Reset();
    absl::Status status =
        WholeRowAttention(problem, batch, head, first_row, rows, workspace);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

template <typename T>
int64_t TiledWorkspaceBytes(int64_t query_len, int64_t group_size,
                            int64_t head_dim, int64_t value_dim) {
  const int64_t rows =
      SaturatingMultiply(TiledQueryRows(query_len, group_size), group_size);
  const int64_t elements =
      SaturatingAdd(SaturatingAdd(head_dim, value_dim), PaddedColumns(kKeys));
  return SaturatingMultiply(
      rows, SaturatingAdd(SaturatingMultiply(elements, int64_t{sizeof(T)}),
                          int64_t{sizeof(RowState<T>) + sizeof(KeyRange)}));
}

template absl::Status TiledAttention<float>(const AttentionProblem<float>&,
                                            int64_t, int64_t, int64_t, int64_t,
                                            Workspace&);
template absl::Status TiledAttention<double>(const AttentionProblem<double>&,
                                             int64_t, int64_t, int64_t, int64_t,
                                             Workspace&);
template int64_t TiledWorkspaceBytes<float>(int64_t, int64_t, int64_t, int64_t);
template int64_t TiledWorkspaceBytes<double>(int64_t, int64_t, int64_t,
                                             int64_t);

}  // namespace attention::core
