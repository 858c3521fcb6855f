// docs/canonical-form.md describes these bytes; a change here changes the
// identity of every weight set.
#include <openssl/evp.h>

#include <memory>
#include <new>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "server/weights/weight_set.h"

namespace attention::weights {
namespace {

// A SHA-256 in progress. OpenSSL's calls fail only when memory runs out.
class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    Require(context_ != nullptr &&
            EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  void Bytes(absl::string_view bytes) {
    Require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }

  // Eight bytes, little-endian.
  void Integer(int64_t number) {
    char bytes[8];
    for (int i = 0; i < 8; ++i) {
      bytes[i] = static_cast<char>(static_cast<uint64_t>(number) >> (8 * i));
    }
    Bytes(absl::string_view(bytes, sizeof(bytes)));
  }

  std::string Hexadecimal() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    Require(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
    return absl::BytesToHexString(
        absl::string_view(reinterpret_cast<const char*>(digest), size));
  }

 private:
  static void Require(bool succeeded) {
    if (!succeeded) throw std::bad_alloc();
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

void Hash(const StoredTensor& tensor, Sha256& sha256) {
  sha256.Integer(static_cast<int64_t>(tensor.shape.size()));
  for (const int64_t axis : tensor.shape) sha256.Integer(axis);
  sha256.Bytes(tensor.data);
}

void HashAbsentTensor(Sha256& sha256) { sha256.Integer(0); }

void Hash(const StoredProjection& projection, Sha256& sha256) {
  Hash(projection.weight, sha256);
  if (projection.bias.has_value()) {
    Hash(*projection.bias, sha256);
  } else {
    HashAbsentTensor(sha256);
  }
}

}  // namespace

std::string CanonicalSha256(const WeightSetContents& contents) {
  Sha256 sha256;
  sha256.Bytes("attention-weights-1\n");
  sha256.Integer(static_cast<int64_t>(contents.dtype));
  sha256.Integer(contents.layout == core::Layout::kInOut ? 1 : 2);
  sha256.Integer(contents.num_heads);
  sha256.Integer(contents.num_kv_heads);
  Hash(contents.query, sha256);
  Hash(contents.key, sha256);
  Hash(contents.value, sha256);
  if (contents.output.has_value()) {
    Hash(*contents.output, sha256);
  } else {
    HashAbsentTensor(sha256);
    HashAbsentTensor(sha256);
  }
  return sha256.Hexadecimal();
}

}  // namespace attention::weights
