// The main function of tests that compute: on the kernel of OpenBLAS that the
// server takes, or the one of OPENBLAS_CORETYPE, and on the best instruction
// set of the processor, or the one of ATTENTION_TEST_VECTOR_TARGET. Says which.
#include <cstdlib>
#include <iostream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/blas/blas.h"
#include "server/core/blas/start.h"
#include "server/core/kernel/strip_kernel.h"

int main(int argc, char** argv) {
  namespace core = attention::core;
  core::LoadBlasLikeTheServer(argv);
  const char* const target = std::getenv("ATTENTION_TEST_VECTOR_TARGET");
  if (target != nullptr && !core::UseStripTarget(target)) {
    std::cerr << "this processor cannot run " << target << "\n";
    return 1;
  }
  testing::InitGoogleMock(&argc, argv);
  // A list of tests is read by programs.
  if (!GTEST_FLAG_GET(list_tests)) {
    std::cout << "OpenBLAS kernel " << core::BlasKernel() << ", vector target "
              << core::StripTarget() << "\n";
  }
  return RUN_ALL_TESTS();
}
