// Trust in the matrix library, before any thread exists.
#ifndef SERVER_BLAS_CHECK_H_
#define SERVER_BLAS_CHECK_H_

#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "server/core/blas/kernels.h"

namespace attention::server {

// The self-test, if that is what this process was started for: runs it and
// returns the exit code. To be asked first of all.
std::optional<int> RunAsBlasChild(int argc, char** argv);

// Makes sure that OpenBLAS computes right, with one thread per call and on a
// kernel fit for the processor: the first of core::BlasKernelsToTry that passes
// the self-test, each in a child process because it may crash. May start this
// program anew in the same process (exec with the same arguments), since the
// library reads its settings while it is loaded: once for
// OPENBLAS_NUM_THREADS=1, and once for a kernel that it has not taken; each
// time after a call of `before_exec`.
//
// FAILED_PRECONDITION, naming the package to install, if the flavour is wrong;
// INTERNAL if no kernel passes.
// REQUIRES: no thread has been started.
absl::StatusOr<core::BlasReport> CheckBlas(
    char** argv, absl::FunctionRef<void()> before_exec);

}  // namespace attention::server

#endif  // SERVER_BLAS_CHECK_H_
