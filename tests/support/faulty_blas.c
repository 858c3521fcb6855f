// A matrix library with a fault, put before OpenBLAS by LD_PRELOAD. FAULTY_BLAS
// says which:
//   kernel    sgemm is wrong, but not with OPENBLAS_CORETYPE=Haswell
//   crash     sgemm crashes, but not with OPENBLAS_CORETYPE=Haswell
//   skylakex  sgemm is wrong with OPENBLAS_CORETYPE=SkylakeX
//   haswell   sgemm is wrong with OPENBLAS_CORETYPE=Haswell
//   always    sgemm is wrong
//   gate      sgemm waits until there is a file that FAULTY_BLAS_GATE names
//   drift     sgemm rounds differently where its first operand is not aligned
//   serial    the library says it is the serial flavour
//   old       the library does not know the processor: unless OPENBLAS_CORETYPE
//             says otherwise it takes its Prescott kernel
// Several are separated by commas.
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef char* Getenv(const char* name);
typedef void Sgemm(int order, int transpose_a, int transpose_b, int m, int n,
                   int k, float alpha, const float* a, int lda, const float* b,
                   int ldb, float beta, float* c, int ldc);

static Getenv* real_getenv(void) {
  static Getenv* real = NULL;
  if (real == NULL) real = (Getenv*)dlsym(RTLD_NEXT, "getenv");
  return real;
}

static int fault_is(const char* name) {
  const char* at = real_getenv()("FAULTY_BLAS");
  const size_t length = strlen(name);
  while (at != NULL) {
    if (strncmp(at, name, length) == 0 && strchr(",", at[length])) return 1;
    at = strchr(at, ',');
    if (at != NULL) ++at;
  }
  return 0;
}

static int kernel_is(const char* name) {
  const char* const kernel = real_getenv()("OPENBLAS_CORETYPE");
  return kernel != NULL && strcmp(kernel, name) == 0;
}

// What OpenBLAS asks for while it is loaded; the program beside it sees the
// environment as it is.
char* getenv(const char* name) {
  char* const value = real_getenv()(name);
  Dl_info caller;
  if (value == NULL && strcmp(name, "OPENBLAS_CORETYPE") == 0 &&
      fault_is("old") && dladdr(__builtin_return_address(0), &caller) != 0 &&
      strstr(caller.dli_fname, "openblas") != NULL) {
    static char prescott[] = "Prescott";
    return prescott;
  }
  return value;
}

void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n,
                 int k, float alpha, const float* a, int lda, const float* b,
                 int ldb, float beta, float* c, int ldc) {
  const int spared = kernel_is("Haswell");
  while (fault_is("gate") &&
         access(real_getenv()("FAULTY_BLAS_GATE"), F_OK) != 0) {
    usleep(1000);
  }
  if (fault_is("crash") && !spared) abort();
  Sgemm* const real = (Sgemm*)dlsym(RTLD_NEXT, "cblas_sgemm");
  real(order, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c,
       ldc);
  if (fault_is("always") || (fault_is("kernel") && !spared) ||
      (fault_is("skylakex") && kernel_is("SkylakeX")) ||
      (fault_is("haswell") && spared)) {
    c[0] += 1;
  }
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
