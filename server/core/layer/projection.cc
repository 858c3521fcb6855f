#include "server/core/layer/projection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/all_finite.h"
#include "proto/field_error.h"
#include "server/core/attention/softmax.h"
#include "server/core/blas/blas.h"
#include "server/core/kernel/strip_kernel.h"
#include "server/core/saturating.h"
#include "server/core/tile_count.h"

namespace attention::core {
namespace {

// One task is a panel of rows of one batch item times a panel of columns: large
// enough for full speed, since each task packs what it reads anew, and small
// enough to share between threads and to notice a cancellation. Whole register
// tiles of every OpenBLAS kernel (4 to 48 rows or columns).
constexpr int64_t kPanelUnit = 48;
constexpr int64_t kMostPanelRows = 528;
// Of a product with one panel of rows, and with more.
constexpr int64_t kMostColumnsOfOne = 384;
constexpr int64_t kMostColumns = 768;

// Items of up to so many rows, but for one row, are always multiplied strip by
// strip.
constexpr int64_t kFewRows = 128;
// Rows of a panel that is multiplied strip by strip. The more rows there are,
// the wider their panels may be.
constexpr int64_t kStripPanelRows = 128;
int64_t StripPanelColumns(int64_t rows) {
  if (rows <= kFewRows) return kMostColumnsOfOne;
  return rows <= kMostPanelRows ? kMostColumns : 3 * kMostColumns;
}
// The strips of a panel take turns with the weights of so many columns, a part
// of their depth at a time: whole register tiles of every instruction set, few
// enough for the second-level cache, and a strip's part small enough for half
// of the first.
constexpr int64_t kColumnsAtOnce = 84;
constexpr int64_t kStripBytesAtOnce = 16384;

// Size of equal panels of at most `most`, in whole units.
int64_t PanelSize(int64_t size, int64_t most) {
  const int64_t panels = std::max<int64_t>(1, TileCount(size, most));
  return TileCount(TileCount(size, panels), kPanelUnit) * kPanelUnit;
}

// Whether a projection of so many rows is a product with strips: where OpenBLAS
// could not put each head in its place, and where few rows would share the
// weights it packs (docs/adr/0007-projections-in-strips.md).
template <typename T>
bool InStrips(int64_t rows, const Tensor4<T>& output) {
  const bool side_by_side =
      output.shape[kHead] == 1 || output.stride[kHead] == output.shape[kColumn];
  return !side_by_side || (rows > 1 && rows <= kFewRows);
}

// Where a panel is in the product.
struct Panel {
  int64_t batch;
  int64_t first_row;
  int64_t rows;
  int64_t first_column;
  int64_t columns;

  // Leaves what is before row `end`.
  void CutRows(int64_t end) { rows = std::min(rows, end - first_row); }

  // Leaves what is of columns `begin` to begin + count, and counts from there.
  void CutColumns(int64_t begin, int64_t count) {
    const int64_t end = std::min(first_column + columns - begin, count);
    first_column = std::max<int64_t>(0, first_column - begin);
    columns = end - first_column;
  }
};

// Inputs of a strip that are multiplied at once.
template <typename T>
int64_t DepthAtOnce(int64_t in) {
  return std::min(in, kStripBytesAtOnce / int64_t{sizeof(T)} / StripRows<T>());
}

// What a panel needs to be multiplied in strips.
template <typename T>
struct StripScratch {
  template <typename Taker>
  StripScratch(int64_t rows, int64_t in, Taker& taker)
      : width(StripRows<T>()),
        depth(DepthAtOnce<T>(in)),
        packed(taker.template Take<T>(TileCount(rows, width) * width, in)),
        product(taker.template Take<T>(TileCount(rows, width) * width,
                                       kColumnsAtOnce)),
        weights(taker.template Take<T>(depth, kColumnsAtOnce)),
        from(taker.template Take<const T*>(width)),
        to(taker.template Take<T*>(width)) {}

  const int64_t width;
  const int64_t depth;   // of what is multiplied at once
  T* const packed;       // [strips, in, width]
  T* const product;      // [strips, kColumnsAtOnce, width]
  T* const weights;      // [depth, kColumnsAtOnce]
  const T** const from;  // rows of one strip
  T** const to;
};

// What a panel of one row needs that OpenBLAS multiplies.
template <typename T>
struct RowScratch {
  template <typename Taker>
  RowScratch(int64_t columns, Taker& taker)
      : row(taker.template Take<T>(columns)) {}

  T* const row;
};

// A product of all items of a batch, cut into panels of these sizes at most.
struct Panels {
  int64_t batch;
  int64_t rows;
  int64_t columns;
  int64_t panel_rows;
  int64_t panel_columns;

  int64_t row_panels() const { return TileCount(rows, panel_rows); }
  int64_t column_panels() const { return TileCount(columns, panel_columns); }
  int64_t count() const { return batch * row_panels() * column_panels(); }

  // REQUIRES: number < count().
  Panel At(int64_t number) const {
    const int64_t across = std::max<int64_t>(1, column_panels());
    const int64_t down = std::max<int64_t>(1, row_panels());
    Panel panel{};
    panel.batch = number / across / down;
    panel.first_row = number / across % down * panel_rows;
    panel.rows = std::min(panel_rows, rows - panel.first_row);
    panel.first_column = number % across * panel_columns;
    panel.columns = std::min(panel_columns, columns - panel.first_column);
    return panel;
  }
};

// What a panel of a projection takes.
template <typename T>
struct PanelProjection : ProjectionOf<T> {
  using ProjectionOf<T>::projection;
  using ProjectionOf<T>::output;
  using ProjectionOf<T>::row_counts;
  using ProjectionOf<T>::name;

  ConstTensor4<T> input;

  bool in_out() const { return projection.layout == Layout::kInOut; }

  // Rows of an item to compute.
  int64_t Rows(int64_t batch) const {
    return row_counts.empty() ? input.shape[kRow]
                              : row_counts[static_cast<size_t>(batch)];
  }

  // By OpenBLAS. Some of its matrix-vector products give other bits where the
  // result lies otherwise in memory; one row always lies the same.
  absl::Status Multiply(const Panel& panel, Workspace& workspace) const {
    T* const to =
        output.Row(panel.batch, 0, panel.first_row) + panel.first_column;
    if (panel.rows > 1) return MultiplyInto(panel, to, output.stride[kRow]);
    T* const row = workspace.Take<RowScratch<T>>(panel.columns).row;
    absl::Status status = MultiplyInto(panel, row, panel.columns);
    std::copy_n(row, panel.columns, to);
    return status;
  }

  // Of rows that are packed.
  absl::Status MultiplyStrips(const Panel& panel,
                              const StripScratch<T>& scratch) const {
    for (int64_t column = 0; column < panel.columns; column += kColumnsAtOnce) {
      Panel part = panel;
      part.first_column += column;
      part.columns = std::min(kColumnsAtOnce, panel.columns - column);
      StartFromBias(part, scratch);
      for (int64_t k = 0; k < projection.in; k += scratch.depth) {
        AddProducts(part, k, std::min(scratch.depth, projection.in - k),
                    scratch);
      }
      absl::Status status = PutIntoHeads(part, scratch);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  // The weights of columns first_column and on.
  const T* Weights(const Panel& panel) const {
    return projection.weight +
           panel.first_column * (in_out() ? 1 : projection.in);
  }
  int64_t weight_stride() const {
    return in_out() ? projection.out : projection.in;
  }

  absl::Status MultiplyInto(const Panel& panel, T* product,
                            int64_t stride) const {
    const T* const bias = projection.bias;
    for (int64_t row = 0; bias != nullptr && row < panel.rows; ++row) {
      std::copy_n(bias + panel.first_column, panel.columns,
                  product + row * stride);
    }
    Gemm(Transpose::kNo, in_out() ? Transpose::kNo : Transpose::kYes,
         panel.rows, panel.columns, projection.in, T{1},
         input.Row(panel.batch, 0, panel.first_row), input.stride[kRow],
         Weights(panel), weight_stride(), bias != nullptr ? T{1} : T{0},
         product, stride);
    for (int64_t row = 0; row < panel.rows; ++row) {
      const int64_t bad = FirstNonFinite(product + row * stride, panel.columns);
      if (bad != kNowhere) return Overflow(panel, row, bad);
    }
    return absl::OkStatus();
  }

  // Every product of a strip with the columns becomes their bias.
  void StartFromBias(const Panel& panel, const StripScratch<T>& scratch) const {
    for (int64_t row = 0; row < panel.rows; row += scratch.width) {
      T* const product = scratch.product + row * kColumnsAtOnce;
      for (int64_t column = 0; column < panel.columns; ++column) {
        std::fill_n(product + column * scratch.width, scratch.width,
                    projection.bias != nullptr
                        ? projection.bias[panel.first_column + column]
                        : T{0});
      }
    }
  }

  // Adds what inputs first to first + depth give to the columns, of each strip.
  // Weights that lie apart are brought together first.
  void AddProducts(const Panel& panel, int64_t first, int64_t depth,
                   const StripScratch<T>& scratch) const {
    const T* const weights =
        Weights(panel) + first * (in_out() ? weight_stride() : 1);
    if (in_out()) {
      PackColumns(weights, weight_stride(), panel.columns, depth,
                  scratch.weights);
    }
    for (int64_t row = 0; row < panel.rows; row += scratch.width) {
      const T* const strip =
          scratch.packed + row * projection.in + first * scratch.width;
      T* const product = scratch.product + row * kColumnsAtOnce;
      if (in_out()) {
        AddPackedProduct(scratch.weights, panel.columns, depth, strip, product);
      } else {
        AddStripProduct(weights, weight_stride(), panel.columns, depth, strip,
                        product);
      }
    }
  }

  // Stores what the strips were multiplied to, each head in its place.
  absl::Status PutIntoHeads(const Panel& panel,
                            const StripScratch<T>& scratch) const {
    for (int64_t row = 0; row < panel.rows; row += scratch.width) {
      Panel strip = panel;
      strip.first_row += row;
      strip.rows = std::min(scratch.width, panel.rows - row);
      absl::Status status = PutStripIntoHeads(
          strip, scratch.product + row * kColumnsAtOnce, scratch);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status PutStripIntoHeads(const Panel& panel, const T* product,
                                 const StripScratch<T>& scratch) const {
    const int64_t width = scratch.width;
    const int64_t size = panel.columns * width;
    for (int64_t begin = 0; begin < size;) {
      const int64_t bad = FirstNonFinite(product + begin, size - begin);
      if (bad == kNowhere) break;
      const int64_t lane = (begin + bad) % width;
      // Beyond are rows that are not asked for.
      if (lane < panel.rows) {
        return Overflow(panel, lane, (begin + bad) / width);
      }
      begin += bad + 1;
    }
    const int64_t dim = output.shape[kColumn];
    for (int64_t done = 0; done < panel.columns;) {
      const int64_t head = (panel.first_column + done) / dim;
      const int64_t column = (panel.first_column + done) % dim;
      const int64_t count = std::min(dim - column, panel.columns - done);
      for (int64_t row = 0; row < panel.rows; ++row) {
        scratch.to[row] =
            output.Row(panel.batch, head, panel.first_row + row) + column;
      }
      UnpackStrip(product + done * width, count, panel.rows, scratch.to);
      done += count;
    }
    return absl::OkStatus();
  }

  absl::Status Overflow(const Panel& panel, int64_t row, int64_t column) const {
    return FieldError(
        name.substr(0, name.find(' ')),
        absl::StrCat("overflows ", sizeof(T) == 4 ? "FLOAT32" : "FLOAT64",
                     " in ", name, "[batch ", panel.batch, ", row ",
                     panel.first_row + row, ", column ",
                     panel.first_column + column,
                     "]; scale it or its weights down or send FLOAT64"));
  }
};

// Packs the rows of a panel. Lanes that the last strip has left repeat the last
// row.
template <typename T>
void PackRows(const ConstTensor4<T>& input, const Panel& panel,
              const StripScratch<T>& scratch) {
  const int64_t in = input.shape[kColumn];
  for (int64_t first = 0; first < panel.rows; first += scratch.width) {
    for (int64_t lane = 0; lane < scratch.width; ++lane) {
      scratch.from[lane] =
          input.Row(panel.batch, 0,
                    panel.first_row + std::min(first + lane, panel.rows - 1));
    }
    PackStrip(scratch.from, in, scratch.packed + first * in);
  }
}

// How OpenBLAS multiplies `rows` rows of each item to `out` columns.
Panels GemmPanels(int64_t batch, int64_t rows, int64_t out) {
  return {batch, rows, out, PanelSize(rows, kMostPanelRows),
          PanelSize(out,
                    rows <= kMostPanelRows ? kMostColumnsOfOne : kMostColumns)};
}

template <typename T>
Step GemmStep(PanelProjection<T> product) {
  const Panels panels =
      GemmPanels(product.input.shape[kBatch], product.input.shape[kRow],
                 product.projection.out);
  return {panels.count(), [panels, product = std::move(product)](
                              int64_t task, Workspace& workspace) {
            Panel panel = panels.At(task);
            panel.CutRows(product.Rows(panel.batch));
            return panel.rows > 0 ? product.Multiply(panel, workspace)
                                  : absl::OkStatus();
          }};
}

// The columns of all products, one after another, are cut into panels, so that
// what a panel reads is packed once for all of them.
template <typename T>
Step StripStep(std::vector<PanelProjection<T>> products) {
  const int64_t batch = products.front().input.shape[kBatch];
  const int64_t rows = products.front().input.shape[kRow];
  int64_t columns = 0;
  for (const auto& product : products) columns += product.projection.out;
  const Panels panels{batch, rows, columns, kStripPanelRows,
                      StripPanelColumns(rows)};
  return {panels.count(),
          [panels, products = std::move(products)](
              int64_t task, Workspace& workspace) -> absl::Status {
            Panel panel = panels.At(task);
            int64_t most_rows = 0;
            for (const PanelProjection<T>& product : products) {
              most_rows = std::max(most_rows, product.Rows(panel.batch));
            }
            panel.CutRows(most_rows);
            if (panel.rows <= 0) return absl::OkStatus();
            const auto& input = products.front().input;
            const auto scratch = workspace.Take<StripScratch<T>>(
                panel.rows, input.shape[kColumn]);
            PackRows(input, panel, scratch);
            int64_t first = 0;
            for (const PanelProjection<T>& product : products) {
              Panel part = panel;
              part.CutRows(product.Rows(panel.batch));
              part.CutColumns(first, product.projection.out);
              first += product.projection.out;
              if (part.rows <= 0 || part.columns <= 0) continue;
              absl::Status status = product.MultiplyStrips(part, scratch);
              if (!status.ok()) return status;
            }
            return absl::OkStatus();
          }};
}

}  // namespace

template <typename T>
Step ProjectionStep(ConstTensor4<T> input,
                    std::vector<ProjectionOf<T>> projections) {
  std::vector<Step> steps;
  std::vector<PanelProjection<T>> in_strips;
  for (ProjectionOf<T>& projection : projections) {
    PanelProjection<T> product{{std::move(projection)}, input};
    if (InStrips(input.shape[kRow], product.output)) {
      in_strips.push_back(std::move(product));
    } else {
      steps.push_back(GemmStep(std::move(product)));
    }
  }
  if (!in_strips.empty()) steps.push_back(StripStep(std::move(in_strips)));
  return Together(std::move(steps));
}

template <typename T>
int64_t ProjectionWorkspaceBytes(int64_t rows, const Projection<T>& projection,
                                 const Tensor4<T>& output) {
  if (InStrips(rows, output)) {
    return BytesOf<StripScratch<T>>(std::min(rows, kStripPanelRows),
                                    projection.in);
  }
  const int64_t columns = GemmPanels(1, rows, projection.out).panel_columns;
  return BytesOf<RowScratch<T>>(std::min(columns, projection.out));
}

int64_t ProjectionMultiplyAdds(int64_t rows, int64_t in, int64_t out) {
  return SaturatingMultiply(SaturatingMultiply(rows, in), out);
}

template Step ProjectionStep<float>(ConstTensor4<float>,
                                    std::vector<ProjectionOf<float>>);
template Step ProjectionStep<double>(ConstTensor4<double>,
                                     std::vector<ProjectionOf<double>>);
template int64_t ProjectionWorkspaceBytes<float>(int64_t,
                                                 const Projection<float>&,
                                                 const Tensor4<float>&);
template int64_t ProjectionWorkspaceBytes<double>(int64_t,
                                                  const Projection<double>&,
                                                  const Tensor4<double>&);

}  // namespace attention::core
