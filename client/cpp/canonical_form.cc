#include "client/cpp/canonical_form.h"

#include <openssl/evp.h>

#include <cstdint>

#include "absl/strings/escaping.h"
#include "client/cpp/named_tensor.h"

namespace attention::client {
namespace {

void AppendInteger(int64_t number, std::string& bytes) {
  for (int shift = 0; shift < 64; shift += 8) {
    bytes += static_cast<char>(static_cast<uint64_t>(number) >> shift);
  }
}

// Rank and shape, then the data, for which a new frame begins; an absent tensor
// is a rank of 0.
void AddTensor(bool present, const v1::Tensor& tensor,
               std::vector<std::string>& frames) {
  AppendInteger(present ? tensor.shape_size() : 0, frames.back());
  if (!present) return;
  for (const int64_t axis : tensor.shape()) AppendInteger(axis, frames.back());
  frames.emplace_back();
}

// The canonical form without the data of its tensors, cut where they stand.
std::vector<std::string> Frames(const v1::WeightSet& weights) {
  std::vector<std::string> frames = {"attention-weights-1\n"};
  std::string& head = frames.front();
  AppendInteger(weights.query().weight().dtype(), head);
  AppendInteger(weights.layout(), head);
  AppendInteger(weights.num_heads(), head);
  AppendInteger(
      weights.has_num_kv_heads() ? weights.num_kv_heads() : weights.num_heads(),
      head);
  for (const v1::Projection* projection :
       {&weights.query(), &weights.key(), &weights.value(),
        &weights.output()}) {
    AddTensor(projection->has_weight(), projection->weight(), frames);
    AddTensor(projection->has_bias(), projection->bias(), frames);
  }
  return frames;
}

}  // namespace

CanonicalHash::CanonicalHash(const v1::WeightSet& weights)
    : frames_(Frames(weights)),
      context_(EVP_MD_CTX_new(), EVP_MD_CTX_free),
      ok_(context_ != nullptr &&
          EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1) {}

CanonicalHash::~CanonicalHash() = default;
CanonicalHash::CanonicalHash(CanonicalHash&&) noexcept = default;
CanonicalHash& CanonicalHash::operator=(CanonicalHash&&) noexcept = default;

void CanonicalHash::BeginTensor() { Data(frames_[next_frame_++]); }

void CanonicalHash::Data(absl::string_view bytes) {
  ok_ =
      ok_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1;
}

std::string CanonicalHash::Finish() {
  Data(frames_.back());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!ok_ || EVP_DigestFinal_ex(context_.get(), digest, &size) != 1) return "";
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), size));
}

std::string CanonicalSha256(const v1::WeightSet& weights) {
  CanonicalHash hash(weights);
  for (const NamedTensor& named : NamedTensors(weights)) {
    hash.BeginTensor();
    hash.Data(named.tensor->data());
  }
  return hash.Finish();
}

}  // namespace attention::client
