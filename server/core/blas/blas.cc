#include "server/core/blas/blas.h"

#include <cblas.h>

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

}  // namespace attention::core
