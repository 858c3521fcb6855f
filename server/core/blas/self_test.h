// Whether the matrix library that was loaded can be trusted.
#ifndef SERVER_CORE_BLAS_SELF_TEST_H_
#define SERVER_CORE_BLAS_SELF_TEST_H_

#include "absl/status/status.h"

namespace attention::core {

// Compares Gemm with plain loops over a table of shapes that meets every kernel
// edge; INTERNAL naming the shape on a mismatch. May crash if the library is
// broken for this processor: run it in a child process.
absl::Status BlasSelfTest();

// Computes products again at other addresses and beside another thread;
// INTERNAL naming the shape if a bit differs. A row may have other bits at
// another place in a product: none of ours spans two requests or two batch
// items, so no alignment of rows is asked of any kernel
// (docs/adr/0002-determinism.md).
absl::Status BlasRepeatTest();

}  // namespace attention::core

#endif  // SERVER_CORE_BLAS_SELF_TEST_H_
