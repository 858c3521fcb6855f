// Reading the wire form of a message along its contract.
#ifndef PROTO_WIRE_READER_H_
#define PROTO_WIRE_READER_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/wire.h"
#include "proto/wire_contract.h"
#include "proto/wire_cursor.h"

namespace attention {

// What walking and copying have in common.
class WireReader {
 protected:
  // protobuf's parser goes 100 deep, messages of the contract included.
  static constexpr int kMaxGroupDepth = 64;

  using Field = WireContract::Field;
  using Kind = WireContract::Kind;
  using Node = WireContract::Node;

  WireReader(const WireContract& contract,
             absl::Span<const absl::string_view> slices)
      : contract_(contract), cursor_(slices) {}

  const Node& NodeAt(int index) const {
    return contract_.nodes_[static_cast<size_t>(index)];
  }

  // The wire type of one entry.
  static wire::Type TypeOf(const Field& field) {
    switch (field.kind) {
      case Kind::kVarint:
        return wire::kVarint;
      case Kind::kFixed32:
        return wire::kFixed32;
      case Kind::kFixed64:
        return wire::kFixed64;
      default:
        return wire::kLengthDelimited;
    }
  }

  // False if the size of what follows is broken, or more than there is.
  bool ReadSize(int64_t end, int64_t& size) {
    uint64_t value = 0;
    if (!cursor_.ReadVarint(wire::kMaxSizeBytes, end, value)) return false;
    if (value > static_cast<uint64_t>(end - cursor_.position())) return false;
    size = static_cast<int64_t>(value);
    return true;
  }

  bool SkipWithin(int64_t count, int64_t end) {
    if (count > end - cursor_.position()) return false;
    cursor_.Skip(count);
    return true;
  }

  // Skips what follows a tag of this type, which starts no group; false if it
  // is broken.
  bool SkipOne(uint32_t type, int64_t end) {
    uint64_t value = 0;
    int64_t size = 0;
    switch (type) {
      case wire::kVarint:
        return cursor_.ReadVarint(wire::kMaxVarintBytes, end, value);
      case wire::kFixed64:
        return SkipWithin(8, end);
      case wire::kFixed32:
        return SkipWithin(4, end);
      case wire::kLengthDelimited:
        if (!ReadSize(end, size)) return false;
        cursor_.Skip(size);
        return true;
      default:
        return false;
    }
  }

  // The same for any tag: a group is skipped with all that is in it.
  bool SkipUnknown(uint32_t number, uint32_t type, int64_t end) {
    if (type != wire::kGroupStart) return SkipOne(type, end);
    std::array<uint32_t, kMaxGroupDepth> open;
    size_t depth = 0;
    open[depth++] = number;
    while (depth > 0) {
      uint64_t tag = 0;
      if (!cursor_.ReadVarint(wire::kMaxTagBytes, end, tag)) return false;
      number = static_cast<uint32_t>(tag) >> 3U;
      type = tag & 7U;
      if (number == 0) return false;
      if (type == wire::kGroupStart) {
        if (depth == open.size()) return false;
        open[depth++] = number;
      } else if (type == wire::kGroupEnd) {
        if (open[--depth] != number) return false;
      } else if (!SkipOne(type, end)) {
        return false;
      }
    }
    return true;
  }

  const WireContract& contract_;
  wire::Cursor cursor_;
};

}  // namespace attention

#endif  // PROTO_WIRE_READER_H_
