// Thousands of random computations, all options together, each element within
// the bound that reference_attention.h derives.
//
// ATTENTION_PROPERTY_SEED=<n> judges that one case only, which is how a failure
// is replayed. ATTENTION_TEST_SCALE=<x> multiplies the number of cases.
#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/layer_cases/property_suite.h"
#include "tests/layer_cases/test_scale.h"

namespace attention::core {
namespace {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::Lt;

// Shows what replays each failure, but not thousands of them.
void ExpectNoFailures(const SuiteReport& report) {
  constexpr size_t kShown = 10;
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  for (size_t i = 0; i < report.failures.size() && i < kShown; ++i) {
    ADD_FAILURE() << report.failures[i]
                  << "\n  replay with ATTENTION_PROPERTY_SEED=<seed> "
                     "property_test --gtest_filter="
                  << test->test_suite_name() << "." << test->name();
  }
  EXPECT_EQ(report.failures.size(), 0u);
}

void RunSuite(Dtype dtype) {
  const char* seed = std::getenv("ATTENTION_PROPERTY_SEED");
  if (seed != nullptr) {
    ExpectNoFailures(RunPropertySuite(dtype, std::stoull(seed), 1));
    return;
  }
  const SuiteReport report =
      RunPropertySuite(dtype, kFirstPropertySeed, Scaled(PropertyCases(dtype)));
  ExpectNoFailures(report);
  // A bound that no error comes near would prove nothing: with a tenth of it
  // reached somewhere, errors ten times as large do not pass.
  for (const auto& [name, comparison] : report.worst) {
    std::printf("%-18s %9lld elements, worst error %.3g of its bound\n",
                name.c_str(), static_cast<long long>(comparison.elements),
                comparison.worst_ratio);
    if (dtype == Dtype::kFloat32 || dtype == Dtype::kFloat64) {
      EXPECT_THAT(comparison.worst_ratio, AllOf(Gt(0.1), Lt(1))) << name;
    }
  }
  EXPECT_GT(report.Total().worst_ratio, 0.1);
}

TEST(PropertyTest, Float32StaysWithinItsBounds) { RunSuite(Dtype::kFloat32); }
TEST(PropertyTest, Float64StaysWithinItsBounds) { RunSuite(Dtype::kFloat64); }
TEST(PropertyTest, Float16StaysWithinItsBounds) { RunSuite(Dtype::kFloat16); }
TEST(PropertyTest, Bfloat16StaysWithinItsBounds) { RunSuite(Dtype::kBfloat16); }

}  // namespace
}  // namespace attention::core
