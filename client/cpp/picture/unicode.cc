#include "client/cpp/picture/unicode.h"

#include <clocale>
#include <cwchar>

namespace attention::client {
namespace {

constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kControlPictures = 0x2400;  // of U+0000 and what follows
constexpr char32_t kPictureOfDelete = 0x2421;
constexpr char32_t kEllipsis = 0x2026;

bool IsScalarValue(char32_t character) {
  return character <= 0x10FFFF && (character < 0xD800 || character > 0xDFFF);
}

// Marks that have what follows them written in the other direction, and
// characters that are none.
bool IsUnfit(char32_t character) {
  return (character >= 0x80 && character < 0xA0) ||
         (character >= 0x2028 && character <= 0x202E) ||
         (character >= 0x2066 && character <= 0x2069) || character == 0x200E ||
         character == 0x200F || character == 0x061C ||
         (character & 0xFFFE) == 0xFFFE;
}

char32_t PrintableOf(char32_t character) {
  if (character < 0x20) return kControlPictures + character;
  if (character == 0x7F) return kPictureOfDelete;
  return IsUnfit(character) ? kReplacement : character;
}

// The C library's widths, which are those of Unicode only in a UTF-8 locale;
// this thread alone is in it, and only for as long as this lives.
class Utf8Locale {
 public:
  Utf8Locale()
      : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)),
        before_(uselocale(locale_)) {}
  ~Utf8Locale() {
    uselocale(before_);
    if (locale_ != nullptr) freelocale(locale_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t locale_;
  locale_t before_;
};

int Columns(char32_t character) {
  const int columns = wcwidth(static_cast<wchar_t>(character));
  return columns < 0 ? 1 : columns;
}

}  // namespace

char32_t TakeCharacter(absl::string_view& text) {
  const auto first = static_cast<unsigned char>(text[0]);
  text.remove_prefix(1);
  if (first < 0x80) return first;
  const int following = first >= 0xF0 && first < 0xF5   ? 3
                        : first >= 0xE0 && first < 0xF0 ? 2
                        : first >= 0xC2 && first < 0xE0 ? 1
                                                        : 0;
  if (following == 0 || text.size() < static_cast<size_t>(following)) {
    return kReplacement;
  }
  char32_t character = first & (0x3F >> following);
  for (int i = 0; i < following; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xC0) != 0x80) return kReplacement;
    character = character << 6 | (byte & 0x3F);
  }
  constexpr char32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  if (character < kSmallest[following] || !IsScalarValue(character)) {
    return kReplacement;
  }
  text.remove_prefix(following);
  return character;
}

void AppendCharacter(char32_t character, std::string& text) {
  const auto append = [&text](char32_t byte) {
    text += static_cast<char>(static_cast<unsigned char>(byte));
  };
  if (character < 0x80) {
    append(character);
    return;
  }
  if (character < 0x800) {
    append(0xC0 | character >> 6);
  } else if (character < 0x10000) {
    append(0xE0 | character >> 12);
    append(0x80 | (character >> 6 & 0x3F));
  } else {
    append(0xF0 | character >> 18);
    append(0x80 | (character >> 12 & 0x3F));
    append(0x80 | (character >> 6 & 0x3F));
  }
  append(0x80 | (character & 0x3F));
}

std::string Printable(absl::string_view text) {
  std::string printable;
  while (!text.empty()) {
    AppendCharacter(PrintableOf(TakeCharacter(text)), printable);
  }
  return printable;
}

int TerminalColumns(absl::string_view text) {
  const Utf8Locale locale;
  int columns = 0;
  while (!text.empty()) columns += Columns(TakeCharacter(text));
  return columns;
}

std::string FitColumns(absl::string_view text, int columns) {
  if (columns <= 0) return "";
  const bool is_cut = TerminalColumns(text) > columns;
  const int room = columns - (is_cut ? 1 : 0);
  const Utf8Locale locale;
  std::string fitted;
  int used = 0;
  while (!text.empty()) {
    const char32_t character = TakeCharacter(text);
    if (used + Columns(character) > room) break;
    used += Columns(character);
    AppendCharacter(character, fitted);
  }
  if (is_cut) AppendCharacter(kEllipsis, fitted);
  return fitted + std::string(room - used, ' ');
}

}  // namespace attention::client
