// A program with OpenBLAS as it should be. The library reads its settings from
// the environment while it is loaded and never again, so a program that wants
// others starts itself anew.
#ifndef SERVER_CORE_BLAS_START_H_
#define SERVER_CORE_BLAS_START_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace attention::core {

inline constexpr char kBlasKernelVariable[] = "OPENBLAS_CORETYPE";
inline constexpr char kBlasThreadsVariable[] = "OPENBLAS_NUM_THREADS";

// What OPENBLAS_CORETYPE says; empty if it is absent.
std::string AskedForBlasKernel();

// Whether `taken` is what it says. A name that the library does not have asks
// for nothing: it takes what it would have taken without.
bool IsAskedFor(const std::string& taken);

// Starts this program anew in the same process (exec with the same arguments);
// returns only if it cannot, INTERNAL.
absl::Status StartAnew(char** argv);

// Makes sure that OpenBLAS was loaded for one thread per call, and not with an
// empty OPENBLAS_CORETYPE, by which 0.3.21 takes Cooperlake on any processor;
// starts this program anew where it was, after `before`. Errors as above.
//
// REQUIRES: no thread has been started. So do all below.
absl::Status LoadBlasForOneThread(
    char** argv, absl::FunctionRef<void()> before = [] {});

// The same, and that it runs the kernel that the server takes unless that fails
// its self-test (the first of BlasKernelsToTry): for the main functions of
// tests, benchmarks and proofs. Says so on the standard error if that is not
// what the library took, and ends the program if it cannot start it anew.
void LoadBlasLikeTheServer(char** argv);

}  // namespace attention::core

#endif  // SERVER_CORE_BLAS_START_H_
