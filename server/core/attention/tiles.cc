#include "server/core/attention/tiles.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "server/core/attention/dropout.h"
#include "server/core/attention/whole_rows.h"
#include "server/core/kernel/strip_kernel.h"
#include "server/core/saturating.h"

namespace attention::core {
namespace {

// Stacked rows of a tile, in strips. The strips take turns with each block of
// keys, which stays in the second-level cache meanwhile.
constexpr int64_t kStackedRows = 128;
// Keys of a block: its scores, a strip wide, stay close to the processor, and
// the maximum of a row is moved on seldom.
constexpr int64_t kKeys = 512;
// A strip's part of a block begins at a multiple of this, since keys are summed
// in pairs.
constexpr int64_t kKeyStep = 8;

template <typename T>
int64_t StripCount(int64_t stacked_rows) {
  return (stacked_rows + StripRows<T>() - 1) / StripRows<T>();
}

// What decides how much memory a tile takes.
struct TileSizes {
  int64_t strips;
  int64_t strip_rows;
  int64_t block_keys;  // of a block, at most
  int64_t head_dim;
  int64_t value_dim;
  bool added;
  bool dropout;
};

// The memory of a tile.
template <typename T>
struct TileArrays {
  template <typename Taker>
  TileArrays(const TileSizes& sizes, Taker& taker)
      : query(taker.template Take<T>(Lanes(sizes), sizes.head_dim)),
        output(taker.template Take<T>(Lanes(sizes), sizes.value_dim)),
        max(taker.template Take<T>(Lanes(sizes))),
        sum(taker.template Take<double>(Lanes(sizes))),
        scores(taker.template Take<T>(sizes.block_keys, sizes.strip_rows)),
        added(taker.template Take<T>(sizes.added ? sizes.block_keys : 0,
                                     sizes.strip_rows)),
        kept(taker.template Take<T>(sizes.dropout ? sizes.block_keys : 0,
                                    sizes.strip_rows)),
        visible_begin(taker.template Take<T>(sizes.strip_rows)),
        visible_end(taker.template Take<T>(sizes.strip_rows)),
        row_of_block(
            taker.template Take<T>(sizes.dropout ? sizes.block_keys : 0)),
        inputs(taker.template Take<const T*>(sizes.strip_rows)),
        outputs(taker.template Take<T*>(sizes.strip_rows)) {}

  static int64_t Lanes(const TileSizes& sizes) {
    return SaturatingMultiply(sizes.strips, sizes.strip_rows);
  }

  T* const query;          // of all strips
  T* const output;         // of all strips
  T* const max;            // of all strips
  double* const sum;       // of all strips
  T* const scores;         // [block_keys, lanes]
  T* const added;          // [block_keys, lanes], if any is needed
  T* const kept;           // [block_keys, lanes], if any is needed
  T* const visible_begin;  // [lanes]
  T* const visible_end;    // [lanes]
  T* const row_of_block;   // [block_keys], if any is needed
  const T** const inputs;  // [lanes]
  T** const outputs;       // [lanes]
};

// One tile at work. Stacked row r is query row first_row + r / group_size of
// head kv_head * group_size + r % group_size. The last strip repeats the last
// row in the lanes it has left.
template <typename T>
class Tile {
 public:
  Tile(const AttentionProblem<T>& problem, int64_t batch, int64_t kv_head,
       int64_t first_row, int64_t rows, Workspace& workspace)
      : problem_(problem),
        batch_(batch),
        kv_head_(kv_head),
        first_row_(first_row),
        rows_(rows * problem.group_size()),
        strip_rows_(StripRows<T>()),
        strips_(StripCount<T>(rows_)),
        arrays_(workspace.Take<TileArrays<T>>(
            TileSizes{strips_, strip_rows_, std::min(kKeys, problem.kv_len),
                      problem.head_dim, problem.value_dim, HasAdded(),
                      problem.options.dropout.has_value()})) {}

  // False if a number on the way leaves the range of T.
  bool Compute() {
    Start();
    const KeyRange keys =
        problem_.Visible(batch_, first_row_, rows_ / problem_.group_size());
    // Blocks begin at the same keys whatever the tile, so that the bits of a
    // row do not depend on its neighbours.
    for (int64_t begin = keys.begin / kKeys * kKeys; begin < keys.end;
         begin += kKeys) {
      for (int64_t strip = 0; strip < strips_; ++strip) {
        if (!AddKeys(strip, {begin, begin + kKeys})) return false;
      }
    }
    return Finish();
  }

 private:
  bool HasAdded() const {
    return problem_.inputs.attend_mask || problem_.inputs.bias;
  }

  // The stacked row in a lane.
  int64_t Stacked(int64_t strip, int64_t lane) const {
    return std::min(strip * strip_rows_ + lane, rows_ - 1);
  }
  int64_t Row(int64_t stacked) const {
    return first_row_ + Narrow(stacked) / Narrow(problem_.group_size());
  }
  int64_t Head(int64_t stacked) const {
    return kv_head_ * problem_.group_size() +
           Narrow(stacked) % Narrow(problem_.group_size());
  }
  // No more stacked rows than kStackedRows or a group has. Each is divided, and
  // some processors divide 32 bits several times as fast as 64.
  static uint32_t Narrow(int64_t number) {
    return static_cast<uint32_t>(number);
  }

  Strip<T> StripAt(int64_t strip) const {
    const int64_t first = strip * strip_rows_;
    return {arrays_.query + first * problem_.head_dim,
            arrays_.output + first * problem_.value_dim, arrays_.max + first,
            arrays_.sum + first};
  }

  void Start() {
    for (int64_t strip = 0; strip < strips_; ++strip) {
      for (int64_t lane = 0; lane < strip_rows_; ++lane) {
        const int64_t row = Stacked(strip, lane);
        arrays_.inputs[lane] =
            problem_.inputs.query.Row(batch_, Head(row), Row(row));
      }
      PackStrip(arrays_.inputs, problem_.head_dim,
                arrays_.query + strip * strip_rows_ * problem_.head_dim);
    }
    const int64_t lanes = strips_ * strip_rows_;
    std::fill_n(arrays_.max, lanes, -std::numeric_limits<T>::infinity());
    std::fill_n(arrays_.sum, lanes, 0.0);
  }

  // Folds what a strip sees of a block of keys into it.
  bool AddKeys(int64_t strip, KeyRange block) {
    const int64_t first = Row(Stacked(strip, 0));
    const int64_t last = Row(Stacked(strip, strip_rows_ - 1));
    KeyRange keys = problem_.Visible(batch_, first, last - first + 1);
    keys.begin = std::max(keys.begin / kKeyStep * kKeyStep, block.begin);
    keys.end = std::min(keys.end, block.end);
    if (keys.size() <= 0) return true;

    const auto& key = problem_.inputs.key;
    const auto& value = problem_.inputs.value;
    KeyBlock<T> part;
    part.key = key.Row(batch_, kv_head_, keys.begin);
    part.value = value.Row(batch_, kv_head_, keys.begin);
    part.key_stride = key.stride[kRow];
    part.value_stride = value.stride[kRow];
    part.count = keys.size();
    part.head_dim = problem_.head_dim;
    part.value_dim = problem_.value_dim;
    part.scale = problem_.softmax_scale;
    part.softcap = static_cast<T>(problem_.options.softcap.value_or(0));
    part.scores = arrays_.scores;
    FindVisible(strip, keys, part);
    if (HasAdded()) {
      FindAdded(strip, keys);
      part.added = arrays_.added;
    }
    if (problem_.options.dropout) {
      FindKept(strip, keys);
      part.kept = arrays_.kept;
    }
    return FoldBlock(part, StripAt(strip));
  }

  void FindVisible(int64_t strip, KeyRange keys, KeyBlock<T>& part) {
    part.visible_begin = arrays_.visible_begin;
    part.visible_end = arrays_.visible_end;
    const auto visible_in = [&](int64_t lane) {
      const KeyRange visible =
          problem_.Visible(batch_, Row(Stacked(strip, lane)), 1);
      const int64_t begin =
          std::clamp(visible.begin - keys.begin, int64_t{0}, part.count);
      return KeyRange{begin,
                      std::clamp(visible.end - keys.begin, begin, part.count)};
    };
    // Both ends move one way from row to row, so what the first and the last
    // see alike, all do. Rows that see nothing may lie on both sides of rows
    // that see something, so nothing is not compared.
    const KeyRange first = visible_in(0);
    const KeyRange last = visible_in(strip_rows_ - 1);
    const bool alike =
        first.size() > 0 && first.begin == last.begin && first.end == last.end;
    for (int64_t lane = 0; lane < strip_rows_; ++lane) {
      const KeyRange visible = alike ? first : visible_in(lane);
      arrays_.visible_begin[lane] = static_cast<T>(visible.begin);
      arrays_.visible_end[lane] = static_cast<T>(visible.end);
    }
  }

  // Bias, and -inf where attend_mask is false.
  void FindAdded(int64_t strip, KeyRange keys) {
    const auto& mask = problem_.inputs.attend_mask;
    const auto& bias = problem_.inputs.bias;
    for (int64_t lane = 0; lane < strip_rows_; ++lane) {
      const int64_t row = Stacked(strip, lane);
      const T* const bias_row =
          bias ? &bias.At(batch_, Head(row), Row(row), keys.begin) : nullptr;
      const uint8_t* const mask_row =
          mask ? &mask.At(batch_, Head(row), Row(row), keys.begin) : nullptr;
      for (int64_t j = 0; j < keys.size(); ++j) {
        const bool excluded = mask && mask_row[j * mask.stride[kColumn]] == 0;
        const T biased = bias ? bias_row[j * bias.stride[kColumn]] : T{0};
        arrays_.added[j * strip_rows_ + lane] =
            excluded ? -std::numeric_limits<T>::infinity() : biased;
      }
    }
  }

  // What dropout multiplies each attention weight by.
  void FindKept(int64_t strip, KeyRange keys) {
    for (int64_t lane = 0; lane < strip_rows_; ++lane) {
      const int64_t row = Stacked(strip, lane);
      std::fill_n(arrays_.row_of_block, keys.size(), T{1});
      DropRow(*problem_.options.dropout, batch_, Head(row), Row(row),
              keys.begin, keys.size(), arrays_.row_of_block);
      for (int64_t j = 0; j < keys.size(); ++j) {
        arrays_.kept[j * strip_rows_ + lane] = arrays_.row_of_block[j];
      }
    }
  }

  // Divides by the sums and writes what was asked for.
  bool Finish() {
    const auto& outputs = problem_.outputs;
    for (int64_t strip = 0; strip < strips_; ++strip) {
      const Strip<T> state = StripAt(strip);
      const int64_t count = std::min(strip_rows_, rows_ - strip * strip_rows_);
      for (int64_t lane = 0; lane < count; ++lane) {
        const int64_t row = Stacked(strip, lane);
        arrays_.outputs[lane] = outputs.output.Row(batch_, Head(row), Row(row));
        if (outputs.lse) {
          // -inf + log(0) = -inf for a dead row; finite wherever max is.
          outputs.lse.At(batch_, Head(row), Row(row), 0) =
              static_cast<T>(static_cast<double>(state.max[lane]) +
                             std::log(state.sum[lane] / kWeightScale<T>));
        }
      }
      if (!FinishStrip(state, problem_.value_dim, count, arrays_.outputs)) {
        return false;
      }
    }
    return true;
  }

  const AttentionProblem<T>& problem_;
  const int64_t batch_;
  const int64_t kv_head_;
  const int64_t first_row_;
  const int64_t rows_;        // stacked
  const int64_t strip_rows_;  // lanes
  const int64_t strips_;
  const TileArrays<T> arrays_;
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
  for (int64_t head = kv_head * problem.group_size();
       head < (kv_head + 1) * problem.group_size(); ++head) {
    absl::Status status =
        WholeRowAttention(problem, batch, head, first_row, rows, workspace);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

template <typename T>
int64_t TiledWorkspaceBytes(const AttentionShape& shape, bool added,
                            bool dropout) {
  const int64_t stacked = SaturatingMultiply(
      TiledQueryRows(shape.query_len, shape.group_size()), shape.group_size());
  return BytesOf<TileArrays<T>>(TileSizes{
      StripCount<T>(stacked), StripRows<T>(), std::min(kKeys, shape.kv_len),
      shape.head_dim, shape.value_dim, added, dropout});
}

template absl::Status TiledAttention<float>(const AttentionProblem<float>&,
                                            int64_t, int64_t, int64_t, int64_t,
                                            Workspace&);
template absl::Status TiledAttention<double>(const AttentionProblem<double>&,
                                             int64_t, int64_t, int64_t, int64_t,
                                             Workspace&);
template int64_t TiledWorkspaceBytes<float>(const AttentionShape&, bool, bool);
template int64_t TiledWorkspaceBytes<double>(const AttentionShape&, bool, bool);

}  // namespace attention::core
