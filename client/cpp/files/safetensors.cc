#include "client/cpp/files/safetensors.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/files/safetensors_header.h"
#include "proto/error_text.h"

namespace attention::files {
namespace {

constexpr int64_t kLengthBytes = 8;
// The format's own bound.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

class SafetensorsFile : public ArrayBundle {
 public:
  SafetensorsFile(const ByteSource& source, int64_t data_begin,
                  SafetensorsHeader header)
      : ArrayBundle(source.name()),
        bytes_(source),
        data_begin_(data_begin),
        header_(std::move(header)) {}

  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    names.reserve(header_.entries.size());
    for (const auto& [name, entry] : header_.entries) names.push_back(name);
    return names;
  }

  bool Has(absl::string_view name) const override {
    return header_.entries.count(std::string(name)) == 1;
  }

  const Metadata& metadata() const override { return header_.metadata; }

 private:
  absl::StatusOr<Array> ReadPresent(const std::string& name,
                                    const ReadLimits& limits) const override {
    const SafetensorsEntry& entry = header_.entries.at(name);
    const std::string what = absl::StrCat("tensor ", Quoted(name));
    const auto type = TypeOfSafetensorsDtype(entry.dtype);
    if (!type) {
      return FileError(source(),
                       absl::StrCat(what, " has dtype ", Quoted(entry.dtype),
                                    "; expected F32, F64, F16, BF16 or BOOL"));
    }
    const int64_t bytes = entry.end - entry.begin;
    absl::Status status = CheckLimit(source(), what, bytes, limits);
    if (!status.ok()) return status;
    Array array = {*type, entry.shape,
                   std::string(static_cast<size_t>(bytes), '\0')};
    status = bytes_.Read(data_begin_ + entry.begin, bytes, array.data.data());
    if (status.ok()) status = CheckBool(source(), what, array);
    if (!status.ok()) return status;
    return array;
  }

  const ByteSource& bytes_;
  const int64_t data_begin_;
  const SafetensorsHeader header_;
};

// The length of the header as it is stated. REQUIRES: the bytes are there.
absl::StatusOr<uint64_t> StatedLength(const ByteSource& source) {
  char bytes[kLengthBytes];
  absl::Status status = source.Read(0, kLengthBytes, bytes);
  if (!status.ok()) return status;
  uint64_t length = 0;
  std::memcpy(&length, bytes, sizeof(length));
  return length;
}

}  // namespace

bool LooksLikeSafetensors(const ByteSource& source) {
  char brace = 0;
  const absl::StatusOr<uint64_t> length = StatedLength(source);
  return length.ok() &&
         *length <= static_cast<uint64_t>(source.size() - kLengthBytes) &&
         source.Read(kLengthBytes, 1, &brace).ok() && brace == '{';
}

absl::StatusOr<std::unique_ptr<ArrayBundle>> OpenSafetensors(
    const ByteSource& source) {
  if (source.size() < kLengthBytes) {
    return FileError(source.name(),
                     absl::StrCat("has ", source.size(),
                                  " bytes; a .safetensors file has at least 8, "
                                  "the length of its header"));
  }
  const absl::StatusOr<uint64_t> length = StatedLength(source);
  if (!length.ok()) return length.status();
  const auto behind = static_cast<uint64_t>(source.size() - kLengthBytes);
  if (*length > behind || *length > kMaxHeaderBytes) {
    return FileError(
        source.name(),
        absl::StrCat("states a header of ", *length,
                     " bytes; expected at most ",
                     std::min(behind, kMaxHeaderBytes),
                     "; is it cut off, or not a .safetensors file?"));
  }
  std::string text(*length, '\0');
  absl::Status status =
      source.Read(kLengthBytes, static_cast<int64_t>(*length), text.data());
  if (!status.ok()) return status;
  const auto data_begin = kLengthBytes + static_cast<int64_t>(*length);
  absl::StatusOr<SafetensorsHeader> header =
      ParseSafetensorsHeader(text, source.size() - data_begin, source.name());
  if (!header.ok()) return header.status();
  return std::make_unique<SafetensorsFile>(source, data_begin,
                                           *std::move(header));
}

void WriteSafetensors(absl::Span<const NamedArray> arrays,
                      const Metadata& metadata, std::ostream& out) {
  std::vector<const NamedArray*> order;
  order.reserve(arrays.size());
  for (const NamedArray& array : arrays) order.push_back(&array);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(-ElementSize(a->array.type), a->name) <
           std::pair(-ElementSize(b->array.type), b->name);
  });
  out << SafetensorsHeaderText(order, metadata);
  for (const NamedArray* named : order) out << named->array.data;
}

}  // namespace attention::files
