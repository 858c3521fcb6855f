// A matrix library with a fault, put before OpenBLAS by LD_PRELOAD. FAULTY_BLAS
// says which:
//   kernel  sgemm is wrong, but not with OPENBLAS_CORETYPE=Haswell
//   crash   sgemm crashes, but not with OPENBLAS_CORETYPE=Haswell
//   always  sgemm is wrong
//   drift   sgemm rounds differently where its first operand is not aligned
//   serial  the library says it is the serial flavour
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void Sgemm(int order, int transpose_a, int transpose_b, int m, int n,
                   int k, float alpha, const float* a, int lda, const float* b,
                   int ldb, float beta, float* c, int ldc);

static int fault_is(const char* name) {
  const char* const fault = getenv("FAULTY_BLAS");
  return fault != NULL && strcmp(fault, name) == 0;
}

static int on_haswell(void) {
  const char* const kernel = getenv("OPENBLAS_CORETYPE");
  return kernel != NULL && strcmp(kernel, "Haswell") == 0;
}

void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n,
                 int k, float alpha, const float* a, int lda, const float* b,
                 int ldb, float beta, float* c, int ldc) {
  if (fault_is("crash") && !on_haswell()) abort();
  Sgemm* const real = (Sgemm*)dlsym(RTLD_NEXT, "cblas_sgemm");
  real(order, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c,
       ldc);
  if (fault_is("always") || (fault_is("kernel") && !on_haswell())) c[0] += 1;
  if (fault_is("drift") && (uintptr_t)a % 16 != 0) {
    c[0] = nextafterf(c[0], INFINITY);
  }
}

int openblas_get_parallel(void) {
  if (fault_is("serial")) return 0;
  int (*const real)(void) =
      (int (*)(void))dlsym(RTLD_NEXT, "openblas_get_parallel");
  return real();
}
