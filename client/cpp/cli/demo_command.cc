// `attention demo`: the chapter's examples, sent, shown and checked.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "attention/tensor.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/chapter.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/heat_map.h"
#include "client/cpp/cli/table.h"

namespace attention::client {
namespace {

struct DemoFlags {
  std::string chapter;  // file; empty: the one in this program
  std::optional<ColorMode> color;
};

constexpr size_t kTextWidth = 78;

// `text` in lines of at most kTextWidth.
std::string Wrap(const std::string& text) {
  std::string wrapped;
  size_t column = 0;
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    if (column > 0 && column + 1 + word.size() > kTextWidth) {
      wrapped += '\n';
      column = 0;
    }
    if (column > 0) {
      wrapped += ' ';
      ++column;
    }
    wrapped.append(word.data(), word.size());
    column += word.size();
  }
  return wrapped + "\n";
}

// Replays a chapter and remembers what was off.
class Replay {
 public:
  Replay(const Connection& connection, ColorMode color)
      : connection_(connection), color_(color) {}

  // An error if a call failed; a number that is off is not one.
  absl::Status Run(const Chapter& chapter) {
    std::cout << chapter.title << "\n";
    int number = 0;
    for (const ChapterCase& example : chapter.cases) {
      std::cout << "\n"
                << ++number << "/" << chapter.cases.size() << "  "
                << example.title << "\n"
                << Wrap(example.explanation) << std::flush;
      const absl::Status status = RunCase(example, chapter.digits);
      if (!status.ok()) {
        return {status.code(),
                absl::StrCat(example.id, ": ", status.message())};
      }
    }
    return absl::OkStatus();
  }

  // What Run found.
  absl::Status Verdict(size_t examples) const {
    if (off_.empty()) {
      std::cout << "\nAll " << checked_ << " numbers of " << examples
                << " examples are as expected.\n";
      return absl::OkStatus();
    }
    return CheckError(
        absl::StrCat(off_.size(), " of ", checked_,
                     " numbers are off: ", absl::StrJoin(off_, "; ")));
  }

 private:
  absl::Status RunCase(const ChapterCase& example, int digits) {
    v1::ComputeAttentionRequest request = example.request;
    if (example.set_weights.has_value()) {
      const auto version = SendWeights(example);
      if (!version.ok()) return version.status();
      // Whatever else has been put under this name, this is the one meant.
      request.mutable_weight_set()->set_version(version->version());
    }
    const auto response =
        connection_.client.ComputeAttention(request, connection_.Options());
    if (!response.ok()) return response.status();
    for (const Expectation& expectation : example.expect) {
      absl::Status status = Check(example.id, *response, expectation, digits);
      if (!status.ok()) return status;
    }
    if (request.attention_matrix().stage() ==
        v1::AttentionMatrixOptions::STAGE_ATTENTION_WEIGHTS) {
      return ShowHeatMaps(example, response->attention_matrix());
    }
    return absl::OkStatus();
  }

  absl::StatusOr<v1::WeightSetVersion> SendWeights(const ChapterCase& example) {
    const auto sent = connection_.client.SetWeights(*example.set_weights,
                                                    connection_.Options());
    if (!sent.ok()) return sent.status();
    const v1::WeightSetVersion& version = sent->version();
    std::cout << "\n  weight set " << version.name() << "@" << version.version()
              << ", sha256 " << version.sha256() << "\n";
    if (example.same_weights_from_seed.has_value()) {
      const auto seeded = connection_.client.SetWeights(
          *example.same_weights_from_seed, connection_.Options());
      if (!seeded.ok()) return seeded.status();
      ++checked_;
      const bool equal = seeded->version().sha256() == version.sha256();
      std::cout << "  drawn from seed "
                << example.same_weights_from_seed->initializer().seed()
                << " by the server: "
                << (equal ? "the same to the bit" : "OFF: another sha256")
                << "\n";
      if (!equal) {
        off_.push_back(absl::StrCat(example.id, " sha256 from the seed is ",
                                    seeded->version().sha256(), ", expected ",
                                    version.sha256()));
      }
    }
    return version;
  }

  absl::Status Check(const std::string& id,
                     const v1::ComputeAttentionResponse& response,
                     const Expectation& expectation, int digits) {
    const absl::StatusOr<Comparison> comparison =
        Compare(response, expectation, digits);
    if (!comparison.ok()) return comparison.status();
    checked_ += comparison->found.elements.size();
    const absl::StatusOr<std::string> table = TensorTable(
        expectation.what,
        MakeTensor(comparison->found.elements, comparison->found.shape));
    if (!table.ok()) return table.status();
    std::cout << "\n  " << absl::StrJoin(absl::StrSplit(*table, '\n'), "\n  ");
    for (const Difference& difference : comparison->differences) {
      const std::string line =
          absl::StrCat(difference.where, " is ", FourDigits(difference.found),
                       ", expected ", FourDigits(difference.expected));
      std::cout << "OFF: " << line << "\n";
      off_.push_back(absl::StrCat(id, " ", line));
    }
    if (comparison->differences.empty()) std::cout << "as expected\n";
    return absl::OkStatus();
  }

  // `matrix` is [batch,] heads, query, key.
  absl::Status ShowHeatMaps(const ChapterCase& example,
                            const v1::Tensor& matrix) const {
    const absl::StatusOr<std::vector<double>> weights = ReadDoubles(matrix);
    if (!weights.ok()) return weights.status();
    const size_t cells =
        example.query_tokens.size() * example.key_tokens.size();
    if (cells == 0 || weights->size() % cells != 0) {
      return absl::DataLossError("attention_matrix does not fit the tokens");
    }
    const size_t maps = weights->size() / cells;
    const size_t heads =
        static_cast<size_t>(matrix.shape(std::max(0, matrix.shape_size() - 3)));
    for (size_t map = 0; map < maps; ++map) {
      std::cout << "\n  attention weights";
      if (maps > heads) std::cout << " of item " << map / heads + 1;
      if (heads > 1) std::cout << " of head " << map % heads + 1;
      std::cout << ", query down, key across\n";
      const std::string picture =
          HeatMap(absl::MakeConstSpan(*weights).subspan(map * cells, cells),
                  example.query_tokens, example.key_tokens, color_);
      for (const absl::string_view line :
           absl::StrSplit(picture, '\n', absl::SkipEmpty())) {
        std::cout << "  " << line << "\n";
      }
    }
    return absl::OkStatus();
  }

  const Connection& connection_;
  const ColorMode color_;
  size_t checked_ = 0;
  std::vector<std::string> off_;
};

absl::Status Demo(const DemoFlags& flags, const Connection& connection) {
  absl::StatusOr<std::string> text = ChapterJson();
  if (!flags.chapter.empty()) text = ReadFile(flags.chapter);
  if (!text.ok()) return text.status();
  const absl::StatusOr<Chapter> chapter = ParseChapter(*text);
  if (!chapter.ok()) return chapter.status();
  Replay replay(connection,
                flags.color.value_or(DetectColorMode(
                    std::getenv("NO_COLOR"), std::getenv("COLORTERM"),
                    std::getenv("TERM"), isatty(STDOUT_FILENO) == 1)));
  const absl::Status status = replay.Run(*chapter);
  return status.ok() ? replay.Verdict(chapter->cases.size()) : status;
}

}  // namespace

void AddDemoCommand(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<DemoFlags>();
  CLI::App& command = *app.add_subcommand(
      "demo", "Replay the chapter's examples and check every number");
  command
      .add_option("--chapter", flags->chapter,
                  "another chapter.json than the one in this program")
      ->type_name("FILE|-");
  AddWordOption(
      command, "--color", flags->color,
      "of the heat maps; absent: what the terminal can show",
      std::map<std::string, ColorMode>{{"none", ColorMode::kPlain},
                                       {"256", ColorMode::k256},
                                       {"true", ColorMode::kTrueColor}});
  command.callback([flags, &action] {
    action = [flags](const Connection& connection) {
      return Demo(*flags, connection);
    };
  });
}

}  // namespace attention::client
