#include "server/core/attention/whole_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/core/attention/dropout.h"
#include "server/core/attention/key_range.h"
#include "server/core/attention/softmax.h"
#include "server/core/attention/top_k.h"
#include "server/core/kernel/strip_kernel.h"

namespace attention::core {
namespace {

template <typename T>
constexpr const char* kTypeName = sizeof(T) == 4 ? "FLOAT32" : "FLOAT64";

// The memory of a strip: `rows` of its rows, for `columns` keys.
template <typename T>
struct StripArrays {
  template <typename Taker>
  StripArrays(int64_t strip_rows, int64_t rows, int64_t columns,
              int64_t widest_dim, bool top_k, Taker& taker)
      : attended(taker.template Take<uint8_t>(columns)),
        order(taker.template Take<int32_t>(top_k ? columns : 0)),
        packed(taker.template Take<T>(strip_rows, widest_dim)),
        pointers(taker.template Take<T*>(strip_rows)),
        query(taker.template Take<const T*>(strip_rows)),
        scores(taker.template Take<T>(rows, columns)),
        by_key(taker.template Take<T>(strip_rows, columns)) {}

  // Of one row at a time, an entry per key.
  uint8_t* const attended;
  int32_t* const order;  // for top_k only

  T* const packed;  // query, then output
  T** const pointers;
  const T** const query;
  T* const scores;
  // The scores, then the weights, key by key as strips are stored.
  T* const by_key;
};

// Rows of one head at work.
template <typename T>
class WholeRows {
 public:
  explicit WholeRows(const AttentionProblem<T>& problem)
      : problem_(problem),
        keep_every_score_(
            problem.outputs.matrix &&
            (problem.outputs.matrix_stage == Stage::kScores ||
             problem.outputs.matrix_stage == Stage::kSoftcapped)) {}

  absl::Status Compute(int64_t batch, int64_t head, int64_t first_row,
                       int64_t rows, Workspace& workspace) const {
    const int64_t strip_rows = StripRows<T>();
    for (int64_t row = first_row; row < first_row + rows; row += strip_rows) {
      workspace.Reset();
      absl::Status status =
          ComputeStrip(batch, head, row,
                       std::min(strip_rows, first_row + rows - row), workspace);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  // Where a row is: indices for outputs, and the keys its scores cover.
  struct Place {
    int64_t batch;
    int64_t head;
    int64_t row;
    KeyRange keys;  // scores[0] belongs to keys.begin
  };

  // At most StripRows rows.
  absl::Status ComputeStrip(int64_t batch, int64_t head, int64_t first_row,
                            int64_t rows, Workspace& workspace) const {
    const int64_t strip_rows = StripRows<T>();
    const KeyRange keys = keep_every_score_
                              ? KeyRange{0, problem_.ValidKvLen(batch)}
                              : problem_.Visible(batch, first_row, rows);
    const int64_t columns = keys.size();
    const auto arrays = workspace.Take<StripArrays<T>>(
        strip_rows, rows, columns,
        std::max(problem_.head_dim, problem_.value_dim), WantsTopK());
    T* const packed = arrays.packed;
    T** const pointers = arrays.pointers;
    T* const scores = arrays.scores;
    T* const by_key = arrays.by_key;
    const int64_t kv_head = head / problem_.group_size();
    const ConstTensor4<T>& key = problem_.inputs.key;
    const ConstTensor4<T>& value = problem_.inputs.value;
    // With no key to see, key and value may have no memory to point into.
    const bool any = columns > 0;

    PackQuery(batch, head, first_row, rows, arrays);
    MultiplyStrip<Read::kRows>(
        any ? key.Row(batch, kv_head, keys.begin) : nullptr, key.stride[kRow],
        columns, problem_.head_dim, packed, problem_.softmax_scale, by_key);
    // The rows of the strip; lanes it has left repeat the last one.
    for (int64_t lane = 0; lane < strip_rows; ++lane) {
      pointers[lane] = scores + std::min(lane, rows - 1) * columns;
    }
    UnpackStrip(by_key, columns, rows, pointers);
    for (int64_t i = 0; i < rows; ++i) {
      const Place place{batch, head, first_row + i, keys};
      absl::Status status = FinishRow(place, arrays, scores + i * columns);
      if (!status.ok()) return status;
    }
    PackStrip<T>(pointers, columns, by_key);
    MultiplyStrip<Read::kColumns>(
        any ? value.Row(batch, kv_head, keys.begin) : nullptr,
        value.stride[kRow], problem_.value_dim, columns, by_key, T{1}, packed);
    for (int64_t i = 0; i < rows; ++i) {
      pointers[i] = problem_.outputs.output.Row(batch, head, first_row + i);
    }
    UnpackStrip(packed, problem_.value_dim, rows, pointers);
    return CheckOutput(batch, head, first_row, rows);
  }

  bool WantsTopK() const {
    return static_cast<bool>(problem_.outputs.top_k_weights);
  }

  void PackQuery(int64_t batch, int64_t head, int64_t first_row, int64_t rows,
                 const StripArrays<T>& arrays) const {
    for (int64_t lane = 0; lane < StripRows<T>(); ++lane) {
      arrays.query[lane] = problem_.inputs.query.Row(
          batch, head, first_row + std::min(lane, rows - 1));
    }
    PackStrip(arrays.query, problem_.head_dim, arrays.packed);
  }

  // Turns a row of raw scores into the weights that value is multiplied by, and
  // writes what was asked for on the way.
  absl::Status FinishRow(const Place& place, const StripArrays<T>& arrays,
                         T* scores) const {
    const int64_t count = place.keys.size();
    uint8_t* attended = arrays.attended;
    MarkAttended(place, attended);
    const int64_t bad = keep_every_score_
                            ? FirstNonFinite(scores, count)
                            : FirstNonFinite(scores, attended, count);
    if (bad != kNowhere) return ScoreOverflow("scores", place, bad);
    Show(Stage::kScores, place, scores);
    if (problem_.options.softcap) {
      Softcap(static_cast<T>(*problem_.options.softcap), count, scores);
    }
    Show(Stage::kSoftcapped, place, scores);
    AddBias(place, attended, scores);
    Show(Stage::kBiased, place, scores);
    const SoftmaxResult softmax = Softmax(attended, count, scores);
    if (!softmax.finite) return LseOverflow(place);
    if (problem_.outputs.lse) {
      problem_.outputs.lse.At(place.batch, place.head, place.row, 0) =
          static_cast<T>(softmax.lse);
    }
    if (problem_.options.dropout) {
      DropRow(*problem_.options.dropout, place.batch, place.head, place.row,
              place.keys.begin, count, scores);
    }
    Show(Stage::kAttentionWeights, place, scores);
    if (problem_.outputs.top_k_weights) {
      TopK(scores, attended, count, place.keys.begin,
           problem_.outputs.top_k_weights.shape[kColumn], arrays.order,
           problem_.outputs.top_k_weights.Row(place.batch, place.head,
                                              place.row),
           problem_.outputs.top_k_indices.Row(place.batch, place.head,
                                              place.row));
    }
    return absl::OkStatus();
  }

  // attended[j] = 1 where position, attend_mask and bias all allow the key.
  void MarkAttended(const Place& place, uint8_t* attended) const {
    const KeyRange visible = problem_.Visible(place.batch, place.row, 1);
    for (int64_t j = place.keys.begin; j < place.keys.end; ++j) {
      const int64_t at = j - place.keys.begin;
      bool attend = visible.begin <= j && j < visible.end;
      if (attend && problem_.inputs.attend_mask) {
        attend = problem_.inputs.attend_mask.At(place.batch, place.head,
                                                place.row, j) != 0;
      }
      if (attend && problem_.inputs.bias) {
        attend =
            problem_.inputs.bias.At(place.batch, place.head, place.row, j) !=
            -std::numeric_limits<T>::infinity();
      }
      attended[at] = attend;
    }
  }

  void AddBias(const Place& place, const uint8_t* attended, T* scores) const {
    for (int64_t j = place.keys.begin; j < place.keys.end; ++j) {
      const int64_t at = j - place.keys.begin;
      if (!attended[at]) {
        scores[at] = -std::numeric_limits<T>::infinity();
      } else if (problem_.inputs.bias) {
        scores[at] +=
            problem_.inputs.bias.At(place.batch, place.head, place.row, j);
      }
    }
  }

  // Copies a row to the attention matrix if this is the stage that was asked
  // for; keys outside place.keys are excluded.
  void Show(Stage stage, const Place& place, const T* row) const {
    if (!problem_.outputs.matrix || problem_.outputs.matrix_stage != stage) {
      return;
    }
    const bool weights = stage == Stage::kAttentionWeights;
    const int64_t count = place.keys.size();
    if (problem_.outputs.mean_over_heads) {
      T* sums = problem_.outputs.matrix.Row(place.batch, 0, place.row) +
                place.keys.begin;
      for (int64_t j = 0; j < count; ++j) sums[j] += row[j];
      return;
    }
    T* shown = problem_.outputs.matrix.Row(place.batch, place.head, place.row);
    const T excluded = weights ? T{0} : -std::numeric_limits<T>::infinity();
    std::fill(shown, shown + place.keys.begin, excluded);
    std::copy(row, row + count, shown + place.keys.begin);
    std::fill(shown + place.keys.end, shown + problem_.kv_len, excluded);
  }

  absl::Status CheckOutput(int64_t batch, int64_t head, int64_t first_row,
                           int64_t rows) const {
    for (int64_t row = first_row; row < first_row + rows; ++row) {
      const int64_t bad =
          FirstNonFinite(problem_.outputs.output.Row(batch, head, row),
                         problem_.outputs.output.shape[kColumn]);
      if (bad != kNowhere) {
        return FieldError(
            "value",
            absl::StrCat("overflows ", kTypeName<T>, " in output[batch ", batch,
                         ", head ", head, ", row ", row, ", column ", bad,
                         "]; scale value down or send FLOAT64"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ScoreOverflow(const char* stage, const Place& place,
                             int64_t at) const {
    return FieldError(
        "query",
        absl::StrCat("times key overflows ", kTypeName<T>, " in ", stage,
                     "[batch ", place.batch, ", head ", place.head, ", row ",
                     place.row, ", key ", place.keys.begin + at,
                     "]; scale query or key down or send FLOAT64"));
  }

  absl::Status LseOverflow(const Place& place) const {
    return FieldError(
        problem_.inputs.bias ? "bias" : "query",
        absl::StrCat("makes the biased scores overflow ", kTypeName<T>,
                     ": lse[batch ", place.batch, ", head ", place.head,
                     ", row ", place.row,
                     "] is not finite; scale it down, exclude with -inf or "
                     "attend_mask, or send FLOAT64"));
  }

  const AttentionProblem<T>& problem_;
  const bool keep_every_score_;
};

}  // namespace

template <typename T>
absl::Status WholeRowAttention(const AttentionProblem<T>& problem,
                               int64_t batch, int64_t head, int64_t first_row,
                               int64_t rows, Workspace& workspace) {
  return WholeRows<T>(problem).Compute(batch, head, first_row, rows, workspace);
}

template <typename T>
int64_t WholeRowWorkspaceBytes(const AttentionShape& shape, bool top_k) {
  const int64_t strip_rows = StripRows<T>();
  return BytesOf<StripArrays<T>>(
      strip_rows, std::min(shape.query_len, strip_rows), shape.kv_len,
      std::max(shape.head_dim, shape.value_dim), top_k);
}

template int64_t WholeRowWorkspaceBytes<float>(const AttentionShape&, bool);
template int64_t WholeRowWorkspaceBytes<double>(const AttentionShape&, bool);
template absl::Status WholeRowAttention<float>(const AttentionProblem<float>&,
                                               int64_t, int64_t, int64_t,
                                               int64_t, Workspace&);
template absl::Status WholeRowAttention<double>(const AttentionProblem<double>&,
                                                int64_t, int64_t, int64_t,
                                                int64_t, Workspace&);

}  // namespace attention::core
