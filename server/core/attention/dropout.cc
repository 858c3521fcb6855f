#include "server/core/attention/dropout.h"

namespace attention::core {

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9;  // golden ratio
  constexpr uint32_t kWeyl1 = 0xBB67AE85;  // sqrt(3) - 1
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

template <typename T>
void DropRow(const Dropout& dropout, int64_t batch, int64_t head, int64_t row,
             int64_t first_key, int64_t count, T* weights) {
  const uint64_t seed = dropout.seed + static_cast<uint64_t>(batch);
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  const double threshold = dropout.probability * 4294967296.0;
  const T scale = static_cast<T>(1.0 / (1.0 - dropout.probability));
  std::array<uint32_t, 4> words{};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t j = first_key + i;
    if (i == 0 || j % 4 == 0) {
      words = Philox({static_cast<uint32_t>(j / 4), static_cast<uint32_t>(row),
                      static_cast<uint32_t>(head), 0},
                     key);
    }
    const bool dropped = words[static_cast<size_t>(j % 4)] < threshold;
    weights[i] = dropped ? T{0} : weights[i] * scale;
  }
}

template void DropRow<float>(const Dropout&, int64_t, int64_t, int64_t, int64_t,
                             int64_t, float*);
template void DropRow<double>(const Dropout&, int64_t, int64_t, int64_t,
                              int64_t, int64_t, double*);

}  // namespace attention::core
