#include "server/core/projection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/all_finite.h"
#include "proto/field_error.h"
#include "server/core/blas.h"
#include "server/core/softmax.h"
#include "server/core/strip_kernel.h"
#include "server/core/tile_count.h"

namespace attention::core {
namespace {

// One task is a panel of rows of one batch item times a panel of columns: large
// enough for full speed, since each task packs its operands anew, and small
// enough to share between threads and to notice a cancellation. Whole register
// tiles of every OpenBLAS kernel (4 to 48 rows or columns).
constexpr int64_t kPanelUnit = 48;
constexpr int64_t kMostPanelRows = 528;
// Of a product with one panel of rows, and with more.
constexpr int64_t kMostColumnsOfOne = 384;
constexpr int64_t kMostColumns = 768;

// From 2 to this many rows OpenBLAS spends much of its time packing the
// weights; strips read them where they are
// (docs/adr/0007-projections-of-few-rows.md).
constexpr int64_t kMostRowsInStrips = 128;

bool InStrips(int64_t rows) { return rows > 1 && rows <= kMostRowsInStrips; }

// Size of equal panels of at most `most`, in whole units.
int64_t PanelSize(int64_t size, int64_t most) {
  const int64_t panels = std::max<int64_t>(1, TileCount(size, most));
  return TileCount(TileCount(size, panels), kPanelUnit) * kPanelUnit;
}

// How a product of these sizes is cut.
struct Panels {
  Panels(int64_t all_rows, int64_t all_columns)
      : panel_rows(PanelSize(all_rows, kMostPanelRows)),
        panel_columns(PanelSize(all_columns, all_rows <= kMostPanelRows
                                                 ? kMostColumnsOfOne
                                                 : kMostColumns)),
        row_panels(TileCount(all_rows, panel_rows)),
        column_panels(TileCount(all_columns, panel_columns)) {}

  int64_t panel_rows;
  int64_t panel_columns;
  int64_t row_panels;
  int64_t column_panels;
};

// Where a panel is in the product.
struct Panel {
  int64_t batch;
  int64_t first_row;
  int64_t rows;
  int64_t first_column;
  int64_t columns;
};

template <typename T>
struct PanelProjection {
  ConstTensor4<T> input;
  Projection<T> projection;
  Tensor4<T> output;
  std::string name;

  absl::Status Compute(const Panel& panel, Workspace& workspace) const {
    if (InStrips(input.shape[kRow])) return MultiplyStrips(panel, workspace);
    if (output.shape[kHead] == 1) {
      T* const product =
          output.Row(panel.batch, 0, panel.first_row) + panel.first_column;
      Multiply(panel, product, output.stride[kRow]);
      return CheckFinite(panel, product, output.stride[kRow]);
    }
    // Heads lie apart, where OpenBLAS cannot put them.
    T* const product = workspace.Allocate<T>(panel.rows * panel.columns);
    Multiply(panel, product, panel.columns);
    return SplitHeads(panel, product)
               ? absl::OkStatus()
               : CheckFinite(panel, product, panel.columns);
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
  bool in_out() const { return projection.layout == Layout::kInOut; }

  void Multiply(const Panel& panel, T* product, int64_t stride) const {
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
  }

  absl::Status CheckFinite(const Panel& panel, const T* product,
                           int64_t stride) const {
    for (int64_t row = 0; row < panel.rows; ++row) {
      const int64_t bad = FirstNonFinite(product + row * stride, panel.columns);
      if (bad != kNowhere) return Overflow(panel, row, bad);
    }
    return absl::OkStatus();
  }

  absl::Status MultiplyStrips(const Panel& panel, Workspace& workspace) const {
    const int64_t width = StripRows<T>();
    T* const strip = workspace.Allocate<T>(projection.in * width);
    T* const product = workspace.Allocate<T>(panel.columns * width);
    const T** const from = workspace.Allocate<const T*>(width);
    T** const to = workspace.Allocate<T*>(width);
    for (int64_t first = 0; first < panel.rows; first += width) {
      const int64_t rows = std::min(width, panel.rows - first);
      for (int64_t lane = 0; lane < width; ++lane) {
        from[lane] = input.Row(
            panel.batch, 0, panel.first_row + first + std::min(lane, rows - 1));
      }
      PackStrip(from, projection.in, strip);
      const auto multiply = in_out() ? &MultiplyStrip<Read::kColumns, T>
                                     : &MultiplyStrip<Read::kRows, T>;
      multiply(Weights(panel), weight_stride(), panel.columns, projection.in,
               strip, T{1}, product);
      if (projection.bias != nullptr) AddBias(panel, width, product);
      const int64_t bad = FirstNonFinite(product, panel.columns * width);
      if (bad != kNowhere) {
        return Overflow(panel, first + std::min(bad % width, rows - 1),
                        bad / width);
      }
      ForEachHead(panel, [&](const Part& part) {
        for (int64_t row = 0; row < rows; ++row) {
          to[row] = part.Row(output, panel, first + row);
        }
        UnpackStrip(product + part.first * width, part.count, rows, to);
      });
    }
    return absl::OkStatus();
  }

  void AddBias(const Panel& panel, int64_t width, T* product) const {
    for (int64_t column = 0; column < panel.columns; ++column) {
      const T added = projection.bias[panel.first_column + column];
      T* const results = product + column * width;
      for (int64_t lane = 0; lane < width; ++lane) results[lane] += added;
    }
  }

  // Columns of a panel that are of one head.
  struct Part {
    int64_t head;
    int64_t column;  // of the head, the first
    int64_t first;   // of the panel
    int64_t count;

    T* Row(const Tensor4<T>& result, const Panel& panel, int64_t row) const {
      return result.Row(panel.batch, head, panel.first_row + row) + column;
    }
  };

  template <typename Body>
  void ForEachHead(const Panel& panel, Body body) const {
    const int64_t dim = output.shape[kColumn];
    for (int64_t first = 0; first < panel.columns;) {
      const int64_t column = panel.first_column + first;
      const int64_t count = std::min(dim - column % dim, panel.columns - first);
      body(Part{column / dim, column % dim, first, count});
      first += count;
    }
  }

  // Whether all of `product`, which it puts into the heads, is finite.
  bool SplitHeads(const Panel& panel, const T* product) const {
    bool finite = true;
    ForEachHead(panel, [&](const Part& part) {
      for (int64_t row = 0; row < panel.rows; ++row) {
        const T* const from = product + row * panel.columns + part.first;
        T* const to = part.Row(output, panel, row);
        std::copy_n(from, part.count, to);
        finite &= AllFinite(to, part.count);
      }
    });
    return finite;
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

}  // namespace

template <typename T>
Step ProjectionStep(ConstTensor4<T> input, const Projection<T>& projection,
                    Tensor4<T> output, std::vector<int64_t> row_counts,
                    std::string name) {
  const int64_t all_rows = input.shape[kRow];
  const Panels panels(all_rows, projection.out);
  const PanelProjection<T> compute{input, projection, output, std::move(name)};
  const int64_t tasks =
      input.shape[kBatch] * panels.row_panels * panels.column_panels;
  return {
      tasks,
      [=, row_counts = std::move(row_counts)](
          int64_t task, Workspace& workspace) -> absl::Status {
        Panel panel{};
        panel.batch = task / panels.column_panels / panels.row_panels;
        panel.first_row =
            task / panels.column_panels % panels.row_panels * panels.panel_rows;
        panel.first_column = task % panels.column_panels * panels.panel_columns;
        const int64_t item_rows =
            row_counts.empty() ? all_rows
                               : row_counts[static_cast<size_t>(panel.batch)];
        if (panel.first_row >= item_rows) return absl::OkStatus();
        panel.rows = std::min(panels.panel_rows, item_rows - panel.first_row);
        panel.columns =
            std::min(panels.panel_columns, projection.out - panel.first_column);
        return compute.Compute(panel, workspace);
      }};
}

template <typename T>
int64_t ProjectionWorkspaceBytes(int64_t rows,
                                 const Projection<T>& projection) {
  const Panels panels(rows, projection.out);
  const int64_t columns = std::min(panels.panel_columns, projection.out);
  if (InStrips(rows)) {
    return StripRows<T>() * ((projection.in + columns) * int64_t{sizeof(T)} +
                             2 * int64_t{sizeof(T*)});
  }
  return std::min(panels.panel_rows, rows) * columns * int64_t{sizeof(T)};
}

template Step ProjectionStep<float>(ConstTensor4<float>,
                                    const Projection<float>&, Tensor4<float>,
                                    std::vector<int64_t>, std::string);
template Step ProjectionStep<double>(ConstTensor4<double>,
                                     const Projection<double>&, Tensor4<double>,
                                     std::vector<int64_t>, std::string);
template int64_t ProjectionWorkspaceBytes<float>(int64_t,
                                                 const Projection<float>&);
template int64_t ProjectionWorkspaceBytes<double>(int64_t,
                                                  const Projection<double>&);

}  // namespace attention::core
