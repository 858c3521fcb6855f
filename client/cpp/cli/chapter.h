// The chapter's examples: what to send and what must come back.
#ifndef CLIENT_CPP_CLI_CHAPTER_H_
#define CLIENT_CPP_CLI_CHAPTER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "client/cpp/cli/array_file.h"

namespace attention::client {

// client/chapter.json, part of this program.
const std::string& ChapterJson();

// Numbers that a reply must hold.
struct Expectation {
  std::string what;            // in words
  std::string path;            // field of the reply: output, attention_matrix
  std::vector<int64_t> index;  // leading indices into it
  Array values;                // what is there
};

struct ChapterCase {
  std::string id;
  std::string title;
  std::string explanation;
  std::vector<std::string> formula;   // lines
  std::vector<std::string> commands;  // the same from a shell
  std::vector<std::string> query_tokens;
  std::vector<std::string> key_tokens;
  std::optional<v1::SetWeightsRequest> set_weights;
  // Makes the same numbers from a seed, so its SHA-256 must be the same.
  std::optional<v1::SetWeightsRequest> same_weights_from_seed;
  v1::ComputeAttentionRequest request;
  std::vector<Expectation> expect;
};

struct Chapter {
  std::string title;
  int digits = 0;  // after the point, of every expected number
  std::vector<ChapterCase> cases;
};

// A usage error naming the case if `text` is not of this form.
absl::StatusOr<Chapter> ParseChapter(const std::string& text);

// One expected number that is off.
struct Difference {
  std::string where;  // "output[1][2]"
  double found = 0;
  double expected = 0;
};

// What came of one expectation.
struct Comparison {
  Array found;  // same shape as Expectation::values
  std::vector<Difference> differences;
};

// Compares a reply with an expectation: a number is off if it is not within
// half a unit of the last of `digits`, plus the rounding of a float32. NaN is
// off. An error if the reply has no such tensor, or not of that shape.
absl::StatusOr<Comparison> Compare(const v1::ComputeAttentionResponse& response,
                                   const Expectation& expectation, int digits);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_CHAPTER_H_
