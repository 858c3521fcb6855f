#include "tests/goldens/golden_file.h"

#include <array>
#include <exception>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>

#include "nlohmann/json.hpp"

namespace attention::reference {
namespace {

using Json = nlohmann::json;

double ParseNumber(const Json& number) {
  if (number.is_number()) return number.get<double>();
  if (number == "-Infinity") return -std::numeric_limits<double>::infinity();
  throw std::runtime_error("not a number: " + number.dump());
}

std::vector<double> ParseValues(const Json& tensor) {
  std::vector<double> values;
  for (const Json& number : tensor.at("values")) {
    values.push_back(ParseNumber(number));
  }
  return values;
}

Tensor<double> ParseTensor(const Json& json) {
  Tensor<double> tensor{json.at("shape").get<Shape>(), ParseValues(json)};
  if (ElementCount(tensor.shape) !=
      static_cast<int64_t>(tensor.elements.size())) {
    throw std::runtime_error("shape and number of values differ");
  }
  return tensor;
}

// An input: a float32 number by its shortest decimal.
Tensor<double> ParseInput(const Json& json) {
  Tensor<double> tensor = ParseTensor(json);
  for (double& element : tensor.elements) {
    element = static_cast<double>(static_cast<float>(element));
  }
  return tensor;
}

Projection ParseProjection(const Json& json, bool out_in) {
  const auto shape =
      json.at("weight").at("shape").get<std::array<int64_t, 2>>();
  Projection projection;
  projection.out_in = out_in;
  projection.in = shape[out_in ? 1 : 0];
  projection.out = shape[out_in ? 0 : 1];
  for (const double element : ParseValues(json.at("weight"))) {
    projection.weight.push_back(static_cast<float>(element));
  }
  if (json.contains("bias")) {
    for (const double element : ParseValues(json.at("bias"))) {
      projection.bias.push_back(static_cast<float>(element));
    }
  }
  return projection;
}

Weights ParseWeights(const Json& json) {
  const std::string layout = json.at("layout");
  const bool out_in = layout == "OUT_IN";
  if (!out_in && layout != "IN_OUT") throw std::runtime_error(layout);
  Weights weights{ParseProjection(json.at("query"), out_in),
                  ParseProjection(json.at("key"), out_in),
                  ParseProjection(json.at("value"), out_in),
                  {}};
  if (json.contains("output")) {
    weights.output = ParseProjection(json.at("output"), out_in);
  }
  return weights;
}

template <typename T>
void Assign(const Json& options, const char* name, T& option) {
  if (options.contains(name)) option = options.at(name).get<T>();
}

template <typename T>
void Assign(const Json& options, const char* name, std::optional<T>& option) {
  if (options.contains(name)) option = options.at(name).get<T>();
}

void ParseOptions(const Json& options, Golden& golden) {
  // An option that nobody reads would be a golden that tests nothing.
  static const std::set<std::string> kKnown = {
      "softmax_scale", "softcap",       "causal",    "window_left",
      "window_right",  "query_offsets", "alignment", "key_lengths",
      "dropout",       "top_k"};
  for (const auto& [name, value] : options.items()) {
    if (!kKnown.contains(name)) throw std::runtime_error(name);
  }
  Problem& problem = golden.problem;
  Assign(options, "softmax_scale", problem.softmax_scale);
  Assign(options, "softcap", problem.softcap);
  Assign(options, "causal", problem.causal);
  Assign(options, "window_left", problem.window_left);
  Assign(options, "window_right", problem.window_right);
  Assign(options, "query_offsets", problem.query_offsets);
  Assign(options, "key_lengths", problem.key_lengths);
  Assign(options, "top_k", golden.top_k);
  if (options.contains("alignment")) {
    problem.alignment = options.at("alignment") == "TOP_LEFT"
                            ? Alignment::kTopLeft
                            : Alignment::kBottomRight;
  }
  if (options.contains("dropout")) {
    const Json& dropout = options.at("dropout");
    problem.dropout = {dropout.at("probability").get<double>(),
                       dropout.at("seed").get<uint64_t>()};
  }
}

Golden ParseGolden(const Json& json) {
  Golden golden;
  golden.name = json.at("name");
  Problem& problem = golden.problem;
  problem.query = ParseInput(json.at("query"));
  problem.key = ParseInput(json.at("key"));
  problem.value = ParseInput(json.at("value"));
  if (json.contains("attend_mask")) {
    problem.attend_mask = ParseInput(json.at("attend_mask"));
  }
  if (json.contains("bias")) problem.bias = ParseInput(json.at("bias"));
  if (json.contains("weights")) {
    const Json& weights = json.at("weights");
    problem.weights = ParseWeights(weights);
    problem.num_heads = weights.at("num_heads");
    problem.num_kv_heads = weights.at("num_kv_heads");
  } else {
    problem.num_heads = problem.query.shape[1];
    problem.num_kv_heads = problem.key.shape[1];
  }
  ParseOptions(json.at("options"), golden);
  for (const auto& [name, expected] : json.at("expected").items()) {
    golden.expected[name] = {ParseTensor(expected), expected.at("bound")};
  }
  return golden;
}

}  // namespace

std::vector<Golden> ReadGoldens(const std::string& path) {
  std::ifstream file(path);
  std::vector<Golden> goldens;
  try {
    const Json contents = Json::parse(file);
    for (const Json& json : contents.at("cases")) {
      goldens.push_back(ParseGolden(json));
    }
    if (goldens.empty()) throw std::runtime_error("no cases");
  } catch (const std::exception& error) {
    throw std::runtime_error(path + ", case " + std::to_string(goldens.size()) +
                             ": " + error.what());
  }
  return goldens;
}

}  // namespace attention::reference
