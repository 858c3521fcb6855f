// docs/canonical-form.md is what others compute the SHA-256 from, so it is the
// document that is tested: its bytes, its hash, and this program must agree.
#include <openssl/sha.h>

#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "server/weights/weight_set.h"
#include "tests/weights/weight_sets.h"

namespace attention::weights {
namespace {

std::string Document() {
  std::ifstream file(CANONICAL_FORM_DOCUMENT);
  EXPECT_TRUE(file.good()) << CANONICAL_FORM_DOCUMENT;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// What stands between the first `begin` and the next `end` after it.
std::string Between(const std::string& text, const std::string& begin,
                    const std::string& end) {
  const size_t from = text.find(begin) + begin.size();
  return text.substr(from, text.find(end, from) - from);
}

// The bytes of the document's dump: hexadecimal, '#' up to the line's end is a
// comment.
std::string DumpedBytes() {
  std::string hexadecimal;
  for (const absl::string_view line :
       absl::StrSplit(Between(Document(), "```\n", "```"), '\n')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, '#');
    hexadecimal += absl::StrReplaceAll(parts.front(), {{" ", ""}});
  }
  return absl::HexStringToBytes(hexadecimal);
}

StoredTensor Floats(std::vector<int64_t> shape,
                    const std::vector<float>& elements) {
  StoredTensor tensor{std::move(shape),
                      std::string(elements.size() * sizeof(float), '\0')};
  std::memcpy(tensor.data.data(), elements.data(), tensor.data.size());
  return tensor;
}

// The document's worked example.
WeightSetContents Example() {
  WeightSetContents contents;
  contents.num_heads = 2;
  contents.num_kv_heads = 1;
  contents.layout = core::Layout::kOutIn;
  contents.dtype = DType::kFloat32;
  contents.query.weight = Floats({2, 1}, {1, -2});
  contents.key.weight = Floats({1, 1}, {0.5});
  contents.key.bias = Floats({1}, {0.25});
  contents.value.weight = Floats({1, 1}, {3});
  return contents;
}

TEST(CanonicalForm, DocumentedBytesHaveTheDocumentedSha) {
  const std::string bytes = DumpedBytes();
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         digest);
  EXPECT_EQ(absl::BytesToHexString(absl::string_view(
                reinterpret_cast<const char*>(digest), sizeof(digest))),
            Between(Document(), "SHA-256: `", "`"));
  EXPECT_EQ(std::to_string(bytes.size()),
            Between(Document(), "Its canonical form, ", " bytes"));
}

TEST(CanonicalForm, ExampleHasTheDocumentedSha) {
  ASSERT_TRUE(CheckShapes(Example()).ok());
  EXPECT_EQ(CanonicalSha256(Example()), Between(Document(), "SHA-256: `", "`"));
}

TEST(CanonicalForm, EveryPartCounts) {
  const std::vector<std::function<void(WeightSetContents&)>> changes = {
      [](auto&) {},
      [](auto& c) { c.num_heads = 1; },
      [](auto& c) { c.num_kv_heads = 2; },
      [](auto& c) { c.layout = core::Layout::kInOut; },
      [](auto& c) { c.dtype = DType::kFloat64; },
      [](auto& c) {
        c.query.weight.shape = {1, 2};
      },
      [](auto& c) { c.query.weight.data[0] = 1; },
      [](auto& c) {
        c.query.bias = Floats({2}, {0, 0});
      },
      [](auto& c) { c.key.bias.reset(); },
      [](auto& c) { c.key.bias = Floats({1}, {0}); },
      [](auto& c) { c.key.bias = Floats({1}, {-0.0f}); },
      [](auto& c) { std::swap(c.key, c.value); },
      [](auto& c) {
        c.output = StoredProjection{Floats({1, 2}, {1, 1}), std::nullopt};
      },
      [](auto& c) {
        c.output = StoredProjection{Floats({1, 2}, {1, 1}), Floats({1}, {1})};
      },
  };
  std::set<std::string> shas;
  for (const auto& change : changes) {
    WeightSetContents contents = Example();
    change(contents);
    shas.insert(CanonicalSha256(contents));
  }
  EXPECT_EQ(shas.size(), changes.size());
}

}  // namespace
}  // namespace attention::weights
