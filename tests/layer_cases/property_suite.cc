#include "tests/layer_cases/property_suite.h"

#include <sstream>

namespace attention::core {
namespace {

using reference::Answer;
using reference::Bounded;
using reference::Comparison;
using reference::Tensor;

// The output of the reference, rounded once more if the dtype is.
Tensor<Bounded> ExpectedOutput(const LayerCase& layer_case,
                               const Answer& expected) {
  Tensor<Bounded> output = expected.output;
  if (const auto format = OutputFormat(layer_case.dtype)) {
    for (Bounded& element : output.elements) {
      element = RoundedToFormat(element, *format);
    }
  }
  return output;
}

void JudgeMatrix(const LayerCase& layer_case, const CoreAnswer& answer,
                 const Answer& expected, Judgement& judgement) {
  const auto compare = [&](const char* name, const Tensor<Bounded>& stage) {
    judgement[name] = Compare(name, answer.matrix, stage);
  };
  if (layer_case.mean) {
    compare("MEAN", expected.mean_weights);
    return;
  }
  switch (*layer_case.stage) {
    case Stage::kScores:
      compare("SCORES", expected.scores);
      break;
    case Stage::kSoftcapped:
      compare("SOFTCAPPED", expected.softcapped);
      break;
    case Stage::kBiased:
      compare("BIASED", expected.biased);
      break;
    case Stage::kAttentionWeights:
      compare("ATTENTION_WEIGHTS", expected.attention_weights);
      break;
  }
}

}  // namespace

Judgement Judge(const LayerCase& layer_case, const CoreAnswer& answer) {
  Judgement judgement;
  if (!answer.status.ok()) {
    Comparison& refused = judgement["output"];
    refused.ok = false;
    refused.message = std::string(answer.status.message());
    return judgement;
  }
  const Answer expected =
      Attention(layer_case.problem, ComputePrecision(layer_case.dtype));
  judgement["output"] =
      Compare("output", answer.output, ExpectedOutput(layer_case, expected));
  if (layer_case.stage) {
    JudgeMatrix(layer_case, answer, expected, judgement);
  }
  if (layer_case.top_k) {
    judgement["top_k"] =
        CompareTopK(answer.top_k_weights, answer.top_k_indices, expected);
  }
  if (layer_case.lse) {
    judgement["lse"] = Compare("lse", answer.lse, expected.lse);
  }
  return judgement;
}

Comparison SuiteReport::Total() const {
  Comparison total;
  for (const auto& [name, comparison] : worst) total.Merge(comparison);
  return total;
}

SuiteReport RunPropertySuite(Dtype dtype, uint64_t first_seed, int64_t cases) {
  SuiteReport report;
  for (int64_t i = 0; i < cases; ++i) {
    const uint64_t seed = first_seed + static_cast<uint64_t>(i);
    const LayerCase layer_case = RandomLayerCase(dtype, seed);
    ++report.cases;
    for (const auto& [name, comparison] :
         Judge(layer_case, RunCore(layer_case))) {
      report.worst[name].Merge(comparison);
      if (comparison.ok) continue;
      std::ostringstream failure;
      failure << "seed " << seed << ": " << comparison.message << "\n  "
              << layer_case.Describe();
      report.failures.push_back(failure.str());
    }
  }
  return report;
}

int64_t PropertyCases(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat32:
      return 6000;
    case Dtype::kFloat64:
      return 3500;
    default:
      return 1200;
  }
}

}  // namespace attention::core
