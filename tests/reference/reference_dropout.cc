#include "tests/reference/reference_attention.h"

namespace attention::reference {

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key) {
  auto [x0, x1, x2, x3] = counter;
  auto [k0, k1] = key;
  for (int round = 0; round < 10; ++round) {
    const uint64_t left = uint64_t{0xD2511F53} * x0;
    const uint64_t right = uint64_t{0xCD9E8D57} * x2;
    x0 = static_cast<uint32_t>(right >> 32) ^ x1 ^ k0;
    x1 = static_cast<uint32_t>(right);
    x2 = static_cast<uint32_t>(left >> 32) ^ x3 ^ k1;
    x3 = static_cast<uint32_t>(left);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {x0, x1, x2, x3};
}

bool Dropped(const Dropout& dropout, int64_t item, int64_t head, int64_t row,
             int64_t key) {
  const uint64_t seed = dropout.seed + static_cast<uint64_t>(item);
  const auto words =
      Philox({static_cast<uint32_t>(key / 4), static_cast<uint32_t>(row),
              static_cast<uint32_t>(head), 0},
             {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const auto word = static_cast<double>(words[static_cast<size_t>(key % 4)]);
  return word < dropout.probability * 4294967296.0;
}

}  // namespace attention::reference
