// Where a listing goes on.
#ifndef SERVER_WEIGHTS_PAGE_TOKEN_H_
#define SERVER_WEIGHTS_PAGE_TOKEN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace attention::weights {

// The last version of a page, and the listing the page belongs to. It says
// where, not how far, so versions that come and go between two pages neither
// repeat nor skip another; and it is good at every server of the same contract.
struct PageToken {
  std::string name;     // of the last version on the page
  int64_t version = 0;  // its number
  std::string listed_name;
  bool latest_only = false;
};

// An opaque text of letters, digits, '-' and '_'.
std::string EncodePageToken(const PageToken& token);

// INVALID_ARGUMENT about "page_token" unless `text` came from EncodePageToken.
absl::StatusOr<PageToken> DecodePageToken(absl::string_view text);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_PAGE_TOKEN_H_
