// Attention as a picture in the terminal.
#ifndef CLIENT_CPP_CLI_HEAT_MAP_H_
#define CLIENT_CPP_CLI_HEAT_MAP_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/cpp/picture/attention_picture.h"

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

// `picture` in text of at most `columns` columns, with the scale at the end. A
// cell is from 8 columns wide, which hold its weight with two digits where
// there are colours, down to one; where even that is too wide, it stands for
// the largest of a block of elements. Several panels are side by side, as many
// as fit. Excluded positions are slashes.
std::string TerminalPicture(const AttentionPicture& picture, ColorMode mode,
                            int columns);

// One matrix, however wide it is: a row per query token, a column per key
// token, shaded between 0 and the largest weight.
// REQUIRES: weights.size() is the number of query tokens times that of keys.
std::string HeatMap(absl::Span<const double> weights,
                    const std::vector<std::string>& query_tokens,
                    const std::vector<std::string>& key_tokens, ColorMode mode);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_HEAT_MAP_H_
