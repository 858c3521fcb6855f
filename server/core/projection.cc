#include "server/core/projection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/core/blas.h"
#include "server/core/softmax.h"
#include "server/core/tile_count.h"

namespace attention::core {
namespace {

// One task is a panel of rows of one batch item times a panel of columns: large
// enough for OpenBLAS's full speed, since it packs its operands anew in each
// task, and small enough to share between threads and to notice a cancellation.
// Whole register tiles of every OpenBLAS kernel (4 to 48 rows or columns).
constexpr int64_t kPanelUnit = 48;
constexpr int64_t kMostPanelRows = 528;
// Of a product with one panel of rows, and with more.
constexpr int64_t kMostColumnsOfOne = 384;
constexpr int64_t kMostColumns = 768;

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
    if (output.shape[kHead] == 1) {
      T* const product =
          output.Row(panel.batch, 0, panel.first_row) + panel.first_column;
      Multiply(panel, product, output.stride[kRow]);
      return Check(panel, product, output.stride[kRow]);
    }
    // Heads lie apart, where OpenBLAS cannot put them.
    T* const product = workspace.Allocate<T>(panel.rows * panel.columns);
    Multiply(panel, product, panel.columns);
    absl::Status status = Check(panel, product, panel.columns);
    if (status.ok()) SplitHeads(panel, product);
    return status;
  }

 private:
  void Multiply(const Panel& panel, T* product, int64_t stride) const {
    const T* const bias = projection.bias;
    for (int64_t row = 0; bias != nullptr && row < panel.rows; ++row) {
      std::copy_n(bias + panel.first_column, panel.columns,
                  product + row * stride);
    }
    const bool in_out = projection.layout == Layout::kInOut;
    Gemm(Transpose::kNo, in_out ? Transpose::kNo : Transpose::kYes, panel.rows,
         panel.columns, projection.in, T{1},
         input.Row(panel.batch, 0, panel.first_row), input.stride[kRow],
         projection.weight + panel.first_column * (in_out ? 1 : projection.in),
         in_out ? projection.out : projection.in, bias != nullptr ? T{1} : T{0},
         product, stride);
  }

  absl::Status Check(const Panel& panel, const T* product,
                     int64_t stride) const {
    for (int64_t row = 0; row < panel.rows; ++row) {
      const int64_t bad = FirstNonFinite(product + row * stride, panel.columns);
      if (bad == kNowhere) continue;
      return FieldError(
          name.substr(0, name.find(' ')),
          absl::StrCat("overflows ", sizeof(T) == 4 ? "FLOAT32" : "FLOAT64",
                       " in ", name, "[batch ", panel.batch, ", row ",
                       panel.first_row + row, ", column ",
                       panel.first_column + bad,
                       "]; scale it or its weights down or send FLOAT64"));
    }
    return absl::OkStatus();
  }

  void SplitHeads(const Panel& panel, const T* product) const {
    const int64_t dim = output.shape[kColumn];
    const int64_t end = panel.first_column + panel.columns;
    for (int64_t column = panel.first_column; column < end;) {
      const int64_t head = column / dim;
      const int64_t count = std::min((head + 1) * dim, end) - column;
      for (int64_t row = 0; row < panel.rows; ++row) {
        std::copy_n(product + row * panel.columns + column - panel.first_column,
                    count,
                    output.Row(panel.batch, head, panel.first_row + row) +
                        column % dim);
      }
      column += count;
    }
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
int64_t ProjectionWorkspaceBytes(int64_t rows, int64_t out) {
  const Panels panels(rows, out);
  return std::min(panels.panel_rows, rows) *
         std::min(panels.panel_columns, out) * int64_t{sizeof(T)};
}

template Step ProjectionStep<float>(ConstTensor4<float>,
                                    const Projection<float>&, Tensor4<float>,
                                    std::vector<int64_t>, std::string);
template Step ProjectionStep<double>(ConstTensor4<double>,
                                     const Projection<double>&, Tensor4<double>,
                                     std::vector<int64_t>, std::string);
template int64_t ProjectionWorkspaceBytes<float>(int64_t, int64_t);
template int64_t ProjectionWorkspaceBytes<double>(int64_t, int64_t);

}  // namespace attention::core
