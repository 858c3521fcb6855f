#include "server/core/projection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/core/blas.h"
#include "server/core/query_tiles.h"
#include "server/core/softmax.h"

namespace attention::core {
namespace {

// One task is a panel of rows of one batch item times a panel of columns. Whole
// register tiles of every OpenBLAS kernel; wide enough for its full speed.
constexpr int64_t kPanelRows = 96;
constexpr int64_t kPanelColumns = 384;

template <typename T>
absl::Status ProjectPanel(ConstTensor4<T> input,
                          const Projection<T>& projection, Tensor4<T> output,
                          int64_t batch, int64_t first_row, int64_t rows,
                          int64_t first_column, const std::string& name) {
  const bool in_out = projection.layout == Layout::kInOut;
  const int64_t columns =
      std::min(kPanelColumns, projection.out - first_column);
  T* out = output.Row(batch, 0, first_row) + first_column;
  if (projection.bias != nullptr) {
    for (int64_t row = 0; row < rows; ++row) {
      std::copy_n(projection.bias + first_column, columns,
                  out + row * output.stride[kRow]);
    }
  }
  Gemm(Transpose::kNo, in_out ? Transpose::kNo : Transpose::kYes, rows, columns,
       projection.in, T{1}, input.Row(batch, 0, first_row), input.stride[kRow],
       projection.weight +
           (in_out ? first_column : first_column * projection.in),
       in_out ? projection.out : projection.in,
       projection.bias != nullptr ? T{1} : T{0}, out, output.stride[kRow]);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t bad =
        FirstNonFinite(out + row * output.stride[kRow], columns);
    if (bad != kNowhere) {
      return FieldError(
          name.substr(0, name.find(' ')),
          absl::StrCat("overflows ", sizeof(T) == 4 ? "FLOAT32" : "FLOAT64",
                       " in ", name, "[batch ", batch, ", row ",
                       first_row + row, ", column ", first_column + bad,
                       "]; scale it or its weights down or send FLOAT64"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

template <typename T>
Step ProjectionStep(ConstTensor4<T> input, const Projection<T>& projection,
                    Tensor4<T> output, std::vector<int64_t> row_counts,
                    std::string name) {
  const int64_t all_rows = input.shape[kRow];
  const int64_t row_panels = TileCount(all_rows, kPanelRows);
  const int64_t column_panels = TileCount(projection.out, kPanelColumns);
  const int64_t tasks = input.shape[kBatch] * row_panels * column_panels;
  return {tasks,
          [=, row_counts = std::move(row_counts), name = std::move(name)](
              int64_t task, Workspace&) -> absl::Status {
            const int64_t column_panel = task % column_panels;
            const int64_t row_panel = task / column_panels % row_panels;
            const int64_t batch = task / column_panels / row_panels;
            const int64_t item_rows =
                row_counts.empty() ? all_rows
                                   : row_counts[static_cast<size_t>(batch)];
            const int64_t first_row = row_panel * kPanelRows;
            if (first_row >= item_rows) return absl::OkStatus();
            return ProjectPanel(input, projection, output, batch, first_row,
                                std::min(kPanelRows, item_rows - first_row),
                                column_panel * kPanelColumns, name);
          }};
}

template Step ProjectionStep<float>(ConstTensor4<float>,
                                    const Projection<float>&, Tensor4<float>,
                                    std::vector<int64_t>, std::string);
template Step ProjectionStep<double>(ConstTensor4<double>,
                                     const Projection<double>&, Tensor4<double>,
                                     std::vector<int64_t>, std::string);

}  // namespace attention::core
