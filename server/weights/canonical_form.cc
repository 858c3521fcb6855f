// docs/canonical-form.md describes these bytes; a change here changes the
// identity of every weight set.
#include "server/weights/canonical_form.h"

#include <openssl/evp.h>

#include <new>

#include "absl/strings/escaping.h"
#include "server/weights/named_tensor.h"

namespace attention::weights {
namespace {

// Eight bytes, little-endian.
void AppendInteger(int64_t number, std::string& bytes) {
  for (int shift = 0; shift < 64; shift += 8) {
    bytes += static_cast<char>(static_cast<uint64_t>(number) >> shift);
  }
}

// Ends the last frame with what stands before the data of `tensor`, and begins
// the next.
void AddTensor(const StoredTensor& tensor, std::vector<std::string>& frames) {
  AppendInteger(static_cast<int64_t>(tensor.shape.size()), frames.back());
  for (const int64_t axis : tensor.shape) AppendInteger(axis, frames.back());
  frames.emplace_back();
}

void AddAbsentTensor(std::vector<std::string>& frames) {
  AppendInteger(0, frames.back());
}

void AddProjection(const StoredProjection& projection,
                   std::vector<std::string>& frames) {
  AddTensor(projection.weight, frames);
  if (projection.bias.has_value()) {
    AddTensor(*projection.bias, frames);
  } else {
    AddAbsentTensor(frames);
  }
}

// The canonical form without the data of its tensors, cut where they stand.
std::vector<std::string> Frames(const WeightSetContents& contents) {
  std::vector<std::string> frames = {"attention-weights-1\n"};
  std::string& head = frames.front();
  AppendInteger(static_cast<int64_t>(contents.dtype), head);
  AppendInteger(contents.layout == core::Layout::kInOut ? 1 : 2, head);
  AppendInteger(contents.num_heads, head);
  AppendInteger(contents.num_kv_heads, head);
  AddProjection(contents.query, frames);
  AddProjection(contents.key, frames);
  AddProjection(contents.value, frames);
  if (contents.output.has_value()) {
    AddProjection(*contents.output, frames);
  } else {
    AddAbsentTensor(frames);
    AddAbsentTensor(frames);
  }
  return frames;
}

// OpenSSL's calls fail only when memory runs out.
void Require(bool succeeded) {
  if (!succeeded) throw std::bad_alloc();
}

}  // namespace

CanonicalHash::CanonicalHash(const WeightSetContents& contents)
    : frames_(Frames(contents)), context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  Require(context_ != nullptr &&
          EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}

CanonicalHash::~CanonicalHash() = default;
CanonicalHash::CanonicalHash(CanonicalHash&&) noexcept = default;
CanonicalHash& CanonicalHash::operator=(CanonicalHash&&) noexcept = default;

void CanonicalHash::BeginTensor() { Data(frames_[next_frame_++]); }

void CanonicalHash::Data(absl::string_view bytes) {
  Require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

std::string CanonicalHash::Finish() {
  Data(frames_.back());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  Require(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), size));
}

std::string CanonicalSha256(const WeightSetContents& contents) {
  CanonicalHash hash(contents);
  for (const NamedTensor& named : NamedTensors(contents)) {
    hash.BeginTensor();
    hash.Data(named.tensor->data);
  }
  return hash.Finish();
}

}  // namespace attention::weights
