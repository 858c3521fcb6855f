#include "server/core/blas.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"

namespace attention::core {
namespace {

// One thread per call, whatever the environment says. Runs before main, and so
// before any call: threads that OpenBLAS has used once keep spinning.
const bool kOneThreadPerCall = [] {
  openblas_set_num_threads(1);
  return true;
}();

CBLAS_TRANSPOSE ToCblas(Transpose transpose) {
  return transpose == Transpose::kYes ? CblasTrans : CblasNoTrans;
}

void CblasGemm(CBLAS_TRANSPOSE transpose_a, CBLAS_TRANSPOSE transpose_b,
               blasint rows, blasint columns, blasint inner, float alpha,
               const float* a, blasint a_stride, const float* b,
               blasint b_stride, float beta, float* output,
               blasint output_stride) {
  cblas_sgemm(CblasRowMajor, transpose_a, transpose_b, rows, columns, inner,
              alpha, a, a_stride, b, b_stride, beta, output, output_stride);
}

void CblasGemm(CBLAS_TRANSPOSE transpose_a, CBLAS_TRANSPOSE transpose_b,
               blasint rows, blasint columns, blasint inner, double alpha,
               const double* a, blasint a_stride, const double* b,
               blasint b_stride, double beta, double* output,
               blasint output_stride) {
  cblas_dgemm(CblasRowMajor, transpose_a, transpose_b, rows, columns, inner,
              alpha, a, a_stride, b, b_stride, beta, output, output_stride);
}

// output = alpha * matrix * vector + beta * output; the matrix as it is stored.
void CblasGemv(CBLAS_TRANSPOSE transpose, blasint rows, blasint columns,
               float alpha, const float* matrix, blasint stride,
               const float* vector, float beta, float* output) {
  cblas_sgemv(CblasRowMajor, transpose, rows, columns, alpha, matrix, stride,
              vector, 1, beta, output, 1);
}

void CblasGemv(CBLAS_TRANSPOSE transpose, blasint rows, blasint columns,
               double alpha, const double* matrix, blasint stride,
               const double* vector, double beta, double* output) {
  cblas_dgemv(CblasRowMajor, transpose, rows, columns, alpha, matrix, stride,
              vector, 1, beta, output, 1);
}

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
        for (const Transpose b : {Transpose::kNo, Transpose::kYes}) {
          for (const T beta : {T{0}, T{1}}) {
            if (!ProductIsRight<T>(Transpose::kNo, b, rows, columns, inner,
                                   beta)) {
              return absl::InternalError(absl::StrCat(
                  "OpenBLAS (", BlasKernel(), ") multiplies ", type, " [", rows,
                  ", ", inner, "] by [", inner, ", ", columns,
                  b == Transpose::kYes ? "] transposed" : "]", " wrongly"));
            }
          }
        }
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

template <typename T>
void Gemm(Transpose transpose_a, Transpose transpose_b, int64_t rows,
          int64_t columns, int64_t inner, T alpha, const T* a, int64_t a_stride,
          const T* b, int64_t b_stride, T beta, T* output,
          int64_t output_stride) {
  if (rows == 0 || columns == 0) return;
  if (inner == 0) {
    // Left to ourselves: BLAS implementations differ on empty sums.
    for (int64_t row = 0; row < rows; ++row) {
      T* out = output + row * output_stride;
      for (int64_t column = 0; column < columns; ++column) {
        out[column] = beta == 0 ? T{0} : beta * out[column];
      }
    }
    return;
  }
  if (rows == 1 && transpose_a == Transpose::kNo) {
    // A row times b, which a matrix product would pack for that one row.
    const bool as_stored = transpose_b == Transpose::kYes;
    CblasGemv(as_stored ? CblasNoTrans : CblasTrans,
              static_cast<blasint>(as_stored ? columns : inner),
              static_cast<blasint>(as_stored ? inner : columns), alpha, b,
              static_cast<blasint>(b_stride), a, beta, output);
    return;
  }
  CblasGemm(ToCblas(transpose_a), ToCblas(transpose_b),
            static_cast<blasint>(rows), static_cast<blasint>(columns),
            static_cast<blasint>(inner), alpha, a,
            static_cast<blasint>(a_stride), b, static_cast<blasint>(b_stride),
            beta, output, static_cast<blasint>(output_stride));
}

template void Gemm<float>(Transpose, Transpose, int64_t, int64_t, int64_t,
                          float, const float*, int64_t, const float*, int64_t,
                          float, float*, int64_t);
template void Gemm<double>(Transpose, Transpose, int64_t, int64_t, int64_t,
                           double, const double*, int64_t, const double*,
                           int64_t, double, double*, int64_t);

std::string BlasConfig() { return openblas_get_config(); }

std::string BlasKernel() { return openblas_get_corename(); }

absl::Status CheckBlasFlavour() {
  const int parallel = openblas_get_parallel();
  if (parallel == OPENBLAS_THREAD) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the OpenBLAS that was loaded (", BlasConfig(), ") is the ",
      parallel == OPENBLAS_OPENMP ? "OpenMP" : "serial",
      " flavour, which is not safe to call from several threads; install "
      "libopenblas0-pthread and select it with "
      "'update-alternatives --config libopenblas.so.0-x86_64-linux-gnu'"));
}

absl::Status BlasSelfTest() {
  if (absl::Status status = TestShapes<float>("float"); !status.ok()) {
    return status;
  }
  return TestShapes<double>("double");
}

}  // namespace attention::core
