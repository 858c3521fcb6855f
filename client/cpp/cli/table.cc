#include "client/cpp/cli/table.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "attention/tensor.h"

namespace attention::client {
namespace {

// "[1][0]" for matrix `index` of a tensor of `shape`.
std::string MatrixIndexText(absl::Span<const int64_t> shape, int64_t index) {
  std::string text;
  for (size_t axis = shape.size() - 2; axis-- > 0;) {
    text = absl::StrCat("[", index % shape[axis], "]", text);
    index /= shape[axis];
  }
  return text;
}

// Whether 4 digits after the point would hide numbers or bury them in zeros.
bool NeedsScientific(absl::Span<const double> numbers) {
  double largest = 0;
  for (const double number : numbers) {
    if (std::isfinite(number)) largest = std::max(largest, std::abs(number));
  }
  return largest >= 1e6 || (largest > 0 && largest < 1e-3);
}

// One heading and table for each matrix; cell(i) is the text of element i.
std::string Matrices(const std::string& name, absl::Span<const int64_t> shape,
                     const std::function<std::string(size_t)>& cell) {
  int64_t matrices = 1;
  for (size_t axis = 0; axis + 2 < shape.size(); ++axis) {
    matrices *= shape[axis];
  }
  const int64_t columns = shape.back();
  const int64_t rows = shape.size() > 1 ? shape[shape.size() - 2] : 1;
  if (matrices * rows * columns == 0) {
    return absl::StrCat(name, " is empty\n");
  }
  std::string text;
  size_t next = 0;
  for (int64_t matrix = 0; matrix < matrices; ++matrix) {
    std::vector<std::vector<std::string>> table(static_cast<size_t>(rows));
    for (auto& row : table) {
      for (int64_t column = 0; column < columns; ++column) {
        row.push_back(cell(next++));
      }
    }
    absl::StrAppend(&text, name,
                    shape.size() > 2 ? MatrixIndexText(shape, matrix) : "",
                    "\n", TextTable(table));
  }
  return text;
}

}  // namespace

std::string TextTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t column = 0; column < row.size(); ++column) {
      const std::string& cell = row[column];
      const std::string padding(widths[column] - cell.size(), ' ');
      double number = 0;
      absl::StrAppend(&line, "  ");
      if (absl::SimpleAtod(cell, &number)) {
        absl::StrAppend(&line, padding, cell);
      } else {
        absl::StrAppend(&line, cell, padding);
      }
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string FourDigits(double number, bool scientific) {
  std::string text = scientific ? absl::StrFormat("%.4e", number)
                                : absl::StrFormat("%.4f", number);
  // A sign in front of nothing but zeros says nothing.
  if (text == "-0.0000") text.erase(0, 1);
  return text;
}

absl::StatusOr<std::string> TensorTable(const std::string& name,
                                        const v1::Tensor& tensor) {
  const absl::StatusOr<std::vector<double>> elements = ReadDoubles(tensor);
  if (!elements.ok()) return elements.status();
  const bool scientific = NeedsScientific(*elements);
  return Matrices(name, tensor.shape(), [&](size_t i) {
    return FourDigits((*elements)[i], scientific);
  });
}

absl::StatusOr<std::string> TopKTable(const v1::TopK& top_k) {
  const absl::StatusOr<std::vector<double>> weights =
      ReadDoubles(top_k.weights());
  if (!weights.ok()) return weights.status();
  if (static_cast<size_t>(top_k.indices_size()) != weights->size()) {
    return absl::DataLossError(
        "top_k.indices and top_k.weights differ in size");
  }
  return Matrices("top_k", top_k.weights().shape(), [&](size_t i) {
    return absl::StrCat(top_k.indices(static_cast<int>(i)), ":",
                        FourDigits((*weights)[i]));
  });
}

}  // namespace attention::client
