#include "client/cpp/cli/chapter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "attention/tensor.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/json_text.h"
#include "proto/codec.h"

namespace attention::client {
namespace {

using Json = nlohmann::json;

absl::StatusOr<ChapterCase> ParseCase(const Json& json) {
  ChapterCase result;
  result.id = json.at("id");
  result.title = json.at("title");
  result.explanation = json.at("explanation");
  result.formula = json.value("formula", result.formula);
  result.commands = json.value("commands", result.commands);
  json.at("query_tokens").get_to(result.query_tokens);
  json.at("key_tokens").get_to(result.key_tokens);
  const auto parse_weights = [&](const char* name,
                                 std::optional<v1::SetWeightsRequest>& into) {
    if (!json.contains(name)) return absl::OkStatus();
    return MessageFromJson(json.at(name).dump(), name, into.emplace());
  };
  absl::Status status = parse_weights("set_weights", result.set_weights);
  if (status.ok()) {
    status =
        parse_weights("same_weights_from_seed", result.same_weights_from_seed);
  }
  if (status.ok()) {
    status =
        MessageFromJson(json.at("request").dump(), "request", result.request);
  }
  if (!status.ok()) return status;
  for (const Json& expect : json.at("expect")) {
    absl::StatusOr<Array> values =
        ArrayFromJson(expect.at("values").dump(), "values");
    if (!values.ok()) return values.status();
    result.expect.push_back({expect.at("what"), expect.at("path"),
                             expect.at("index").get<std::vector<int64_t>>(),
                             *std::move(values)});
  }
  return result;
}

const v1::Tensor* FindTensor(const v1::ComputeAttentionResponse& response,
                             const std::string& path) {
  if (path == "output" && response.has_output()) return &response.output();
  if (path == "attention_matrix" && response.has_attention_matrix()) {
    return &response.attention_matrix();
  }
  if (path == "lse" && response.has_lse()) return &response.lse();
  return nullptr;
}

std::string IndexText(const std::vector<int64_t>& leading,
                      const std::vector<int64_t>& shape, size_t element) {
  std::string text;
  auto rest = static_cast<int64_t>(element);
  for (size_t axis = shape.size(); axis-- > 0;) {
    text = absl::StrCat("[", rest % shape[axis], "]", text);
    rest /= shape[axis];
  }
  std::string front;
  for (const int64_t index : leading) absl::StrAppend(&front, "[", index, "]");
  return front + text;
}

// The part of `tensor` at the leading indices.
absl::StatusOr<Array> Slice(const v1::Tensor& tensor,
                            const Expectation& expectation) {
  const absl::StatusOr<std::vector<double>> elements = ReadDoubles(tensor);
  if (!elements.ok()) return elements.status();
  const std::vector<int64_t>& index = expectation.index;
  std::vector<int64_t> shape(tensor.shape().begin(), tensor.shape().end());
  std::vector<int64_t> expected_shape = index;
  expected_shape.insert(expected_shape.end(), expectation.values.shape.begin(),
                        expectation.values.shape.end());
  bool fits = shape.size() == expected_shape.size();
  int64_t offset = 0;
  for (size_t axis = 0; fits && axis < shape.size(); ++axis) {
    const bool leading = axis < index.size();
    fits = leading ? index[axis] < shape[axis]
                   : expected_shape[axis] == shape[axis];
    offset = offset * shape[axis] + (leading ? index[axis] : 0);
  }
  if (!fits) {
    return absl::DataLossError(absl::StrCat(
        expectation.path, " has shape ", ShapeString(shape), ", which has no ",
        ShapeString(expectation.values.shape), " at ", ShapeString(index)));
  }
  const auto begin = elements->begin() + offset;
  return Array{expectation.values.shape,
               {begin, begin + static_cast<std::ptrdiff_t>(
                                   expectation.values.elements.size())}};
}

}  // namespace

absl::StatusOr<Chapter> ParseChapter(const std::string& text) {
  const absl::StatusOr<Json> json = ParseJson<Json>(text, "chapter");
  if (!json.ok()) return json.status();
  Chapter chapter;
  try {
    chapter.title = json->at("title");
    chapter.digits = json->at("digits");
    for (const Json& entry : json->at("cases")) {
      absl::StatusOr<ChapterCase> parsed = ParseCase(entry);
      if (!parsed.ok()) {
        return UsageError(absl::StrCat("chapter, case ", entry.value("id", "?"),
                                       ": ", parsed.status().message()));
      }
      chapter.cases.push_back(*std::move(parsed));
    }
  } catch (const Json::exception& error) {
    return UsageError(absl::StrCat("chapter, case ", chapter.cases.size() + 1,
                                   ": ", error.what()));
  }
  return chapter;
}

absl::StatusOr<Comparison> Compare(const v1::ComputeAttentionResponse& response,
                                   const Expectation& expectation, int digits) {
  const v1::Tensor* tensor = FindTensor(response, expectation.path);
  if (tensor == nullptr) {
    return absl::DataLossError(
        absl::StrCat("the reply has no ", expectation.path));
  }
  absl::StatusOr<Array> found = Slice(*tensor, expectation);
  if (!found.ok()) return found.status();
  Comparison comparison;
  comparison.found = *std::move(found);

  const std::vector<double>& expected = expectation.values.elements;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double number = comparison.found.elements[i];
    // The expected digits were rounded from an exact result, which a float32
    // computation of this size (some ten operations per number) meets within
    // 16 units of its last place.
    const double tolerance = 0.5 * std::pow(10, -digits) +
                             16 * std::numeric_limits<float>::epsilon() *
                                 std::max(1.0, std::abs(expected[i]));
    if (!(std::abs(number - expected[i]) <= tolerance)) {
      comparison.differences.push_back(
          {expectation.path +
               IndexText(expectation.index, expectation.values.shape, i),
           number, expected[i]});
    }
  }
  return comparison;
}

}  // namespace attention::client
