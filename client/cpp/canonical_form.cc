#include "client/cpp/canonical_form.h"

#include <openssl/evp.h>

#include <cstdint>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace attention::client {
namespace {

void AppendInteger(int64_t number, std::string& bytes) {
  for (int shift = 0; shift < 64; shift += 8) {
    bytes += static_cast<char>(static_cast<uint64_t>(number) >> shift);
  }
}

// Hashes what is given to it piece by piece.
class Digest {
 public:
  Digest()
      : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free),
        ok_(context_ != nullptr &&
            EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1) {}

  void Add(const std::string& bytes) {
    ok_ = ok_ &&
          EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1;
  }

  std::string Finish() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!ok_ || EVP_DigestFinal_ex(context_.get(), digest, &size) != 1) {
      return "";
    }
    return absl::BytesToHexString(
        absl::string_view(reinterpret_cast<const char*>(digest), size));
  }

 private:
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  bool ok_;
};

// Rank and shape, then the elements; an absent tensor is a rank of 0.
void AddTensor(bool present, const v1::Tensor& tensor, Digest& digest) {
  std::string head;
  AppendInteger(present ? tensor.shape_size() : 0, head);
  if (present) {
    for (const int64_t axis : tensor.shape()) AppendInteger(axis, head);
  }
  digest.Add(head);
  if (present) digest.Add(tensor.data());
}

}  // namespace

std::string CanonicalSha256(const v1::WeightSet& weights) {
  std::string head = "attention-weights-1\n";
  AppendInteger(weights.query().weight().dtype(), head);
  AppendInteger(weights.layout(), head);
  AppendInteger(weights.num_heads(), head);
  AppendInteger(
      weights.has_num_kv_heads() ? weights.num_kv_heads() : weights.num_heads(),
      head);
  Digest digest;
  digest.Add(head);
  for (const v1::Projection* projection :
       {&weights.query(), &weights.key(), &weights.value(),
        &weights.output()}) {
    AddTensor(projection->has_weight(), projection->weight(), digest);
    AddTensor(projection->has_bias(), projection->bias(), digest);
  }
  return digest.Finish();
}

}  // namespace attention::client
