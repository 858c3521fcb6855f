#include "proto/codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/field_error.h"

namespace attention {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Accept = TensorView::Accept;
using v1::DATA_TYPE_BFLOAT16;
using v1::DATA_TYPE_BOOL;
using v1::DATA_TYPE_FLOAT16;
using v1::DATA_TYPE_FLOAT32;
using v1::DATA_TYPE_FLOAT64;

template <typename T>
constexpr T kInf = std::numeric_limits<T>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

template <typename T>
std::string Bytes(const std::vector<T>& elements) {
  std::string bytes(elements.size() * sizeof(T), '\0');
  if (!elements.empty()) {
    std::memcpy(bytes.data(), elements.data(), bytes.size());
  }
  return bytes;
}

v1::Tensor WithShape(v1::DataType dtype, const std::vector<int64_t>& shape) {
  v1::Tensor tensor;
  tensor.set_dtype(dtype);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  return tensor;
}

v1::Tensor WithData(v1::DataType dtype, const std::vector<int64_t>& shape,
                    std::string data) {
  v1::Tensor tensor = WithShape(dtype, shape);
  tensor.set_data(std::move(data));
  return tensor;
}

v1::Tensor WithValues(v1::DataType dtype, const std::vector<int64_t>& shape,
                      const std::vector<double>& values) {
  v1::Tensor tensor = WithShape(dtype, shape);
  tensor.mutable_values()->Add(values.begin(), values.end());
  return tensor;
}

TensorView ViewOf(const v1::Tensor& tensor) {
  absl::StatusOr<TensorView> view = TensorView::Of(tensor, "key");
  EXPECT_TRUE(view.ok()) << view.status();
  return *view;
}

template <typename T>
absl::StatusOr<std::vector<T>> ReadAll(const v1::Tensor& tensor,
                                       Accept accept = Accept::kFinite) {
  const TensorView view = ViewOf(tensor);
  std::vector<T> elements(static_cast<size_t>(view.size()));
  absl::Status status = view.Read(0, view.size(), accept, elements.data());
  EXPECT_EQ(view.Check<T>(0, view.size(), accept), status)
      << "Check and Read refuse the same";
  if (!status.ok()) return status;
  return elements;
}

// An INVALID_ARGUMENT whose payload names `field` and whose text is `message`.
void ExpectRefused(const absl::Status& status, const std::string& field,
                   const std::string& message) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorField(status), field);
  EXPECT_EQ(status.message(), message);
}

void ExpectShapeRefused(const v1::Tensor& tensor, const std::string& field,
                        const std::string& message) {
  ExpectRefused(TensorView::Of(tensor, "key").status(), field, message);
}

TEST(Codec, UnspecifiedDtypeIsRefused) {
  ExpectShapeRefused(
      WithData(v1::DATA_TYPE_UNSPECIFIED, {1}, "abcd"), "key.dtype",
      "key.dtype is UNSPECIFIED; expected FLOAT32, FLOAT64, FLOAT16, BFLOAT16 "
      "or BOOL");
}

TEST(Codec, UnknownDtypeIsRefusedByItsNumber) {
  ExpectShapeRefused(
      WithData(static_cast<v1::DataType>(17), {1}, "abcd"), "key.dtype",
      "key.dtype is 17; expected FLOAT32, FLOAT64, FLOAT16, BFLOAT16 or BOOL");
  EXPECT_THAT(TensorView::Of(WithShape(static_cast<v1::DataType>(-1), {0}), "k")
                  .status()
                  .message(),
              HasSubstr("is -1;"));
}

TEST(Codec, RankZeroIsRefused) {
  ExpectShapeRefused(WithData(DATA_TYPE_FLOAT32, {}, "abcd"), "key.shape",
                     "key.shape has 0 axes; expected 1 to 4");
}

TEST(Codec, RankFiveIsRefused) {
  ExpectShapeRefused(WithData(DATA_TYPE_FLOAT32, {1, 1, 1, 1, 1}, "abcd"),
                     "key.shape", "key.shape has 5 axes; expected 1 to 4");
}

TEST(Codec, NegativeAxisIsRefusedEvenWhereAnotherIsZero) {
  ExpectShapeRefused(WithShape(DATA_TYPE_FLOAT32, {0, -1}), "key.shape[1]",
                     "key.shape[1] is -1; expected 0 to 16777216 (max_axis)");
  // Two negative axes have the product of two positive ones.
  ExpectShapeRefused(WithData(DATA_TYPE_FLOAT32, {-1, -1}, "abcd"),
                     "key.shape[0]",
                     "key.shape[0] is -1; expected 0 to 16777216 (max_axis)");
}

TEST(Codec, HugeAxisIsRefusedEvenWhereAnotherIsZero) {
  const int64_t huge = std::numeric_limits<int64_t>::max();
  ExpectShapeRefused(WithShape(DATA_TYPE_FLOAT32, {0, huge}), "key.shape[1]",
                     "key.shape[1] is 9223372036854775807; expected 0 to "
                     "16777216 (max_axis)");
  EXPECT_TRUE(
      TensorView::Of(WithShape(DATA_TYPE_FLOAT32, {0, 1 << 24}), "key").ok());
  ExpectShapeRefused(WithShape(DATA_TYPE_FLOAT32, {0, (1 << 24) + 1}),
                     "key.shape[1]",
                     "key.shape[1] is 16777217; expected 0 to 16777216 "
                     "(max_axis)");
}

TEST(Codec, ProductThatOverflowsIsRefused) {
  const CodecLimits unlimited{std::numeric_limits<int64_t>::max(),
                              std::numeric_limits<int64_t>::max()};
  // 2^32 * 2^32 is 0 modulo 2^64: without the check, no data would fit.
  const v1::Tensor tensor =
      WithShape(DATA_TYPE_FLOAT32, {int64_t{1} << 32, int64_t{1} << 32});
  ExpectRefused(TensorView::Of(tensor, "key", unlimited).status(), "key.shape",
                "key.shape is [4294967296, 4294967296], whose product is more "
                "than the 9223372036854775807 elements a tensor may have");
}

TEST(Codec, ProductOfTheOtherAxesIsBoundedWhereOneIsZero) {
  const int64_t axis = 1 << 24;
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{0, axis, axis, axis},
        std::vector<int64_t>{axis, axis, axis, 0}}) {
    EXPECT_EQ(
        ErrorField(
            TensorView::Of(WithShape(DATA_TYPE_BOOL, shape), "key").status()),
        "key.shape");
  }
}

TEST(Codec, LimitsAreInclusive) {
  const CodecLimits limits{.max_axis = 3, .max_elements = 6};
  EXPECT_TRUE(TensorView::Of(WithData(DATA_TYPE_BOOL, {2, 3}, "\1\1\1\1\1\1"),
                             "mask", limits)
                  .ok());
  ExpectRefused(
      TensorView::Of(WithShape(DATA_TYPE_BOOL, {3, 3}), "mask", limits)
          .status(),
      "mask.shape",
      "mask.shape is [3, 3], whose product is more than the 6 "
      "elements a tensor may have");
}

TEST(Codec, ByteCountMustMatchTheShape) {
  for (const size_t bytes : {23, 25, 12, 48}) {
    ExpectShapeRefused(
        WithData(DATA_TYPE_FLOAT32, {2, 3}, std::string(bytes, 'x')),
        "key.data",
        absl::StrCat("key.data has ", bytes,
                     " bytes but shape [2, 3] of FLOAT32 takes 24"));
  }
}

TEST(Codec, BytesForNoElementsAreRefused) {
  ExpectShapeRefused(
      WithData(DATA_TYPE_FLOAT16, {0, 3}, "ab"), "key.data",
      "key.data has 2 bytes but shape [0, 3] of FLOAT16 takes 0");
  ExpectShapeRefused(WithValues(DATA_TYPE_FLOAT16, {3, 0}, {1}), "key.values",
                     "key.values has 1 elements but shape [3, 0] holds 0");
}

TEST(Codec, ValueCountMustMatchTheShape) {
  ExpectShapeRefused(WithValues(DATA_TYPE_FLOAT32, {2, 2}, {1, 2, 3}),
                     "key.values",
                     "key.values has 3 elements but shape [2, 2] holds 4");
}

TEST(Codec, DataAndValuesTogetherAreRefused) {
  v1::Tensor tensor = WithData(DATA_TYPE_FLOAT32, {1}, "abcd");
  tensor.add_values(1);
  ExpectShapeRefused(tensor, "key",
                     "key has both data (4 bytes) and values (1 elements); "
                     "expected one of them");
}

TEST(Codec, NeitherDataNorValuesIsRefused) {
  ExpectShapeRefused(
      WithShape(DATA_TYPE_FLOAT32, {2, 3}), "key",
      "key has neither data nor values; shape [2, 3] holds 6 elements");
}

TEST(Codec, NoElementsNeedNeitherDataNorValues) {
  const v1::Tensor tensor = WithShape(DATA_TYPE_FLOAT32, {2, 0, 3});
  EXPECT_EQ(ViewOf(tensor).size(), 0);
  EXPECT_FALSE(ViewOf(tensor).has_values());
  EXPECT_THAT(ViewOf(tensor).shape(), ElementsAre(2, 0, 3));
  EXPECT_TRUE(ReadAll<float>(tensor).ok());
}

TEST(Codec, EachFloatTypeReadsAsFloatAndDouble) {
  const std::vector<double> numbers = {0.5, -2, 1024};
  const v1::Tensor tensors[] = {
      WithData(DATA_TYPE_FLOAT32, {3}, Bytes<float>({0.5f, -2, 1024})),
      WithData(DATA_TYPE_FLOAT64, {3}, Bytes<double>({0.5, -2, 1024})),
      WithData(DATA_TYPE_FLOAT16, {3},
               Bytes<uint16_t>({0x3800, 0xc000, 0x6400})),
      WithData(DATA_TYPE_BFLOAT16, {3},
               Bytes<uint16_t>({0x3f00, 0xc000, 0x4480})),
      WithValues(DATA_TYPE_FLOAT16, {3}, numbers),
  };
  for (const v1::Tensor& tensor : tensors) {
    EXPECT_THAT(*ReadAll<float>(tensor), ElementsAre(0.5f, -2, 1024));
    EXPECT_THAT(*ReadAll<double>(tensor), ElementsAre(0.5, -2, 1024));
  }
}

TEST(Codec, PartOfATensorIsReadAndOnlyItIsChecked) {
  const v1::Tensor tensor =
      WithValues(DATA_TYPE_FLOAT32, {4}, {kNan, 1, 2, kNan});
  float elements[2];
  ASSERT_TRUE(ViewOf(tensor).Read(1, 2, Accept::kFinite, elements).ok());
  EXPECT_THAT(elements, ElementsAre(1, 2));
  EXPECT_TRUE(ViewOf(tensor).Check<float>(1, 2, Accept::kFinite).ok());
  EXPECT_FALSE(ViewOf(tensor).Check<float>(1, 3, Accept::kFinite).ok());
}

TEST(Codec, UnalignedDataReadsRight) {
  const v1::Tensor tensors[] = {
      WithData(DATA_TYPE_FLOAT32, {3}, Bytes<float>({0.5f, -2, 1024})),
      WithData(DATA_TYPE_FLOAT64, {3}, Bytes<double>({0.5, -2, 1024})),
      WithData(DATA_TYPE_FLOAT16, {3},
               Bytes<uint16_t>({0x3800, 0xc000, 0x6400}))};
  for (const v1::Tensor& tensor : tensors) {
    alignas(8) char buffer[32];
    for (size_t offset = 0; offset < 8; ++offset) {
      std::copy(tensor.data().begin(), tensor.data().end(), buffer + offset);
      const absl::StatusOr<TensorView> view = TensorView::Of(
          tensor, absl::string_view(buffer + offset, tensor.data().size()),
          "key", {});
      ASSERT_TRUE(view.ok());
      float as_float[3];
      ASSERT_TRUE(view->Read(0, 3, Accept::kFinite, as_float).ok());
      EXPECT_THAT(as_float, ElementsAre(0.5f, -2, 1024));
      double as_double[3];
      ASSERT_TRUE(view->Read(0, 3, Accept::kFinite, as_double).ok());
      EXPECT_THAT(as_double, ElementsAre(0.5, -2, 1024));
      EXPECT_EQ(view->InPlace<float>() != nullptr,
                tensor.dtype() == DATA_TYPE_FLOAT32 && offset % 4 == 0);
      EXPECT_EQ(view->InPlace<double>() != nullptr,
                tensor.dtype() == DATA_TYPE_FLOAT64 && offset == 0);
    }
  }
}

TEST(Codec, InPlaceIsOnlyForTheSameType) {
  const v1::Tensor singles =
      WithData(DATA_TYPE_FLOAT32, {2}, Bytes<float>({1, 2}));
  ASSERT_NE(ViewOf(singles).InPlace<float>(), nullptr);
  EXPECT_EQ(ViewOf(singles).InPlace<float>()[1], 2);
  EXPECT_EQ(ViewOf(singles).InPlace<double>(), nullptr);
  EXPECT_EQ(ViewOf(singles).InPlace<uint8_t>(), nullptr);

  const v1::Tensor halves = WithData(DATA_TYPE_FLOAT16, {2}, "abcd");
  EXPECT_EQ(ViewOf(halves).InPlace<float>(), nullptr);

  const v1::Tensor values = WithValues(DATA_TYPE_FLOAT32, {2}, {1, 2});
  EXPECT_EQ(ViewOf(values).InPlace<float>(), nullptr);
  EXPECT_EQ(ViewOf(values).InPlace<double>(), nullptr)
      << "values of FLOAT32 must be rounded";
  const v1::Tensor doubles = WithValues(DATA_TYPE_FLOAT64, {2}, {1, 2});
  ASSERT_NE(ViewOf(doubles).InPlace<double>(), nullptr);
  EXPECT_EQ(ViewOf(doubles).InPlace<double>()[1], 2);
}

TEST(Codec, NanIsRefusedByItsIndex) {
  std::vector<float> numbers(6);
  numbers[4] = std::nanf("");
  ExpectRefused(
      ReadAll<float>(WithData(DATA_TYPE_FLOAT32, {2, 3}, Bytes(numbers)))
          .status(),
      "key.data", "key.data at index [1, 1] is NaN; expected a finite number");
  ExpectRefused(
      ReadAll<float>(WithValues(DATA_TYPE_FLOAT16, {1, 3}, {0, 1, kNan}))
          .status(),
      "key.values[2]",
      "key.values[2] (index [0, 2]) is NaN; expected a finite number");
}

TEST(Codec, InfinityIsRefusedInEveryType) {
  const v1::Tensor tensors[] = {
      WithData(DATA_TYPE_FLOAT32, {1}, Bytes<float>({kInf<float>})),
      WithData(DATA_TYPE_FLOAT64, {1}, Bytes<double>({-kInf<double>})),
      WithData(DATA_TYPE_FLOAT16, {1}, Bytes<uint16_t>({0x7c00})),
      WithData(DATA_TYPE_BFLOAT16, {1}, Bytes<uint16_t>({0xff80})),
      WithValues(DATA_TYPE_FLOAT64, {1}, {kInf<double>}),
  };
  for (const v1::Tensor& tensor : tensors) {
    for (const absl::Status& status :
         {ReadAll<float>(tensor).status(), ReadAll<double>(tensor).status()}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("inf; expected a finite number"));
    }
  }
}

TEST(Codec, FirstOfSeveralRefusedElementsIsNamed) {
  // Beyond one run of conversion, so that the index counts from the tensor.
  std::vector<float> numbers(5000);
  numbers[4321] = kInf<float>;
  numbers[4322] = -kInf<float>;
  ExpectRefused(
      ReadAll<double>(WithData(DATA_TYPE_FLOAT32, {5, 1000}, Bytes(numbers)))
          .status(),
      "key.data",
      "key.data at index [4, 321] is +inf; expected a finite number");
}

TEST(Codec, MinusInfinityIsAcceptedWhereAskedFor) {
  const Accept accept = Accept::kFiniteOrMinusInf;
  const v1::Tensor tensors[] = {
      WithData(DATA_TYPE_FLOAT32, {2}, Bytes<float>({-kInf<float>, 1})),
      WithData(DATA_TYPE_FLOAT64, {2}, Bytes<double>({-kInf<double>, 1})),
      WithData(DATA_TYPE_FLOAT16, {2}, Bytes<uint16_t>({0xfc00, 0x3c00})),
      WithValues(DATA_TYPE_BFLOAT16, {2}, {-kInf<double>, 1}),
  };
  for (const v1::Tensor& tensor : tensors) {
    EXPECT_THAT(*ReadAll<float>(tensor, accept), ElementsAre(-kInf<float>, 1));
    EXPECT_THAT(*ReadAll<double>(tensor, accept),
                ElementsAre(-kInf<double>, 1));
  }
  ExpectRefused(
      ReadAll<float>(WithValues(DATA_TYPE_FLOAT32, {1}, {kInf<double>}), accept)
          .status(),
      "key.values[0]",
      "key.values[0] (index [0]) is +inf; expected a finite number or -inf");
  EXPECT_FALSE(ReadAll<float>(WithData(DATA_TYPE_FLOAT32, {1},
                                       Bytes<float>({-std::nanf("")})),
                              accept)
                   .ok());
}

TEST(Codec, FiniteNumberNeverTurnsIntoMinusInfinity) {
  const Accept accept = Accept::kFiniteOrMinusInf;
  ExpectRefused(
      ReadAll<float>(WithData(DATA_TYPE_FLOAT64, {2},
                              Bytes<double>({-kInf<double>, -1e300})),
                     accept)
          .status(),
      "key.data",
      "key.data at index [1] is -1e+300; expected a number in the range of "
      "FLOAT32, which the computation is in");
  ExpectRefused(
      ReadAll<double>(
          WithValues(DATA_TYPE_FLOAT16, {2}, {-kInf<double>, -65520}), accept)
          .status(),
      "key.values[1]",
      "key.values[1] (index [1]) is -65520; expected a number in the range of "
      "FLOAT16");
}

TEST(Codec, DoubleBeyondFloatIsRefusedWhenReadAsFloat) {
  const v1::Tensor tensor =
      WithData(DATA_TYPE_FLOAT64, {2}, Bytes<double>({1, 1e39}));
  EXPECT_THAT(*ReadAll<double>(tensor), ElementsAre(1, 1e39));
  ExpectRefused(ReadAll<float>(tensor).status(), "key.data",
                "key.data at index [1] is 1e+39; expected a number in the "
                "range of FLOAT32, which the computation is in");
}

TEST(Codec, ValueBeyondItsDtypeIsRefused) {
  const double float_edge = std::ldexp(2 - std::ldexp(1, -24), 127);
  const double bfloat_edge = std::ldexp(2 - std::ldexp(1, -8), 127);
  const struct {
    v1::DataType dtype;
    double edge;  // the first number that rounds to infinity
  } cases[] = {{DATA_TYPE_FLOAT16, 65520},
               {DATA_TYPE_BFLOAT16, bfloat_edge},
               {DATA_TYPE_FLOAT32, float_edge}};
  for (const auto& [dtype, edge] : cases) {
    const double inside = std::nextafter(edge, 0);
    EXPECT_TRUE(ReadAll<float>(WithValues(dtype, {2}, {inside, -inside})).ok());
    for (const double outside : {edge, -edge, 1e300}) {
      const absl::Status status =
          ReadAll<double>(WithValues(dtype, {1}, {outside})).status();
      EXPECT_EQ(ErrorField(status), "key.values[0]");
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("in the range of " + DataTypeName(dtype)));
    }
  }
  EXPECT_THAT(*ReadAll<float>(WithValues(DATA_TYPE_FLOAT16, {1}, {65519.9})),
              ElementsAre(65504));
}

TEST(Codec, ValuesAreRoundedToTheirDtype) {
  // 1 + 2^-11 lies halfway between two halves and goes to the even one; a bit
  // more goes up, unless it was rounded to float on the way.
  const double tie = 1 + std::ldexp(1, -11);
  const double above = tie + std::ldexp(1, -40);
  EXPECT_THAT(
      *ReadAll<double>(WithValues(DATA_TYPE_FLOAT16, {2}, {tie, above})),
      ElementsAre(1, 1 + std::ldexp(1, -10)));
  EXPECT_THAT(*ReadAll<double>(WithValues(DATA_TYPE_FLOAT32, {1}, {0.1})),
              ElementsAre(double{0.1f}));
  EXPECT_THAT(*ReadAll<double>(WithValues(DATA_TYPE_FLOAT64, {1}, {0.1})),
              ElementsAre(0.1));
}

TEST(Codec, NegativeZeroKeepsItsSign) {
  for (const v1::DataType dtype : {DATA_TYPE_FLOAT32, DATA_TYPE_FLOAT64,
                                   DATA_TYPE_FLOAT16, DATA_TYPE_BFLOAT16}) {
    v1::Tensor tensor;
    ASSERT_TRUE(
        EncodeTensor<float>({-0.0f}, {1}, dtype, false, "f", tensor).ok());
    EXPECT_TRUE(std::signbit((*ReadAll<float>(tensor))[0]));
    EXPECT_TRUE(
        std::signbit((*ReadAll<double>(WithValues(dtype, {1}, {-0.0})))[0]));
  }
}

absl::StatusOr<std::vector<uint8_t>> ReadBools(const v1::Tensor& tensor) {
  const TensorView view = ViewOf(tensor);
  std::vector<uint8_t> elements(static_cast<size_t>(view.size()));
  absl::Status status = view.ReadBool(elements.data());
  EXPECT_EQ(view.CheckBool(), status);
  if (!status.ok()) return status;
  return elements;
}

TEST(Codec, BoolReadsFromBytesAndValues) {
  EXPECT_THAT(*ReadBools(WithData(DATA_TYPE_BOOL, {3}, {0, 1, 1})),
              ElementsAre(0, 1, 1));
  EXPECT_THAT(*ReadBools(WithValues(DATA_TYPE_BOOL, {4}, {1, 0, -0.0, 1})),
              ElementsAre(1, 0, 0, 1));
}

TEST(Codec, BoolOtherThanZeroAndOneIsRefused) {
  ExpectRefused(
      ReadBools(WithData(DATA_TYPE_BOOL, {3}, "\1\1\2")).status(), "key.data",
      "key.data at index [2] is 2; expected 0 or 1, as dtype is BOOL");
  ExpectRefused(
      ReadBools(WithData(DATA_TYPE_BOOL, {2}, "\1\xff")).status(), "key.data",
      "key.data at index [1] is 255; expected 0 or 1, as dtype is BOOL");
  for (const double value : {0.5, -1.0, 2.0, kNan, 1 + 1e-15}) {
    EXPECT_EQ(ErrorField(
                  ReadBools(WithValues(DATA_TYPE_BOOL, {1}, {value})).status()),
              "key.values[0]");
  }
}

TEST(Codec, EncodedTensorReadsBackInEveryFloatType) {
  const std::vector<double> numbers = {0.5, -2, 1024, 0, 65504, -kInf<double>};
  const std::vector<int64_t> shape = {2, 3};
  for (const v1::DataType dtype : {DATA_TYPE_FLOAT32, DATA_TYPE_FLOAT64,
                                   DATA_TYPE_FLOAT16, DATA_TYPE_BFLOAT16}) {
    for (const bool as_values : {false, true}) {
      v1::Tensor tensor;
      ASSERT_TRUE(EncodeTensor<double>(numbers, shape, dtype, as_values,
                                       "output", tensor)
                      .ok());
      EXPECT_EQ(ViewOf(tensor).has_values(), as_values);
      EXPECT_EQ(ViewOf(tensor).shape(), shape);
      EXPECT_EQ(ViewOf(tensor).dtype(), dtype);
      // 65504 has more bits than a bfloat16; it rounds up to 65536.
      std::vector<double> expected = numbers;
      if (dtype == DATA_TYPE_BFLOAT16) expected[4] = 65536;
      EXPECT_EQ(*ReadAll<double>(tensor, Accept::kFiniteOrMinusInf), expected);
    }
  }
}

TEST(Codec, ResultBeyondItsDtypeIsRefusedByItsIndex) {
  std::vector<float> numbers(3000, 1);
  numbers[2999] = 65520;
  v1::Tensor tensor;
  ExpectRefused(EncodeTensor<float>(numbers, {3, 1000}, DATA_TYPE_FLOAT16,
                                    false, "output", tensor),
                "output",
                "output at index [2, 999] is 65520; expected a number in the "
                "range of FLOAT16");
  EXPECT_TRUE(EncodeTensor<float>(numbers, {3, 1000}, DATA_TYPE_BFLOAT16, false,
                                  "output", tensor)
                  .ok());
}

TEST(Codec, EncodingReplacesWhatTheTensorHeld) {
  v1::Tensor tensor = WithValues(DATA_TYPE_BOOL, {2}, {1, 1});
  ASSERT_TRUE(
      EncodeTensor<float>({}, {0, 4}, DATA_TYPE_FLOAT32, true, "f", tensor)
          .ok());
  EXPECT_THAT(ViewOf(tensor).shape(), ElementsAre(0, 4));
  EXPECT_FALSE(ViewOf(tensor).has_values());
}

}  // namespace
}  // namespace attention
