// A matrix of attention weights as a picture in the terminal.
#ifndef CLIENT_CPP_CLI_HEAT_MAP_H_
#define CLIENT_CPP_CLI_HEAT_MAP_H_

#include <string>
#include <vector>

#include "absl/types/span.h"

namespace attention::client {

enum class ColorMode {
  kPlain,      // characters alone
  k256,        // xterm's palette
  kTrueColor,  // 24 bits
};

// What a terminal can show, from the environment: NO_COLOR
// (https://no-color.org) and output that is no terminal mean plain; COLORTERM
// truecolor or 24bit, then a TERM that says 256color, mean colour. Null is an
// unset variable.
ColorMode DetectColorMode(const char* no_color, const char* color_term,
                          const char* term, bool is_terminal);

// One row per query token and one column per key token, each cell shaded by its
// weight between 0 and the largest one; with colours, each cell also holds the
// weight with two digits.
// REQUIRES: weights.size() is the number of query tokens times that of keys.
std::string HeatMap(absl::Span<const double> weights,
                    const std::vector<std::string>& query_tokens,
                    const std::vector<std::string>& key_tokens, ColorMode mode);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_HEAT_MAP_H_
