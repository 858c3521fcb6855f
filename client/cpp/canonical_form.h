// What the SHA-256 of a weight set is taken over.
#ifndef CLIENT_CPP_CANONICAL_FORM_H_
#define CLIENT_CPP_CANONICAL_FORM_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "attention/v1/attention.pb.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace attention::client {

// Lower-case hexadecimal SHA-256 over the canonical form of `weights`
// (docs/canonical-form.md), computed from the message alone: a second opinion
// on what the server says. Empty if OpenSSL fails, which it does for want of
// memory only.
// REQUIRES: every tensor of `weights` carries data that fits its shape.
std::string CanonicalSha256(const v1::WeightSet& weights);

// The same while the data come piece by piece.
class CanonicalHash {
 public:
  // Of `weights`; the data of its tensors is not looked at.
  explicit CanonicalHash(const v1::WeightSet& weights);
  ~CanonicalHash();
  CanonicalHash(CanonicalHash&&) noexcept;
  CanonicalHash& operator=(CanonicalHash&&) noexcept;

  // The next tensor in the order of NamedTensors. REQUIRES: there is one, and
  // all data of the one before was given.
  void BeginTensor();

  // The next bytes of its data.
  void Data(absl::string_view bytes);

  // As CanonicalSha256; once. REQUIRES: everything was given.
  std::string Finish();

 private:
  // What stands before the data of each tensor, and after that of the last.
  std::vector<std::string> frames_;
  size_t next_frame_ = 0;
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
  bool ok_;
};

}  // namespace attention::client

#endif  // CLIENT_CPP_CANONICAL_FORM_H_
