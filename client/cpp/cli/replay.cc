#include "client/cpp/cli/replay.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "attention/tensor.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/table.h"
#include "command_line/wrap.h"

namespace attention::client {
namespace {

using Json = nlohmann::ordered_json;

absl::Status SendWeights(const ChapterCase& example,
                         const Connection& connection, Replayed& replayed) {
  const auto sent =
      connection.client.SetWeights(*example.set_weights, connection.Options());
  if (!sent.ok()) return sent.status();
  replayed.weight_set = sent->version();
  if (!example.same_weights_from_seed.has_value()) return absl::OkStatus();
  const auto seeded = connection.client.SetWeights(
      *example.same_weights_from_seed, connection.Options());
  if (seeded.ok()) replayed.from_seed = seeded->version();
  return seeded.status();
}

std::string Indented(const std::string& text, const std::string& indent) {
  return absl::StrCat(indent,
                      absl::StrReplaceAll(text, {{"\n", "\n" + indent}}), "\n");
}

std::string WeightSetText(const ChapterCase& example,
                          const Replayed& replayed) {
  const v1::WeightSetVersion& version = *replayed.weight_set;
  std::string text =
      absl::StrCat("\n  weight set ", version.name(), "@", version.version(),
                   ", sha256 ", version.sha256(), "\n");
  if (replayed.from_seed.has_value()) {
    absl::StrAppend(&text, "  drawn from seed ",
                    example.same_weights_from_seed->initializer().seed(),
                    " by the server: ",
                    replayed.from_seed->sha256() == version.sha256()
                        ? "the same to the bit"
                        : "OFF: another sha256",
                    "\n");
  }
  return text;
}

std::string DifferenceText(const Difference& difference) {
  return absl::StrCat(difference.where, " is ", FourDigits(difference.found),
                      ", expected ", FourDigits(difference.expected));
}

absl::StatusOr<std::string> ComparisonText(const std::string& what,
                                           const Comparison& comparison) {
  const absl::StatusOr<std::string> table = TensorTable(
      what, MakeTensor(comparison.found.elements, comparison.found.shape));
  if (!table.ok()) return table.status();
  std::string text =
      absl::StrCat("\n  ", absl::StrJoin(absl::StrSplit(*table, '\n'), "\n  "));
  for (const Difference& difference : comparison.differences) {
    absl::StrAppend(&text, "OFF: ", DifferenceText(difference), "\n");
  }
  if (comparison.differences.empty()) absl::StrAppend(&text, "as expected\n");
  return text;
}

// `matrix` is [batch,] heads, query, key.
absl::StatusOr<std::string> HeatMaps(const ChapterCase& example,
                                     const v1::Tensor& matrix,
                                     ColorMode color) {
  const absl::StatusOr<std::vector<double>> weights = ReadDoubles(matrix);
  if (!weights.ok()) return weights.status();
  const size_t cells = example.query_tokens.size() * example.key_tokens.size();
  if (cells == 0 || weights->size() % cells != 0) {
    return absl::DataLossError("attention_matrix does not fit the tokens");
  }
  const size_t maps = weights->size() / cells;
  const size_t heads =
      static_cast<size_t>(matrix.shape(std::max(0, matrix.shape_size() - 3)));
  std::string text;
  for (size_t map = 0; map < maps; ++map) {
    absl::StrAppend(&text, "\n  attention weights");
    if (maps > heads) absl::StrAppend(&text, " of item ", map / heads + 1);
    if (heads > 1) absl::StrAppend(&text, " of head ", map % heads + 1);
    absl::StrAppend(&text, ", query down, key across\n");
    const std::string picture =
        HeatMap(absl::MakeConstSpan(*weights).subspan(map * cells, cells),
                example.query_tokens, example.key_tokens, color);
    for (const absl::string_view line :
         absl::StrSplit(picture, '\n', absl::SkipEmpty())) {
      absl::StrAppend(&text, "  ", line, "\n");
    }
  }
  return text;
}

}  // namespace

size_t Replayed::checked() const {
  size_t checked = from_seed.has_value() ? 1 : 0;
  for (const Comparison& comparison : comparisons) {
    checked += comparison.found.elements.size();
  }
  return checked;
}

std::vector<std::string> Replayed::off(const std::string& id) const {
  std::vector<std::string> off;
  if (from_seed.has_value() && from_seed->sha256() != weight_set->sha256()) {
    off.push_back(absl::StrCat(id, " sha256 from the seed is ",
                               from_seed->sha256(), ", expected ",
                               weight_set->sha256()));
  }
  for (const Comparison& comparison : comparisons) {
    for (const Difference& difference : comparison.differences) {
      off.push_back(absl::StrCat(id, " ", DifferenceText(difference)));
    }
  }
  return off;
}

absl::StatusOr<Replayed> Replay(const ChapterCase& example, int digits,
                                const Connection& connection) {
  Replayed replayed;
  v1::ComputeAttentionRequest request = example.request;
  if (example.set_weights.has_value()) {
    absl::Status sent = SendWeights(example, connection, replayed);
    if (!sent.ok()) return sent;
    // Whatever else has been put under this name, this is the one meant.
    request.mutable_weight_set()->set_version(replayed.weight_set->version());
  }
  auto response =
      connection.client.ComputeAttention(request, connection.Options());
  if (!response.ok()) return response.status();
  for (const Expectation& expectation : example.expect) {
    absl::StatusOr<Comparison> comparison =
        Compare(*response, expectation, digits);
    if (!comparison.ok()) return comparison.status();
    replayed.comparisons.push_back(*std::move(comparison));
  }
  replayed.response = *std::move(response);
  return replayed;
}

absl::StatusOr<std::string> ReplayText(const ChapterCase& example,
                                       const Replayed& replayed,
                                       const std::string& place,
                                       ColorMode color) {
  std::string text =
      absl::StrCat("\n", place, "  ", example.title, "\n",
                   command_line::Wrap(example.explanation), "\n");
  if (!example.formula.empty()) absl::StrAppend(&text, "\n");
  for (const std::string& line : example.formula) {
    absl::StrAppend(&text, Indented(line, "    "));
  }
  if (replayed.weight_set.has_value()) {
    absl::StrAppend(&text, WeightSetText(example, replayed));
  }
  for (size_t i = 0; i < replayed.comparisons.size(); ++i) {
    const absl::StatusOr<std::string> compared =
        ComparisonText(example.expect[i].what, replayed.comparisons[i]);
    if (!compared.ok()) return compared.status();
    absl::StrAppend(&text, *compared);
  }
  if (example.request.attention_matrix().stage() ==
      v1::AttentionMatrixOptions::STAGE_ATTENTION_WEIGHTS) {
    const absl::StatusOr<std::string> maps =
        HeatMaps(example, replayed.response.attention_matrix(), color);
    if (!maps.ok()) return maps.status();
    absl::StrAppend(&text, *maps);
  }
  if (!example.commands.empty()) {
    absl::StrAppend(&text, "\n  the same from a shell\n");
  }
  for (const std::string& command : example.commands) {
    absl::StrAppend(&text, Indented(command, "    "));
  }
  return text;
}

Json ReplayJson(const ChapterCase& example, const Replayed& replayed) {
  Json results = Json::array();
  for (size_t i = 0; i < replayed.comparisons.size(); ++i) {
    const Expectation& expectation = example.expect[i];
    results.push_back(
        {{"what", expectation.what},
         {"path", expectation.path},
         {"index", expectation.index},
         {"as_expected", replayed.comparisons[i].differences.empty()}});
  }
  return {{"id", example.id},
          {"title", example.title},
          {"formula", example.formula},
          {"commands", example.commands},
          {"response", Json::parse(MessageToJson(replayed.response))},
          {"results", std::move(results)}};
}

}  // namespace attention::client
