// Which of OpenBLAS's kernels to compute with. The library knows the processors
// of its day; of a newer one it may take its oldest kernel (Prescott: SSE3),
// which is slow and does not repeat its bits (./run prove processors).
#ifndef SERVER_CORE_BLAS_KERNELS_H_
#define SERVER_CORE_BLAS_KERNELS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace attention::core {

// Vector instructions that the processor has and the operating system saves.
struct VectorSets {
  bool avx2 = false;    // and FMA
  bool avx512 = false;  // F, DQ, BW, VL and CD, and the above

  static VectorSets OfThisMachine();

  // The best of them in words, such as "AVX2 and FMA".
  absl::string_view Best() const;
};

// Whether OpenBLAS's kernel of that name makes no use of AVX2. A name that is
// not known here is that of a newer kernel, which does.
bool IsWithoutAvx2(absl::string_view kernel);

// The kernels to compute with, of which the first counts that passes its
// self-test: `taken`, which the library took, then SkylakeX where there is
// AVX-512, then Haswell where there is AVX2. `taken` comes last if it makes no
// use of AVX2 though there is AVX2, unless it was `asked_for`.
//
// The order is fixed and nothing is timed, so that a machine always computes
// the same bits (docs/adr/0019-which-kernel-of-openblas.md).
std::vector<std::string> BlasKernelsToTry(const std::string& taken,
                                          bool asked_for,
                                          const VectorSets& sets);

// What a program that has checked OpenBLAS knows of it.
struct BlasReport {
  std::string config;  // BlasConfig()
  std::string kernel;  // BlasKernel(), in use
  // What the library took when it was loaded, of its own or because
  // OPENBLAS_CORETYPE says so.
  std::string library_kernel;
  // Why `kernel` is in use, in words; with what was wrong with those before it.
  std::string kernel_because;
  // Whether a kernel failed the self-test before.
  bool fell_back = false;
  // Why the same product may have other bits when it is computed again; empty
  // if it has not.
  std::string not_deterministic_because;
};

}  // namespace attention::core

#endif  // SERVER_CORE_BLAS_KERNELS_H_
