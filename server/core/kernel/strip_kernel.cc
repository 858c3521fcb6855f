#include "server/core/kernel/strip_kernel.h"

#include <algorithm>
#include <cstdint>

// Compiles this file once for each instruction set; the best is chosen at run
// time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/core/kernel/strip_kernel.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// Come last: they use what highway.h defines for the present target.
#include "server/core/kernel/strip_product-inl.h"
#include "server/core/kernel/strip_softmax-inl.h"

#ifndef SERVER_CORE_STRIP_KERNEL_TABLE_
#define SERVER_CORE_STRIP_KERNEL_TABLE_
namespace attention::core {

template <typename T>
using StripProductOf = void(const T* matrix, int64_t stride, int64_t results,
                            int64_t depth, const T* strip, T scale, T* product);

// What one instruction set offers: the functions of strip_kernel.h.
template <typename T>
struct StripKernel {
  const char* target;
  int64_t rows;
  void (*pack)(const T* const* rows, int64_t columns, T* strip);
  void (*unpack)(const T* strip, int64_t columns, int64_t count,
                 T* const* rows);
  StripProductOf<T>* multiply_rows;
  StripProductOf<T>* multiply_columns;
  void (*add_rows)(const T* matrix, int64_t stride, int64_t results,
                   int64_t depth, const T* strip, T* product);
  void (*pack_columns)(const T* matrix, int64_t stride, int64_t results,
                       int64_t depth, T* packed);
  void (*add_packed)(const T* packed, int64_t results, int64_t depth,
                     const T* strip, T* product);
  bool (*fold)(const KeyBlock<T>& block, const Strip<T>& strip);
  bool (*finish)(const Strip<T>& strip, int64_t value_dim, int64_t count,
                 T* const* rows);
};

}  // namespace attention::core
#endif  // SERVER_CORE_STRIP_KERNEL_TABLE_

HWY_BEFORE_NAMESPACE();
namespace attention::core::HWY_NAMESPACE {

template <Read kRead, typename T>
void Product(const T* matrix, int64_t stride, int64_t results, int64_t depth,
             const T* strip, T scale, T* product) {
  if (depth == 0) {  // and the matrix may be nowhere
    std::fill_n(product, results * 2 * Lanes<T>(), T{0});
    return;
  }
  constexpr int kSums = kRead == Read::kRows ? kSumsOfScore : 1;
  Multiply<T, kRead, Store::kReplaces, kSums>(matrix, stride, results, depth,
                                              strip, scale, product);
}

template <typename T>
void AddRows(const T* matrix, int64_t stride, int64_t results, int64_t depth,
             const T* strip, T* product) {
  Multiply<T, Read::kRows, Store::kAdds>(matrix, stride, results, depth, strip,
                                         T{1}, product);
}

// output = or += value^T * weights.
template <typename T, Store kStore>
void Sum(const KeyBlock<T>& block, T* output) {
  Multiply<T, Read::kColumns, kStore>(block.value, block.value_stride,
                                      block.value_dim, block.count,
                                      block.scores, T{1}, output);
}

template <typename T>
bool Fold(const KeyBlock<T>& block, const Strip<T>& strip) {
  Multiply<T, Read::kRows, Store::kReplaces, kSumsOfScore>(
      block.key, block.key_stride, block.count, block.head_dim, strip.query,
      block.scale, block.scores);
  const Peaks<T> peaks = FinishScores(block);
  if (!peaks.finite()) return false;

  const bool is_new = IsNew(strip);
  const Pair<T> subtract = RaiseMax(block, strip, is_new, peaks.max);
  HWY_ALIGN T sums[2 * (HWY_MAX_BYTES / sizeof(T))];
  StorePair(Exponentiate(block.count, subtract, block.scores), sums);
  for (int64_t r = 0; r < 2 * Lanes<T>(); ++r) {
    strip.sum[r] += static_cast<double>(sums[r]);
  }
  if (block.kept != nullptr) Drop(block.kept, block.count, block.scores);

  if (is_new) {
    Sum<T, Store::kReplaces>(block, strip.output);
  } else {
    Sum<T, Store::kAdds>(block, strip.output);
  }
  return true;
}

template <typename T>
bool Finish(const Strip<T>& strip, int64_t value_dim, int64_t count,
            T* const* rows) {
  if (IsNew(strip)) {
    for (int64_t r = 0; r < count; ++r) std::fill_n(rows[r], value_dim, T{0});
    return true;
  }
  const int64_t width = 2 * Lanes<T>();
  HWY_ALIGN T factors[2 * (HWY_MAX_BYTES / sizeof(T))];
  for (int64_t r = 0; r < width; ++r) {
    factors[r] = strip.sum[r] > 0 ? static_cast<T>(1 / strip.sum[r]) : T{0};
  }
  const Pair<T> factor = LoadPair(factors);
  Peaks<T> peaks = NoPeaks<T>();
  for (int64_t c = 0; c < value_dim; ++c) {
    T* const column = strip.output + c * width;
    Scale(factor, 1, column);
    const Pair<T> quotients = LoadPair(column);
    peaks.Add(quotients, quotients);
  }
  Unpack(strip.output, value_dim, count, rows);
  return peaks.finite();
}

template <typename T>
StripKernel<T> Kernel() {
  return {hwy::TargetName(HWY_TARGET),
          2 * Lanes<T>(),
          &Pack<T>,
          &Unpack<T>,
          &Product<Read::kRows, T>,
          &Product<Read::kColumns, T>,
          &AddRows<T>,
          &PackColumns<T>,
          &AddPacked<T>,
          &Fold<T>,
          &Finish<T>};
}

StripKernel<float> FloatKernel() { return Kernel<float>(); }
StripKernel<double> DoubleKernel() { return Kernel<double>(); }

}  // namespace attention::core::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attention::core {
namespace {

HWY_EXPORT(FloatKernel);
HWY_EXPORT(DoubleKernel);

// That of the best instruction set this processor has.
template <typename T>
StripKernel<T> Best();
template <>
StripKernel<float> Best() {
  return HWY_DYNAMIC_DISPATCH(FloatKernel)();
}
template <>
StripKernel<double> Best() {
  return HWY_DYNAMIC_DISPATCH(DoubleKernel)();
}

// Read before any of them is left out.
const std::vector<int64_t>& Runnable() {
  static const std::vector<int64_t> targets =
      hwy::SupportedAndGeneratedTargets();
  return targets;
}

}  // namespace

const char* StripTarget() { return Best<float>().target; }

std::vector<std::string> StripTargets() {
  std::vector<std::string> names;
  for (const int64_t target : Runnable()) {
    names.emplace_back(hwy::TargetName(target));
  }
  return names;
}

bool UseStripTarget(absl::string_view target) {
  const auto found = std::find_if(
      Runnable().begin(), Runnable().end(),
      [target](int64_t one) { return hwy::TargetName(one) == target; });
  if (found == Runnable().end()) return false;
  hwy::SetSupportedTargetsForTest(*found);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return true;
}

template <typename T>
int64_t StripRows() {
  return Best<T>().rows;
}

template <typename T>
void PackStrip(const T* const* rows, int64_t columns, T* strip) {
  Best<T>().pack(rows, columns, strip);
}

template <typename T>
void UnpackStrip(const T* strip, int64_t columns, int64_t count,
                 T* const* rows) {
  Best<T>().unpack(strip, columns, count, rows);
}

template <Read kRead, typename T>
void MultiplyStrip(const T* matrix, int64_t stride, int64_t results,
                   int64_t depth, const T* strip, T scale, T* product) {
  const StripKernel<T> best = Best<T>();
  const auto multiply =
      kRead == Read::kRows ? best.multiply_rows : best.multiply_columns;
  multiply(matrix, stride, results, depth, strip, scale, product);
}

template <typename T>
void AddStripProduct(const T* matrix, int64_t stride, int64_t results,
                     int64_t depth, const T* strip, T* product) {
  Best<T>().add_rows(matrix, stride, results, depth, strip, product);
}

template <typename T>
void PackColumns(const T* matrix, int64_t stride, int64_t results,
                 int64_t depth, T* packed) {
  Best<T>().pack_columns(matrix, stride, results, depth, packed);
}

template <typename T>
void AddPackedProduct(const T* packed, int64_t results, int64_t depth,
                      const T* strip, T* product) {
  Best<T>().add_packed(packed, results, depth, strip, product);
}

template <typename T>
bool FoldBlock(const KeyBlock<T>& block, const Strip<T>& strip) {
  return Best<T>().fold(block, strip);
}

template <typename T>
bool FinishStrip(const Strip<T>& strip, int64_t value_dim, int64_t count,
                 T* const* rows) {
  return Best<T>().finish(strip, value_dim, count, rows);
}

template int64_t StripRows<float>();
template void PackStrip<float>(const float* const*, int64_t, float*);
template void UnpackStrip<float>(const float*, int64_t, int64_t, float* const*);
template StripProductOf<float> MultiplyStrip<Read::kRows, float>;
template StripProductOf<float> MultiplyStrip<Read::kColumns, float>;
template void AddStripProduct<float>(const float*, int64_t, int64_t, int64_t,
                                     const float*, float*);
template void PackColumns<float>(const float*, int64_t, int64_t, int64_t,
                                 float*);
template void AddPackedProduct<float>(const float*, int64_t, int64_t,
                                      const float*, float*);
template bool FoldBlock<float>(const KeyBlock<float>&, const Strip<float>&);
template bool FinishStrip<float>(const Strip<float>&, int64_t, int64_t,
                                 float* const*);
template int64_t StripRows<double>();
template void PackStrip<double>(const double* const*, int64_t, double*);
template void UnpackStrip<double>(const double*, int64_t, int64_t,
                                  double* const*);
template StripProductOf<double> MultiplyStrip<Read::kRows, double>;
template StripProductOf<double> MultiplyStrip<Read::kColumns, double>;
template void AddStripProduct<double>(const double*, int64_t, int64_t, int64_t,
                                      const double*, double*);
template void PackColumns<double>(const double*, int64_t, int64_t, int64_t,
                                  double*);
template void AddPackedProduct<double>(const double*, int64_t, int64_t,
                                       const double*, double*);
template bool FoldBlock<double>(const KeyBlock<double>&, const Strip<double>&);
template bool FinishStrip<double>(const Strip<double>&, int64_t, int64_t,
                                  double* const*);

}  // namespace attention::core
#endif  // HWY_ONCE
