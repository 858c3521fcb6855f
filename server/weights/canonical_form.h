// The SHA-256 of a weight set whose elements come piece by piece.
#ifndef SERVER_WEIGHTS_CANONICAL_FORM_H_
#define SERVER_WEIGHTS_CANONICAL_FORM_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/weights/contents.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace attention::weights {

// CanonicalSha256 in pieces. Throws std::bad_alloc, also where OpenSSL fails,
// which it does for want of memory only.
class CanonicalHash {
 public:
  // Of heads, layout, dtype and shapes of `contents`; its data is not looked
  // at. REQUIRES: DimsOf(contents).ok().
  explicit CanonicalHash(const WeightSetContents& contents);
  ~CanonicalHash();
  CanonicalHash(CanonicalHash&&) noexcept;
  CanonicalHash& operator=(CanonicalHash&&) noexcept;

  // The next tensor in the order of NamedTensors; REQUIRES: there is one, and
  // all data of the one before was given.
  void BeginTensor();

  // The next bytes of its data.
  void Data(absl::string_view bytes);

  // Lower-case hexadecimal; once. REQUIRES: everything was given.
  std::string Finish();

 private:
  // What stands before the data of each tensor, and after that of the last.
  std::vector<std::string> frames_;
  size_t next_frame_ = 0;
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_CANONICAL_FORM_H_
