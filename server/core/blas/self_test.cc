#include "server/core/blas/self_test.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/core/blas/blas.h"

namespace attention::core {
namespace {

// Deterministic numbers in [-1, 1) that no two places of a matrix share.
template <typename T>
std::vector<T> TestMatrix(int64_t size, uint32_t seed) {
  std::vector<T> matrix(static_cast<size_t>(size));
  uint32_t state = seed;
  for (T& element : matrix) {
    state = state * 1664525u + 1013904223u;  // Numerical Recipes' generator
    element = static_cast<T>(static_cast<int32_t>(state)) / T{2147483648};
  }
  return matrix;
}

// Compares one product with plain loops in long double. Both strides exceed
// their rows, and the output starts as NaN where it may not be read. The bound
// is gamma_(inner + 3) * (|a||b| + |output|) of Higham 2002, eq. 3.13, doubled
// because blocked summation reorders but never lengthens the sum.
template <typename T>
bool ProductIsRight(Transpose transpose_a, Transpose transpose_b, int64_t rows,
                    int64_t columns, int64_t inner, T beta) {
  const bool ta = transpose_a == Transpose::kYes;
  const bool tb = transpose_b == Transpose::kYes;
  const int64_t a_stride = (ta ? rows : inner) + 3;
  const int64_t b_stride = (tb ? inner : columns) + 5;
  const int64_t output_stride = columns + 1;
  const auto a = TestMatrix<T>((ta ? inner : rows) * a_stride, 1);
  const auto b = TestMatrix<T>((tb ? columns : inner) * b_stride, 2);
  auto output = TestMatrix<T>(rows * output_stride, 3);
  const auto before = output;
  if (beta == 0) {
    std::fill(output.begin(), output.end(),
              std::numeric_limits<T>::quiet_NaN());
  }
  const T alpha = T{0.5};
  Gemm(transpose_a, transpose_b, rows, columns, inner, alpha, a.data(),
       a_stride, b.data(), b_stride, beta, output.data(), output_stride);

  const long double roundoff = std::numeric_limits<T>::epsilon() / 2;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const auto at = static_cast<size_t>(row * output_stride + column);
      long double sum = beta == 0 ? 0 : beta * before[at];
      long double magnitude = std::fabs(sum);
      for (int64_t i = 0; i < inner; ++i) {
        const long double x = a[ta ? i * a_stride + row : row * a_stride + i];
        const long double y =
            b[tb ? column * b_stride + i : i * b_stride + column];
        sum += alpha * x * y;
        magnitude += std::fabs(alpha * x * y);
      }
      const long double bound =
          2 * static_cast<long double>(inner + 3) * roundoff * magnitude;
      if (!(std::fabs(output[at] - sum) <= bound)) return false;
    }
  }
  return true;
}

template <typename T>
absl::Status TestShape(const char* type, int64_t rows, int64_t columns,
                       int64_t inner) {
  for (const Transpose b : {Transpose::kNo, Transpose::kYes}) {
    for (const T beta : {T{0}, T{1}}) {
      if (!ProductIsRight<T>(Transpose::kNo, b, rows, columns, inner, beta)) {
        return absl::InternalError(absl::StrCat(
            "OpenBLAS (", BlasKernel(), ") multiplies ", type, " [", rows, ", ",
            inner, "] by [", inner, ", ", columns,
            b == Transpose::kYes ? "] transposed" : "]", " wrongly"));
      }
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status TestShapes(const char* type) {
  // Around the register tiles of OpenBLAS's kernels (4, 6, 8, 12, 16, 24, 48),
  // around its small-matrix limits, and past its inner blocking (320 to 448).
  constexpr int64_t kSizes[] = {1,  2,  3,  5,  7,  8,  11, 12,
                                13, 16, 17, 24, 31, 48, 65, 96};
  constexpr int64_t kInner[] = {1, 2, 7, 16, 64, 65, 130, 700};
  for (const int64_t rows : kSizes) {
    for (const int64_t columns : kSizes) {
      for (const int64_t inner : kInner) {
        // The long sums only where they meet a new kernel edge.
        if (inner > 65 && (rows % 12 > 1 || columns % 16 > 1)) continue;
        if (absl::Status status = TestShape<T>(type, rows, columns, inner);
            !status.ok()) {
          return status;
        }
      }
    }
  }
  return absl::OkStatus();
}

// A product whose operands and output may lie anywhere.
struct Product {
  Transpose transpose_b;
  int64_t rows;
  int64_t columns;
  int64_t inner;
};

// Computes a product of the same numbers with everything `shift` elements off
// its alignment.
template <typename T>
std::vector<T> Compute(const Product& product, int64_t shift) {
  const auto [transpose_b, rows, columns, inner] = product;
  const auto numbers_a = TestMatrix<T>(rows * inner, 1);
  const auto numbers_b = TestMatrix<T>(inner * columns, 2);
  std::vector<T> a(static_cast<size_t>(shift));
  std::vector<T> b(static_cast<size_t>(shift));
  a.insert(a.end(), numbers_a.begin(), numbers_a.end());
  b.insert(b.end(), numbers_b.begin(), numbers_b.end());
  std::vector<T> output(static_cast<size_t>(shift + rows * columns));
  Gemm(Transpose::kNo, transpose_b, rows, columns, inner, T{1},
       a.data() + shift, inner, b.data() + shift,
       transpose_b == Transpose::kYes ? inner : columns, T{0},
       output.data() + shift, columns);
  output.erase(output.begin(), output.begin() + shift);
  return output;
}

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Whether a product has the same bits at other addresses, and while another
// thread computes the same.
template <typename T>
bool Repeats(const Product& product) {
  const std::vector<T> first = Compute<T>(product, 0);
  for (const int64_t shift : {0, 1, 3, 8}) {
    if (!SameBits(first, Compute<T>(product, shift))) return false;
  }
  bool same[2] = {};
  {
    std::thread other(
        [&] { same[1] = SameBits(first, Compute<T>(product, 5)); });
    same[0] = SameBits(first, Compute<T>(product, 0));
    other.join();
  }
  return same[0] && same[1];
}

template <typename T>
absl::Status TestRepeat(const char* type, const Product& product) {
  if (Repeats<T>(product)) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      "OpenBLAS (", BlasKernel(), ") rounds the product of ", type, " [",
      product.rows, ", ", product.inner, "] by [", product.inner, ", ",
      product.columns,
      product.transpose_b == Transpose::kYes ? "] transposed" : "]",
      " differently at another address or beside another thread"));
}

template <typename T>
absl::Status TestRepeats(const char* type) {
  // One row, the few rows of a short request, a panel that is cut off.
  for (const int64_t rows : {1, 6, 37, 130}) {
    for (const int64_t columns : {2, 64, 389}) {
      for (const int64_t inner : {3, 64, 500}) {
        for (const Transpose b : {Transpose::kNo, Transpose::kYes}) {
          absl::Status status = TestRepeat<T>(type, {b, rows, columns, inner});
          if (!status.ok()) return status;
        }
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BlasSelfTest() {
  if (absl::Status status = TestShapes<float>("float"); !status.ok()) {
    return status;
  }
  return TestShapes<double>("double");
}

absl::Status BlasRepeatTest() {
  if (absl::Status status = TestRepeats<float>("float"); !status.ok()) {
    return status;
  }
  return TestRepeats<double>("double");
}

}  // namespace attention::core
