// Numbers as text that reads back as the same numbers.
#ifndef CLIENT_CPP_FILES_NUMBER_TEXT_H_
#define CLIENT_CPP_FILES_NUMBER_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace attention::files {

// The shortest text that reads back as the same number: 0.1, 1e+30, -inf.
std::string ShortestText(double number);

// The double with the shortest text that rounds to `single`: 0.1 where a float
// holds 0.100000001490116.
double ShortestDouble(float single);

// JSON text with every number -0 made -0.0, which parsers take for a double: -0
// is the integer 0 to them. Text comes in pieces that may end anywhere.
class SignedZeros {
 public:
  // Appends to `result` what is certain of the text so far.
  void Append(absl::string_view piece, std::string& result);

  // Appends the rest. Once, at the end.
  void Finish(std::string& result);

 private:
  enum class Match { kNone, kMinus, kMinusZero };

  bool in_string_ = false;
  bool escaped_ = false;  // the character after a backslash in a string
  char previous_ = 0;
  Match match_ = Match::kNone;
};

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_NUMBER_TEXT_H_
