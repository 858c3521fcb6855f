#include "server/core/attention/cost.h"

#include <cstdint>
#include <limits>

#include "gtest/gtest.h"
#include "server/core/layer/layer.h"
#include "server/core/saturating.h"

namespace attention::core {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(CostTest, CountsEveryPositionOfScoresAndOutput) {
  EXPECT_EQ(AttentionMultiplyAdds({2, 3, 1, 5, 7, 11, 13}),
            2 * 3 * 5 * 7 * (11 + 13));
  EXPECT_EQ(ProjectionMultiplyAdds(5, 7, 11), 5 * 7 * 11);
}

TEST(CostTest, SaturatesInsteadOfOverflowing) {
  constexpr int64_t kHuge = int64_t{1} << 40;
  EXPECT_EQ(AttentionMultiplyAdds({kHuge, 1, 1, kHuge, kHuge, 1, 1}), kMax);
  EXPECT_EQ(AttentionMultiplyAdds({0, 1, 1, kHuge, kHuge, 1, 1}), 0);
  AttentionInputs<float> inputs;
  inputs.query.shape = {1, 1, 1, 1};
  inputs.key.shape = inputs.value.shape = {1, 1, kMax, 1};
  EXPECT_EQ(AttentionWorkspaceBytes<float>(inputs, {}, {}), kMax);
  EXPECT_EQ(SaturatingAdd(kMax, 1), kMax);
}

TEST(CostTest, ALayerCountsItsProjections) {
  LayerWeights<float> weights;
  weights.num_heads = 2;
  weights.num_kv_heads = 1;
  weights.query = {nullptr, nullptr, 5, 6, Layout::kInOut};
  weights.key = {nullptr, nullptr, 4, 3, Layout::kInOut};
  weights.value = {nullptr, nullptr, 7, 2, Layout::kInOut};
  const int64_t attention = AttentionMultiplyAdds({3, 2, 1, 10, 20, 3, 2});
  EXPECT_EQ(LayerMultiplyAdds(weights, 3, 10, 20),
            attention + int64_t{3} * (10 * 5 * 6 + 20 * 4 * 3 + 20 * 7 * 2));
  // Query, key and value, each in whole lines of 64 bytes: 180, 180 and 120
  // numbers; then the context, 120.
  EXPECT_EQ(LayerBytes(weights, 3, 10, 20), int64_t{4} * (192 + 192 + 128));
  weights.output = {nullptr, nullptr, 4, 9, Layout::kInOut};
  EXPECT_EQ(LayerBytes(weights, 3, 10, 20),
            int64_t{4} * (192 + 192 + 128 + 128));
}

}  // namespace
}  // namespace attention::core
