// The core against PyTorch, by the files of tests/goldens.
//
// Tolerance. A golden holds PyTorch's float64 result and a bound B such that
// any correct computation with unit round-off u is within B u of real
// arithmetic (tests/goldens/error_bound.py). PyTorch's is, with u = 2^-53, and
// so is ours, with u of the type computed in: the two may differ by B (u +
// 2^-53).
#include <exception>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/attention/attention.h"
#include "tests/goldens/golden_file.h"
#include "tests/layer_cases/layer_case.h"
#include "tests/layer_cases/run_core.h"
#include "tests/reference/compare.h"
#include "tests/reference/reference_attention.h"

namespace attention {
namespace {

using core::CoreAnswer;
using core::Dtype;
using core::LayerCase;
using core::Stage;
using reference::Bounded;
using reference::Expected;
using reference::Golden;
using reference::Input;
using reference::Tensor;

constexpr double kFloat32Unit = 0x1p-24;
constexpr double kFloat64Unit = 0x1p-53;

std::vector<Golden> AllGoldens() {
  std::vector<Golden> goldens;
  for (const char* file : {"attention.json", "layer.json", "chapter.json"}) {
    for (Golden& golden : reference::ReadGoldens(std::string(GOLDENS) + file)) {
      goldens.push_back(std::move(golden));
    }
  }
  return goldens;
}

// An attention matrix that a golden may hold.
struct Matrix {
  Stage stage;
  bool mean = false;
};

const std::map<std::string, Matrix>& Matrices() {
  static const auto* matrices = new std::map<std::string, Matrix>{
      {"scores", {Stage::kScores}},
      {"softcapped", {Stage::kSoftcapped}},
      {"biased", {Stage::kBiased}},
      {"attention_weights", {Stage::kAttentionWeights}},
      {"attention_weights_mean", {Stage::kAttentionWeights, true}}};
  return *matrices;
}

// PyTorch's result, with the tolerance of a computation of unit round-off u.
Tensor<Bounded> Judge(const Expected& expected, double u) {
  const double tolerance = expected.bound * (u + kFloat64Unit);
  Tensor<Bounded> judge{expected.value.shape, {}};
  for (const double element : expected.value.elements) {
    judge.elements.push_back({element, tolerance});
  }
  return judge;
}

class GoldenTest : public testing::TestWithParam<Golden> {
 protected:
  // The core agrees in every result of the golden. Asked for no matrix, the
  // core goes through the keys in tiles; asked for one, it keeps every score:
  // the output must be right both ways.
  void ExpectAgreement(Dtype dtype) const {
    const double unit = dtype == Dtype::kFloat64 ? kFloat64Unit : kFloat32Unit;
    LayerCase layer_case;
    layer_case.dtype = dtype;
    layer_case.problem = GetParam().problem;
    if (GetParam().top_k > 0) layer_case.top_k = GetParam().top_k;
    layer_case.lse = true;
    Expect(core::RunCore(layer_case), "", unit);

    for (const auto& [name, matrix] : Matrices()) {
      if (!GetParam().expected.contains(name)) continue;
      layer_case.stage = matrix.stage;
      layer_case.mean = matrix.mean;
      Expect(core::RunCore(layer_case), name, unit);
    }
  }

 private:
  static void Expect(const CoreAnswer& answer, const std::string& matrix,
                     double unit) {
    ASSERT_TRUE(answer.status.ok()) << answer.status;
    const std::map<std::string, const Input*> found = {
        {matrix, &answer.matrix},
        {"output", &answer.output},
        {"lse", &answer.lse},
        {"top_k_weights", &answer.top_k_weights},
        {"top_k_indices", &answer.top_k_indices}};
    int compared = 0;
    for (const auto& [name, expected] : GetParam().expected) {
      if (!found.contains(name)) continue;
      const reference::Comparison comparison =
          reference::Compare(name, *found.at(name), Judge(expected, unit));
      EXPECT_TRUE(comparison.ok) << comparison.message;
      ++compared;
    }
    EXPECT_TRUE(compared > 0 || matrix.empty());
  }
};

TEST_P(GoldenTest, Float64AgreesWithTorch) { ExpectAgreement(Dtype::kFloat64); }

TEST_P(GoldenTest, Float32AgreesWithTorch) { ExpectAgreement(Dtype::kFloat32); }

// The oracle of the other tests is itself judged by PyTorch: the reference's
// bounds hold for PyTorch's float64.
TEST_P(GoldenTest, ReferenceAgreesWithTorch) {
  const Golden& golden = GetParam();
  const reference::Answer answer =
      reference::Attention(golden.problem, reference::Float64Precision());
  const std::map<std::string, const Tensor<Bounded>*> answers = {
      {"output", &answer.output},
      {"scores", &answer.scores},
      {"softcapped", &answer.softcapped},
      {"biased", &answer.biased},
      {"attention_weights", &answer.attention_weights},
      {"attention_weights_mean", &answer.mean_weights},
      {"lse", &answer.lse}};
  for (const auto& [name, expected] : golden.expected) {
    if (name.starts_with("top_k")) continue;
    const reference::Comparison comparison =
        reference::Compare(name, expected.value, *answers.at(name));
    EXPECT_TRUE(comparison.ok) << comparison.message;
  }
  if (golden.top_k > 0) {
    const reference::Comparison comparison = reference::CompareTopK(
        golden.expected.at("top_k_weights").value,
        golden.expected.at("top_k_indices").value, answer);
    EXPECT_TRUE(comparison.ok) << comparison.message;
  }
}

INSTANTIATE_TEST_SUITE_P(Torch, GoldenTest, testing::ValuesIn(AllGoldens()),
                         [](const testing::TestParamInfo<Golden>& golden) {
                           return golden.param.name;
                         });

TEST(GoldenFile, EveryResultIsOneThatIsCompared) {
  for (const Golden& golden : AllGoldens()) {
    for (const auto& [name, expected] : golden.expected) {
      EXPECT_TRUE(Matrices().contains(name) || name == "output" ||
                  name == "lse" || name == "top_k_weights" ||
                  name == "top_k_indices")
          << golden.name << ": " << name;
    }
  }
}

TEST(GoldenFile, BoundsAreTightEnoughToCatchMistakes) {
  for (const Golden& golden : AllGoldens()) {
    for (const auto& [name, expected] : golden.expected) {
      // 1e-3 in float32 is smaller than any mistake in formula or option makes.
      EXPECT_LT(expected.bound * kFloat32Unit, 1e-3)
          << golden.name << ": " << name;
    }
  }
}

TEST(GoldenFile, MissingFileIsRefused) {
  EXPECT_THROW(reference::ReadGoldens("/nonexistent.json"), std::exception);
}

}  // namespace
}  // namespace attention
