#include "server/core/blas/kernels.h"

#include <algorithm>

#include "absl/algorithm/container.h"

namespace attention::core {

VectorSets VectorSets::OfThisMachine() {
  VectorSets sets;
#ifdef __x86_64__
  // The compiler's run-time library asks the operating system too (XGETBV).
  __builtin_cpu_init();
  sets.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  sets.avx512 = sets.avx2 && __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512cd");
#endif
  return sets;
}

absl::string_view VectorSets::Best() const {
  if (avx512) return "AVX-512 F, DQ, BW, VL and CD";
  return avx2 ? "AVX2 and FMA" : "no AVX2";
}

bool IsWithoutAvx2(absl::string_view kernel) {
  // All kernels of OpenBLAS 0.3.21's driver/others/dynamic.c but Haswell, Zen,
  // SkylakeX and Cooperlake.
  constexpr absl::string_view kOld[] = {
      "Katmai",      "Coppermine", "Northwood",    "Prescott",   "Banias",
      "Atom",        "Core2",      "Penryn",       "Dunnington", "Nehalem",
      "Athlon",      "Opteron",    "Opteron_SSE3", "Barcelona",  "Nano",
      "Sandybridge", "Bobcat",     "Bulldozer",    "Piledriver", "Steamroller",
      "Excavator"};
  return absl::c_linear_search(kOld, kernel);
}

std::vector<std::string> BlasKernelsToTry(const std::string& taken,
                                          bool asked_for,
                                          const VectorSets& sets) {
  std::vector<std::string> kernels;
  if (sets.avx512) kernels.emplace_back("SkylakeX");
  if (sets.avx2) kernels.emplace_back("Haswell");
  kernels.erase(std::remove(kernels.begin(), kernels.end(), taken),
                kernels.end());
  const bool is_last = sets.avx2 && !asked_for && IsWithoutAvx2(taken);
  kernels.insert(is_last ? kernels.end() : kernels.begin(), taken);
  return kernels;
}

}  // namespace attention::core
