// A message without the fields that its contract does not know.
#include <cstddef>
#include <cstdint>
#include <string>

#include "proto/wire_reader.h"

namespace attention {

// Goes over a message that was walked over, so nothing in it is broken.
class KnownCopier : private WireReader {
 public:
  KnownCopier(const WireContract& contract,
              absl::Span<const absl::string_view> slices, std::string& out)
      : WireReader(contract, slices), out_(out) {}

  void Copy() { Message(0, cursor_.end()); }

 private:
  void Message(int node, int64_t end) {
    while (cursor_.position() < end) {
      uint64_t tag = 0;
      cursor_.ReadVarint(wire::kMaxTagBytes, end, tag);
      const auto number = static_cast<uint32_t>(tag) >> 3U;
      const uint32_t type = tag & 7U;
      const Field* const field = NodeAt(node).Find(number);
      if (field == nullptr) {
        SkipUnknown(number, type, end);
        continue;
      }
      wire::AppendVarint(static_cast<uint32_t>(tag), out_);
      Known(*field, type, end);
    }
  }

  void Known(const Field& field, uint32_t type, int64_t end) {
    if (type == wire::kVarint) {
      uint64_t value = 0;
      cursor_.ReadVarint(wire::kMaxVarintBytes, end, value);
      wire::AppendVarint(value, out_);
      return;
    }
    if (type != wire::kLengthDelimited) {
      return Append(type == wire::kFixed64 ? 8 : 4);
    }
    int64_t size = 0;
    ReadSize(end, size);
    if (field.kind != Kind::kMessage) {
      wire::AppendVarint(static_cast<uint64_t>(size), out_);
      return Append(size);
    }
    // Its size is known once it is through, and is then written in as many
    // bytes as the one it replaces: so the copy is never longer than the
    // original.
    const size_t at = out_.size();
    const size_t width = wire::VarintSize(static_cast<uint64_t>(size));
    out_.append(width, '\0');
    Message(field.node, cursor_.position() + size);
    uint64_t written = out_.size() - at - width;
    for (size_t i = 0; i < width; ++i, written >>= 7U) {
      const bool more = i + 1 < width;
      out_[at + i] = static_cast<char>((written & 0x7FU) | (more ? 0x80U : 0U));
    }
  }

  void Append(int64_t count) {
    cursor_.Take(count, [this](absl::string_view bytes) {
      out_.append(bytes.data(), bytes.size());
    });
  }

  std::string& out_;
};

void WireContract::CopyKnown(absl::Span<const absl::string_view> slices,
                             std::string& out) const {
  KnownCopier(*this, slices, out).Copy();
}

}  // namespace attention
