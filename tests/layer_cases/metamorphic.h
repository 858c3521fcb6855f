// What the metamorphic tests share: two computations of the core that must
// agree, to the bit or within the sum of the bounds of both. The values of the
// reference are not used, only its bounds.
#ifndef TESTS_LAYER_CASES_METAMORPHIC_H_
#define TESTS_LAYER_CASES_METAMORPHIC_H_

#include <string>

#include "gtest/gtest.h"
#include "tests/layer_cases/dice.h"
#include "tests/layer_cases/layer_case_change.h"
#include "tests/layer_cases/run_core.h"
#include "tests/reference/compare.h"

namespace attention::core {

class MetamorphicTest : public ::testing::TestWithParam<Dtype> {
 protected:
  static constexpr uint64_t kSeeds = 25;
};

inline std::string NameOf(const ::testing::TestParamInfo<Dtype>& parameter) {
  return DtypeName(parameter.param);
}

// A case and what became of it.
struct Computed {
  explicit Computed(LayerCase layer_case)
      : given(std::move(layer_case)),
        answer(RunCore(given)),
        bounds(Attention(given.problem, ComputePrecision(given.dtype))) {
    EXPECT_TRUE(answer.status.ok()) << answer.status << given.Describe();
  }

  LayerCase given;
  CoreAnswer answer;
  reference::Answer bounds;
};

inline void ExpectSameBits(const std::string& name,
                           const reference::Input& actual,
                           const reference::Input& expected) {
  const auto comparison = CompareBits(name, actual, expected);
  EXPECT_TRUE(comparison.ok) << comparison.message;
}

// |actual - expected| <= the sum of both bounds, element by element.
inline reference::Comparison CompareClose(
    const std::string& name, const reference::Input& actual,
    const reference::Tensor<reference::Bounded>& actual_bounds,
    const reference::Input& expected,
    const reference::Tensor<reference::Bounded>& expected_bounds) {
  reference::Tensor<reference::Bounded> around = expected_bounds;
  for (size_t i = 0; i < around.elements.size(); ++i) {
    around.elements[i].value = expected.elements.at(i);
    around.elements[i].error += actual_bounds.elements.at(i).error;
  }
  return Compare(name, actual, around);
}

inline void ExpectClose(
    const std::string& name, const reference::Input& actual,
    const reference::Tensor<reference::Bounded>& actual_bounds,
    const reference::Input& expected,
    const reference::Tensor<reference::Bounded>& expected_bounds) {
  const auto comparison =
      CompareClose(name, actual, actual_bounds, expected, expected_bounds);
  EXPECT_TRUE(comparison.ok) << comparison.message;
}

// Output, lse and, where both were asked for them, attention weights.
inline void ExpectClose(const Computed& actual, const Computed& expected) {
  ExpectClose("output", actual.answer.output, actual.bounds.output,
              expected.answer.output, expected.bounds.output);
  ExpectClose("lse", actual.answer.lse, actual.bounds.lse, expected.answer.lse,
              expected.bounds.lse);
  if (actual.given.stage && expected.given.stage) {
    ExpectClose("attention weights", actual.answer.matrix,
                actual.bounds.attention_weights, expected.answer.matrix,
                expected.bounds.attention_weights);
  }
}

inline void ExpectSameBits(const CoreAnswer& actual,
                           const CoreAnswer& expected) {
  EXPECT_TRUE(actual.status.ok()) << actual.status;
  EXPECT_TRUE(expected.status.ok()) << expected.status;
  ExpectSameBits("output", actual.output, expected.output);
  ExpectSameBits("matrix", actual.matrix, expected.matrix);
  ExpectSameBits("lse", actual.lse, expected.lse);
}

// Attention over ordinary numbers; lse always, the attention weights for every
// other seed, so that both ways to compute them are met.
inline LayerCase SmallCase(Dtype dtype, uint64_t seed) {
  Dice dice(seed);
  PlainSizes sizes;
  sizes.batch = dice.Between(1, 3);
  sizes.num_kv_heads = dice.Between(1, 2);
  sizes.num_heads = sizes.num_kv_heads * dice.Between(1, 3);
  sizes.query_len = dice.Between(2, 30);
  sizes.kv_len = dice.Between(2, 40);
  sizes.head_dim = dice.Between(1, 20);
  sizes.value_dim = dice.Between(1, 20);
  LayerCase layer_case = PlainCase(dtype, seed, sizes);
  layer_case.lse = true;
  if (seed % 2 == 0) layer_case.stage = Stage::kAttentionWeights;
  return layer_case;
}

inline reference::Shape MatrixShape(const reference::Problem& problem) {
  return {problem.batch(), problem.num_heads, problem.query_len(),
          problem.kv_len()};
}

// A mask of these positions.
template <typename Function>
reference::Input MaskWhere(const reference::Shape& shape, Function attended) {
  auto mask = reference::MakeTensor<double>(shape);
  for (int64_t item = 0; item < shape[0]; ++item) {
    for (int64_t head = 0; head < shape[1]; ++head) {
      for (int64_t row = 0; row < shape[2]; ++row) {
        for (int64_t key = 0; key < shape[3]; ++key) {
          mask.At(item, head, row, key) =
              attended(item, head, row, key) ? 1 : 0;
        }
      }
    }
  }
  return mask;
}

}  // namespace attention::core

#endif  // TESTS_LAYER_CASES_METAMORPHIC_H_
