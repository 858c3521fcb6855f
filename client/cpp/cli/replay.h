// The chapter's examples, sent to a server and compared.
#ifndef CLIENT_CPP_CLI_REPLAY_H_
#define CLIENT_CPP_CLI_REPLAY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/cli/chapter.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/heat_map.h"
#include "nlohmann/json_fwd.hpp"

namespace attention::client {

// What came of one example.
struct Replayed {
  // The weight set that was sent, if any.
  std::optional<v1::WeightSetVersion> weight_set;
  // What the server made of the same weights' seed, if the example has one.
  std::optional<v1::WeightSetVersion> from_seed;
  std::vector<Comparison> comparisons;  // one for each of ChapterCase::expect
  v1::ComputeAttentionResponse response;

  // Numbers that were compared; a SHA-256 counts as one.
  size_t checked() const;
  // Each that is off, in words.
  std::vector<std::string> off(const std::string& id) const;
};

// Sends an example. An error if a call failed; a number that is off is not one.
absl::StatusOr<Replayed> Replay(const ChapterCase& example, int digits,
                                const Connection& connection);

// An example and what came of it, for people: what is computed, the numbers,
// the picture, and the commands that do the same. `place` is "2/9".
absl::StatusOr<std::string> ReplayText(const ChapterCase& example,
                                       const Replayed& replayed,
                                       const std::string& place,
                                       ColorMode color);

// {"id", "title", "formula", "commands", "response", "results": [{"what",
// "path", "index", "as_expected"}]}, where path and index tell the place in the
// response.
nlohmann::ordered_json ReplayJson(const ChapterCase& example,
                                  const Replayed& replayed);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_REPLAY_H_
