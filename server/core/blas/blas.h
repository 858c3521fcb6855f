// Matrix multiplication. blas.cc is the only file that sees cblas.h.
#ifndef SERVER_CORE_BLAS_BLAS_H_
#define SERVER_CORE_BLAS_BLAS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace attention::core {

enum class Transpose { kNo, kYes };

// output = alpha * op(a) * op(b) + beta * output, row-major. op(a) is
// [rows, inner], op(b) is [inner, columns]; the strides are elements from one
// row of a, b and output to the next as they are stored. beta = 0 does not read
// output. Zero sizes are fine.
//
// One thread per call; thread-safe. The bits of a row may depend on its place
// in the call, and on the shape of the call, on nothing else.
template <typename T>
void Gemm(Transpose transpose_a, Transpose transpose_b, int64_t rows,
          int64_t columns, int64_t inner, T alpha, const T* a, int64_t a_stride,
          const T* b, int64_t b_stride, T beta, T* output,
          int64_t output_stride);

// How OpenBLAS describes itself: version, build options.
std::string BlasConfig();

// The CPU kernel OpenBLAS selected, such as "Haswell" or "Zen".
std::string BlasKernel();

// FAILED_PRECONDITION if the library that was loaded is not the thread-safe
// (pthread) flavour; names the package to install. The serial flavour gives
// wrong results when several threads call it, the OpenMP one hangs.
absl::Status CheckBlasFlavour();

}  // namespace attention::core

#endif  // SERVER_CORE_BLAS_BLAS_H_
