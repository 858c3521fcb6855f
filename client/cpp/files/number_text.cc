#include "client/cpp/files/number_text.h"

#include <charconv>
#include <cmath>

#include "absl/strings/match.h"

namespace attention::files {

std::string ShortestText(double number) {
  // JSON readers take -0 for the integer 0.
  if (number == 0 && std::signbit(number)) return "-0.0";
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), number).ptr};
}

double ShortestDouble(float single) {
  if (!std::isfinite(single)) return single;
  char text[32];
  auto* const end = std::to_chars(text, text + sizeof(text), single).ptr;
  double shortest = 0;
  std::from_chars(text, end, shortest);
  // Text to double to float rounds twice, which can miss by one.
  return static_cast<float>(shortest) == single ? shortest : single;
}

void SignedZeros::Append(absl::string_view piece, std::string& result) {
  constexpr absl::string_view kContinuesNumber = ".eE0123456789";
  for (const char c : piece) {
    if (match_ == Match::kMinusZero &&
        !absl::StrContains(kContinuesNumber, c)) {
      result += ".0";
    }
    if (in_string_) {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
      match_ = Match::kNone;
    } else {
      in_string_ = c == '"';
      if (c == '-' && previous_ != 'e' && previous_ != 'E') {
        match_ = Match::kMinus;
      } else {
        match_ = match_ == Match::kMinus && c == '0' ? Match::kMinusZero
                                                     : Match::kNone;
      }
    }
    result += c;
    previous_ = c;
  }
}

void SignedZeros::Finish(std::string& result) {
  if (match_ == Match::kMinusZero) result += ".0";
}

}  // namespace attention::files
