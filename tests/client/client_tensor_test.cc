// Elements in memory <-> tensors, as a user of the client library sees it.
#include "attention/tensor.h"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"

namespace attention::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(ClientTensorTest, FloatsAreFloat32Bytes) {
  const std::vector<float> elements = {1.5f, -2.0f, 0.1f, 4.0f, 5.0f, 6.0f};
  const v1::Tensor tensor = MakeTensor(elements, {2, 3});
  EXPECT_EQ(tensor.dtype(), v1::DATA_TYPE_FLOAT32);
  EXPECT_THAT(tensor.shape(), ElementsAre(2, 3));
  ASSERT_EQ(tensor.data().size(), elements.size() * sizeof(float));
  EXPECT_EQ(
      std::memcmp(tensor.data().data(), elements.data(), tensor.data().size()),
      0);
  EXPECT_EQ(ReadFloats(tensor).value(), elements);
}

TEST(ClientTensorTest, DoublesAreFloat64) {
  const std::vector<double> elements = {0.1, -0.2};
  const v1::Tensor tensor = MakeTensor(elements, {2, 1});
  EXPECT_EQ(tensor.dtype(), v1::DATA_TYPE_FLOAT64);
  EXPECT_EQ(ReadDoubles(tensor).value(), elements);
}

TEST(ClientTensorTest, ElementsAreRoundedToTheDtype) {
  // 1 + 2^-11 is half way between two binary16 numbers, 1 + 3 * 2^-11 too.
  const std::vector<double> elements = {1 + 0x1p-11, 1 + 3 * 0x1p-11};
  const auto tensor = MakeTensor(elements, {2}, v1::DATA_TYPE_FLOAT16);
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->data().size(), 4u);
  EXPECT_THAT(ReadDoubles(*tensor).value(), ElementsAre(1, 1 + 0x1p-9));
}

TEST(ClientTensorTest, NumberBeyondTheDtypeIsRefusedByIndex) {
  const auto tensor =
      MakeTensor(std::vector<double>{1, 70000}, {1, 2}, v1::DATA_TYPE_FLOAT16);
  EXPECT_EQ(tensor.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tensor.status().message()), HasSubstr("[0, 1]"));
}

TEST(ClientTensorTest, CountThatIsNotTheShapesIsRefused) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{},
                                            {3},
                                            {0},
                                            {-2, -1},
                                            {1 << 30, 1 << 30, 1 << 30}}) {
    EXPECT_FALSE(
        MakeTensor(std::vector<double>{1, 1e300}, shape, v1::DATA_TYPE_FLOAT32)
            .ok());
  }
}

TEST(ClientTensorTest, DtypeThatIsNoFloatIsRefused) {
  EXPECT_FALSE(
      MakeTensor(std::vector<double>{1}, {1}, v1::DATA_TYPE_BOOL).ok());
  EXPECT_FALSE(ReadFloats(MakeMask(std::vector<uint8_t>{1}, {1})).ok());
  EXPECT_FALSE(ReadMask(MakeTensor(std::vector<float>{1}, {1})).ok());
}

TEST(ClientTensorTest, MinusInfinitySurvives) {
  const v1::Tensor tensor = MakeTensor(std::vector<double>{-kInfinity, 0}, {2});
  EXPECT_THAT(ReadDoubles(tensor).value(), ElementsAre(-kInfinity, 0));
  EXPECT_THAT(ReadFloats(tensor).value(), ElementsAre(-kInfinity, 0));
}

TEST(ClientTensorTest, ValuesAreReadLikeData) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_FLOAT32);
  tensor.add_shape(2);
  tensor.add_values(0.1);
  tensor.add_values(2);
  EXPECT_THAT(ReadFloats(tensor).value(), ElementsAre(0.1f, 2.0f));
}

TEST(ClientTensorTest, DamagedTensorIsRefused) {
  v1::Tensor tensor = MakeTensor(std::vector<float>{1, 2}, {2});
  tensor.mutable_data()->pop_back();
  EXPECT_EQ(ReadFloats(tensor).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ClientTensorTest, MaskIsReadBack) {
  const std::vector<uint8_t> attend = {1, 0, 0, 1};
  EXPECT_EQ(ReadMask(MakeMask(attend, {2, 2})).value(), attend);
}

}  // namespace
}  // namespace attention::client
