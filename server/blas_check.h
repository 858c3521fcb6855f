// Trust in the matrix library, before any thread exists.
#ifndef SERVER_BLAS_CHECK_H_
#define SERVER_BLAS_CHECK_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace attention::server {

// What the check found.
struct BlasReport {
  std::string config;
  std::string kernel;
  // Why the kernel that the library chose is not in use; empty if it is.
  std::string fell_back_because;
  // Why the same product may have other bits when it is computed again; empty
  // if it has not.
  std::string not_deterministic_because;
};

// The self-test, if that is what this process was started for: runs it and
// returns the exit code. To be asked first of all.
std::optional<int> RunAsBlasChild(int argc, char** argv);

// Makes sure that OpenBLAS computes right and with one thread per call. May
// start this program anew in the same process (exec with the same arguments),
// once with OPENBLAS_NUM_THREADS=1, which the library reads while it is loaded,
// and once with OPENBLAS_CORETYPE=Haswell if the self-test, run in a child
// process because it may crash, fails.
//
// FAILED_PRECONDITION, naming the package to install, if the flavour is wrong;
// INTERNAL if the self-test fails with Haswell too.
// REQUIRES: no thread has been started.
absl::StatusOr<BlasReport> CheckBlas(char** argv);

}  // namespace attention::server

#endif  // SERVER_BLAS_CHECK_H_
