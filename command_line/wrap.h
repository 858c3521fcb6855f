// Text in lines that a terminal holds.
#ifndef COMMAND_LINE_WRAP_H_
#define COMMAND_LINE_WRAP_H_

#include <string>

#include "absl/strings/string_view.h"

namespace attention::command_line {

// What a line of a terminal has at least.
inline constexpr size_t kTextWidth = 79;

// `text`, broken at blanks into lines of at most kTextWidth, all but the first
// indented by `indent`, which the first is taken to be already. A longer word
// is a line of its own. Ends without a line break.
std::string Wrap(absl::string_view text, size_t indent = 0);

}  // namespace attention::command_line

#endif  // COMMAND_LINE_WRAP_H_
