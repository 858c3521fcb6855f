// A message held against its contract.
#include <google/protobuf/stubs/common.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "proto/wire_contract.h"
#include "proto/wire_reader.h"

namespace attention {
namespace {

using absl::StrCat;

// Of messages inside a message that are to be merged: none of an ordinary
// client has more than it has fields.
constexpr int64_t kMaxParts = 1024;

constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

// 0 if either is negative.
int64_t SaturatingProduct(int64_t a, int64_t b) {
  if (a <= 0 || b <= 0) return 0;
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kAny : product;
}

}  // namespace

class WireWalker : private WireReader {
 public:
  WireWalker(const WireContract& contract,
             absl::Span<const absl::string_view> slices, int64_t max_axis)
      : WireReader(contract, slices), max_axis_(max_axis) {}

  WireWalk Walk() {
    if (cursor_.end() > std::numeric_limits<int32_t>::max()) {
      Broken(0, nullptr, "is longer than 2^31 - 1 bytes");
    } else if (Message(0, cursor_.end())) {
      CheckEntries();
    }
    return std::move(found_);
  }

 private:
  // Of one repeated field.
  struct Count {
    int64_t entries = 0;
    // Of a shape.
    int64_t first_axis = 0;
    int64_t product = 1;
  };

  // The fields of the message at `node`, which ends at `end`. This and all that
  // follow return false once found_ has an error.
  bool Message(int node, int64_t end) {
    while (cursor_.position() < end) {
      const int64_t start = cursor_.position();
      uint64_t wide_tag = 0;
      if (!cursor_.ReadVarint(wire::kMaxTagBytes, end, wide_tag)) {
        return Broken(node, nullptr, "is cut inside a field's tag");
      }
      const auto tag = static_cast<uint32_t>(wide_tag);
      const uint32_t number = tag >> 3U;
      const uint32_t type = tag & 7U;
      if (number == 0 || type == wire::kGroupEnd || type > wire::kFixed32) {
        return Broken(node, nullptr, StrCat("has the impossible tag ", tag));
      }
      const Field* const field = NodeAt(node).Find(number);
      if (field != nullptr) {
        if (!Known(node, *field, type, end)) return false;
        continue;
      }
      if (!SkipUnknown(number, type, end)) {
        return Broken(node, nullptr, StrCat("is broken inside field ", number));
      }
      found_.unknown_bytes += cursor_.position() - start;
    }
    return true;
  }

  bool Known(int node, const Field& field, uint32_t type, int64_t end) {
    const bool repeated = field.counter >= 0;
    const uint32_t expected = TypeOf(field);
    if (type == wire::kLengthDelimited) {
      const bool packed = repeated && expected != type;
      if (packed || expected == type) {
        int64_t size = 0;
        if (!ReadSize(end, size)) {
          return Broken(node, &field, "is longer than what it is in");
        }
        return packed ? Packed(node, field, size) : Sized(node, field, size);
      }
    }
    if (type != expected) {
      return Broken(node, &field,
                    StrCat("has wire type ", type, "; expected ", expected));
    }
    uint64_t value = 0;
    const bool whole =
        field.kind == Kind::kVarint
            ? cursor_.ReadVarint(wire::kMaxVarintBytes, end, value)
            : SkipWithin(field.kind == Kind::kFixed64 ? 8 : 4, end);
    if (!whole) return Broken(node, &field, "is cut");
    if (repeated) CountOne(field, value);
    return true;
  }

  void CountOne(const Field& field, uint64_t value) {
    Count& count = CountOf(field);
    if (field.axes) {
      const auto axis = static_cast<int64_t>(value);
      if (count.entries == 0) count.first_axis = axis;
      count.product = SaturatingProduct(count.product, axis);
    }
    ++count.entries;
    CountNumbers(field, 1);
  }

  void CountNumbers(const Field& field, int64_t numbers) {
    constexpr int64_t kDoubled = 4;
    found_.counted_numbers += numbers;
    found_.array_bytes += kDoubled * field.number_bytes * numbers;
  }

  // `size` bytes of entries without tags.
  bool Packed(int node, const Field& field, int64_t size) {
    const int64_t end = cursor_.position() + size;
    if (field.kind != Kind::kVarint) {
      const int64_t each = field.kind == Kind::kFixed64 ? 8 : 4;
      if (size % each != 0) return Broken(node, &field, "is cut");
      CountOf(field).entries += size / each;
      cursor_.Skip(size);
      return true;
    }
    while (field.axes && cursor_.position() < end &&
           CountOf(field).entries < field.max_entries) {
      uint64_t value = 0;
      if (!cursor_.ReadVarint(wire::kMaxVarintBytes, end, value)) {
        return Broken(node, &field, "is cut");
      }
      CountOne(field, value);
    }
    // All others: each has one byte below 0x80, its last. Whether one is too
    // long is left to protobuf.
    uint8_t last = 0;
    cursor_.Take(end - cursor_.position(), [&](absl::string_view bytes) {
      int64_t entries = 0;
      for (const char byte : bytes) {
        entries += static_cast<uint8_t>(byte) < 0x80 ? 1 : 0;
      }
      CountOf(field).entries += entries;
      CountNumbers(field, entries);
      last = static_cast<uint8_t>(bytes.back());
    });
    return last < 0x80 || Broken(node, &field, "is cut");
  }

  // A string, bytes or a message of `size` bytes.
  bool Sized(int node, const Field& field, int64_t size) {
    if (field.counter >= 0) ++CountOf(field).entries;
    if (field.kind == Kind::kMessage) {
      if (field.counter < 0 && ++parts_ > kMaxParts) {
        return Refuse(
            FieldError(Path(node, &field, /*entry=*/true),
                       StrCat("comes in parts, and makes more than ", kMaxParts,
                              " with those of other fields; expected one")));
      }
      return Message(field.node, cursor_.position() + size);
    }
    if (field.max_bytes == kAny) found_.data_bytes += size;
    if (size > std::max(field.max_bytes, WireContract::kAlwaysTaken)) {
      return Refuse(FieldError(
          Path(node, &field, /*entry=*/true),
          StrCat("has ", size, " bytes; expected at most ", field.max_bytes)));
    }
    if (field.kind == Kind::kBytes || size > WireContract::kAlwaysTaken) {
      cursor_.Skip(size);
      return true;
    }
    std::array<char, WireContract::kAlwaysTaken> text;
    char* at = text.data();
    cursor_.Take(size, [&](absl::string_view bytes) {
      std::memcpy(at, bytes.data(), bytes.size());
      at += bytes.size();
    });
    return google::protobuf::internal::IsStructurallyValidUTF8(
               text.data(), static_cast<int>(size)) ||
           Broken(node, &field, "is not UTF-8");
  }

  void CheckEntries() {
    for (size_t node = 0; node < contract_.nodes_.size(); ++node) {
      for (const Field& field : contract_.nodes_[node].fields) {
        if (field.counter < 0) continue;
        if (!CheckEntries(static_cast<int>(node), field)) return;
      }
    }
  }

  bool CheckEntries(int node, const Field& field) {
    const int64_t entries = CountOf(field).entries;
    int64_t most = field.max_entries;
    const char* said_by = "";
    if (field.bound != WireContract::Bound::kFixed) {
      const Count& shape = counts_[static_cast<size_t>(field.shape)];
      if (field.bound == WireContract::Bound::kShape) {
        most = shape.entries == 0 ? 0 : shape.product;
        said_by = ", the product of its shape";
      } else {
        // Below rank 3 there is one item.
        most = shape.entries < 3
                   ? 1
                   : std::clamp<int64_t>(shape.first_axis, 0, max_axis_);
        said_by = ", the batch";
      }
      if (entries <= WireContract::kAlwaysTaken) return true;
    }
    if (entries <= most) return true;
    return Refuse(FieldError(
        Path(node, &field, /*entry=*/false),
        StrCat("has ", entries, " entries; expected at most ", most, said_by)));
  }

  Count& CountOf(const Field& field) {
    return counts_[static_cast<size_t>(field.counter)];
  }

  // As error messages name it: of a field, or of the message itself; of the
  // entry that is being read, if asked for. Empty for the whole.
  std::string Path(int node, const Field* field, bool entry) const {
    std::string path;
    if (const Node& message = NodeAt(node); message.in_parent != nullptr) {
      const Field* const parent =
          NodeAt(message.parent)
              .Find(static_cast<uint32_t>(message.in_parent->number()));
      path = Path(message.parent, parent, entry);
    }
    if (field == nullptr || !field->named) return path;
    absl::StrAppend(&path, path.empty() ? "" : ".", field->descriptor->name());
    const bool has_entries =
        field->counter >= 0 && TypeOf(*field) == wire::kLengthDelimited;
    if (entry && has_entries) {
      const Count& count = counts_[static_cast<size_t>(field->counter)];
      absl::StrAppend(&path, "[", std::max<int64_t>(count.entries - 1, 0), "]");
    }
    return path;
  }

  // The bytes at hand are not what they should be: those of a field, or of the
  // message at `node` itself.
  bool Broken(int node, const Field* field, absl::string_view how) {
    found_.malformed = true;
    const std::string where =
        StrCat(" (at byte ", cursor_.position(), "); expected a serialized ",
               contract_.message().full_name());
    const std::string path = Path(node, field, /*entry=*/true);
    if (!path.empty()) return Refuse(FieldError(path, StrCat(how, where)));
    return Refuse(
        absl::InvalidArgumentError(StrCat("the message ", how, where)));
  }

  bool Refuse(absl::Status status) {
    found_.status = std::move(status);
    return false;
  }

  const int64_t max_axis_;
  WireWalk found_;
  int64_t parts_ = 0;  // messages that are not entries of a map
  std::array<Count, WireContract::kMaxCounters> counts_;
};

WireWalk WireContract::Walk(absl::Span<const absl::string_view> slices,
                            int64_t max_axis) const {
  return WireWalker(*this, slices, max_axis).Walk();
}

}  // namespace attention
