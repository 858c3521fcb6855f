#include "server/core/attention/dropout.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace attention::core {
namespace {

using ::testing::ElementsAre;

// The known answers published with Random123 (kat_vectors, philox4x32 10).
TEST(DropoutTest, PhiloxGivesThePublishedWords) {
  EXPECT_THAT(Philox({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                     {0xffffffff, 0xffffffff}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                     {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(DropoutTest, ARowMayStartAtAnyKey) {
  const Dropout dropout{0.5, 99};
  std::vector<float> whole(23, 1.0f);
  DropRow<float>(dropout, 1, 2, 3, 0, 23, whole.data());
  for (int64_t first = 0; first < 23; ++first) {
    std::vector<float> part(static_cast<size_t>(23 - first), 1.0f);
    DropRow<float>(dropout, 1, 2, 3, first, 23 - first, part.data());
    EXPECT_EQ(part, std::vector<float>(whole.begin() + first, whole.end()));
  }
}

TEST(DropoutTest, ProbabilityZeroKeepsEveryBit) {
  std::vector<double> row = {0.1, 0.2, 0.7};
  DropRow<double>(Dropout{0, 5}, 0, 0, 0, 0, 3, row.data());
  EXPECT_THAT(row, ElementsAre(0.1, 0.2, 0.7));
}

}  // namespace
}  // namespace attention::core
