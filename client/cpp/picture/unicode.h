// UTF-8 text that came from anywhere, made fit to be drawn or printed.
#ifndef CLIENT_CPP_PICTURE_UNICODE_H_
#define CLIENT_CPP_PICTURE_UNICODE_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace attention::client {

// Takes the first character off `text`. What is not UTF-8 is U+FFFD, byte by
// byte. REQUIRES: !text.empty().
char32_t TakeCharacter(absl::string_view& text);

// Appends `character` in UTF-8. REQUIRES: a Unicode scalar value.
void AppendCharacter(char32_t character, std::string& text);

// `text` as one line of UTF-8 that cannot steer a terminal or break an XML
// file: control characters become their pictures (a line feed U+240A), and
// what is not UTF-8, not a character, or turns the direction of writing
// becomes U+FFFD.
std::string Printable(absl::string_view text);

// How many columns of a terminal `text` takes: none for a combining mark, two
// for what is wide, such as Chinese. REQUIRES: `text` is Printable.
int TerminalColumns(absl::string_view text);

// `text` cut to at most `columns` columns of a terminal, with an ellipsis in
// place of what does not fit, and filled up with blanks. REQUIRES: Printable.
std::string FitColumns(absl::string_view text, int columns);

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_UNICODE_H_
