#include "server/weights/page_token.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/error_text.h"
#include "proto/field_error.h"

namespace attention::weights {
namespace {

// Longer than two names, a number and a checksum in base64 can be.
constexpr size_t kLongestToken = 512;

// FNV-1a: finds text that was cut or mistyped, not text that was made up, which
// could do no more than ask for another page.
uint64_t Checksum(absl::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  return hash;
}

// Names contain no spaces.
std::string Body(const PageToken& token) {
  return absl::StrCat(token.latest_only ? "latest" : "all", " ",
                      token.listed_name, " ", token.name, " ", token.version);
}

}  // namespace

std::string EncodePageToken(const PageToken& token) {
  const std::string body = Body(token);
  return absl::WebSafeBase64Escape(
      absl::StrCat(body, " ", absl::Hex(Checksum(body), absl::kZeroPad16)));
}

absl::StatusOr<PageToken> DecodePageToken(absl::string_view text) {
  std::string decoded;
  if (text.size() <= kLongestToken &&
      absl::WebSafeBase64Unescape(text, &decoded)) {
    const std::vector<std::string> parts = absl::StrSplit(decoded, ' ');
    PageToken token;
    if (parts.size() == 5 && absl::SimpleAtoi(parts[3], &token.version)) {
      token.latest_only = parts[0] == "latest";
      token.listed_name = parts[1];
      token.name = parts[2];
      // Anything that was read in another way than it is written differs here.
      if (EncodePageToken(token) == text) return token;
    }
  }
  return FieldError("page_token",
                    absl::StrCat("is ", Quoted(text),
                                 "; expected the next_page_token of the page "
                                 "before"));
}

}  // namespace attention::weights
