#include "server/core/attention/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "proto/all_finite.h"

namespace attention::core {

template <typename T>
void Softcap(T softcap, int64_t count, T* scores) {
  for (int64_t j = 0; j < count; ++j) {
    scores[j] = softcap * std::tanh(scores[j] / softcap);
  }
}

template <typename T>
int64_t FirstNonFinite(const T* scores, int64_t count) {
  if (AllFinite(scores, count)) return kNowhere;
  const T* const found = std::find_if(
      scores, scores + count, [](T score) { return !std::isfinite(score); });
  return found - scores;
}

template <typename T>
int64_t FirstNonFinite(const T* scores, const uint8_t* attended,
                       int64_t count) {
  for (int64_t j = 0; j < count; ++j) {
    if (attended[j] && !std::isfinite(scores[j])) return j;
  }
  return kNowhere;
}

template <typename T>
SoftmaxResult Softmax(const uint8_t* attended, int64_t count, T* scores) {
  constexpr T kLowest = -std::numeric_limits<T>::infinity();
  SoftmaxResult result;
  T max = kLowest;
  for (int64_t j = 0; j < count; ++j) {
    if (!attended[j]) continue;
    result.live = true;
    max = scores[j] > max ? scores[j] : max;
  }
  if (result.live && !std::isfinite(max)) {
    result.finite = false;
    return result;
  }
  double sum = 0;
  for (int64_t j = 0; j < count; ++j) {
    scores[j] = attended[j] ? std::exp(scores[j] - max) : T{0};
    sum += scores[j];
  }
  if (!result.live) {
    result.lse = kLowest;
    return result;
  }
  result.lse = static_cast<double>(max) + std::log(sum);
  result.finite = std::isfinite(static_cast<T>(result.lse));
  const T divisor = static_cast<T>(sum);
  for (int64_t j = 0; j < count; ++j) scores[j] /= divisor;
  return result;
}

template void Softcap<float>(float, int64_t, float*);
template void Softcap<double>(double, int64_t, double*);
template int64_t FirstNonFinite<float>(const float*, int64_t);
template int64_t FirstNonFinite<double>(const double*, int64_t);
template int64_t FirstNonFinite<float>(const float*, const uint8_t*, int64_t);
template int64_t FirstNonFinite<double>(const double*, const uint8_t*, int64_t);
template SoftmaxResult Softmax<float>(const uint8_t*, int64_t, float*);
template SoftmaxResult Softmax<double>(const uint8_t*, int64_t, double*);

}  // namespace attention::core
