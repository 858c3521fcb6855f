#include "proto/wire_walk.h"

#include <google/protobuf/stubs/common.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "proto/wire.h"
#include "proto/wire_cursor.h"

namespace attention {
namespace {

using absl::StrCat;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using wire::kMaxSizeBytes;
using wire::kMaxTagBytes;
using wire::kMaxVarintBytes;

// Of repeated fields in one message with all that is inside it.
constexpr int kMaxCounters = 64;

// protobuf's parser goes 100 deep, messages of the contract included.
constexpr int kMaxGroupDepth = 64;

// Of messages inside a message that are to be merged: none of an ordinary
// client has more than it has fields.
constexpr int64_t kMaxParts = 1024;

// The bound is the message's own.
constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

// Of strings and bytes: bytes. A string is never bounded above
// WireContract::kAlwaysTaken, which is as far as it can be looked at.
struct Bounded {
  absl::string_view field;
  int64_t most;
};
constexpr Bounded kMostBytes[] = {
    {"attention.v1.Tensor.data", kAny},
    {"attention.v1.WeightSetSelector.name", 128},
    {"attention.v1.WeightSetSelector.label", 64},
    {"attention.v1.SetWeightsRequest.name", 128},
    {"attention.v1.SetWeightsRequest.idempotency_key", 128},
    {"attention.v1.SetWeightsRequest.labels", 64},
    {"attention.v1.SetWeightsRequest.AnnotationsEntry.key", 128},
    {"attention.v1.SetWeightsRequest.AnnotationsEntry.value", 1024},
    {"attention.v1.UploadWeightsRequest.Header.name", 128},
    {"attention.v1.UploadWeightsRequest.Header.idempotency_key", 128},
    {"attention.v1.UploadWeightsRequest.Header.labels", 64},
    {"attention.v1.UploadWeightsRequest.Header.AnnotationsEntry.key", 128},
    {"attention.v1.UploadWeightsRequest.Header.AnnotationsEntry.value", 1024},
    {"attention.v1.UploadWeightsRequest.sha256", 64},
    {"attention.v1.TensorChunk.tensor", 64},
    {"attention.v1.TensorChunk.data", int64_t{1} << 20},
    {"attention.v1.ListWeightsRequest.name", 128},
    {"attention.v1.ListWeightsRequest.page_token", 512},
    {"attention.v1.DeleteWeightsRequest.name", 128},
    {"attention.v1.SetLabelRequest.name", 128},
    {"attention.v1.SetLabelRequest.label", 64},
    {"grpc.health.v1.HealthCheckRequest.service", 1024},
    {"grpc.reflection.v1.ServerReflectionRequest.host", 1024},
    {"grpc.reflection.v1.ServerReflectionRequest.file_by_filename", 1024},
    {"grpc.reflection.v1.ServerReflectionRequest.file_containing_symbol", 1024},
    {"grpc.reflection.v1.ServerReflectionRequest.all_extension_numbers_of_type",
     1024},
    {"grpc.reflection.v1.ServerReflectionRequest.list_services", 1024},
    {"grpc.reflection.v1.ExtensionRequest.containing_type", 1024},
};

// Of repeated fields: entries.
constexpr Bounded kMostEntries[] = {
    {"attention.v1.Tensor.shape", 8},
    {"attention.v1.SetWeightsRequest.labels", 64},
    {"attention.v1.SetWeightsRequest.annotations", 64},
    {"attention.v1.UploadWeightsRequest.Header.labels", 64},
    {"attention.v1.UploadWeightsRequest.Header.annotations", 64},
};

constexpr absl::string_view kShape = "attention.v1.Tensor.shape";
// Bounded by the product of the shape beside them.
constexpr absl::string_view kByShape[] = {"attention.v1.Tensor.values"};
// Bounded by the first axis of the query beside them.
constexpr absl::string_view kByBatch[] = {
    "attention.v1.ComputeAttentionRequest.query_offsets",
    "attention.v1.ComputeAttentionRequest.key_lengths"};

// Not named in the paths of what is inside (the contract's comments on
// StreamAttention and UploadWeights).
constexpr absl::string_view kUnnamed[] = {
    "attention.v1.StreamAttentionRequest.request",
    "attention.v1.UploadWeightsRequest.header"};

template <typename List>
bool Has(const List& list, absl::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

// Null if the list lacks it.
template <typename List>
const Bounded* Find(const List& list, absl::string_view name) {
  const auto* const found =
      std::find_if(std::begin(list), std::end(list),
                   [&](const Bounded& bound) { return bound.field == name; });
  return found == std::end(list) ? nullptr : found;
}

// 0 if either is negative.
int64_t SaturatingProduct(int64_t a, int64_t b) {
  if (a <= 0 || b <= 0) return 0;
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kAny : product;
}

}  // namespace

WireContract::WireContract(const Descriptor& message) : message_(message) {
  AddNode(message, /*parent=*/-1, /*in_parent=*/nullptr);
  assert(counters_ <= kMaxCounters);
  for (size_t node = 0; node < nodes_.size(); ++node) {
    FindShapes(static_cast<int>(node));
  }
}

int WireContract::AddNode(const Descriptor& message, int parent,
                          const FieldDescriptor* in_parent) {
  const auto index = static_cast<int>(nodes_.size());
  nodes_.push_back({parent, in_parent, {}});
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& descriptor = *message.field(i);
    Field field = FieldOf(descriptor);
    if (field.kind == Kind::kMessage) {
      field.node = AddNode(*descriptor.message_type(), index, &descriptor);
    }
    std::vector<Field>& fields = nodes_[static_cast<size_t>(index)].fields;
    const auto number = static_cast<size_t>(descriptor.number());
    if (fields.size() <= number) fields.resize(number + 1);
    fields[number] = field;
  }
  return index;
}

WireContract::Field WireContract::FieldOf(const FieldDescriptor& descriptor) {
  Field field;
  field.descriptor = &descriptor;
  const absl::string_view name = descriptor.full_name();
  switch (descriptor.type()) {
    case FieldDescriptor::TYPE_DOUBLE:
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED64:
      field.kind = Kind::kFixed64;
      break;
    case FieldDescriptor::TYPE_FLOAT:
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_SFIXED32:
      field.kind = Kind::kFixed32;
      break;
    case FieldDescriptor::TYPE_STRING:
    case FieldDescriptor::TYPE_BYTES: {
      field.kind = descriptor.type() == FieldDescriptor::TYPE_STRING
                       ? Kind::kString
                       : Kind::kBytes;
      const Bounded* const bytes = Find(kMostBytes, name);
      if (bytes == nullptr) unbounded_.emplace_back(name);
      field.max_bytes = bytes == nullptr ? kAny : bytes->most;
      assert(bytes == nullptr || field.kind == Kind::kBytes ||
             bytes->most <= kAlwaysTaken);
      break;
    }
    case FieldDescriptor::TYPE_MESSAGE:
      field.kind = Kind::kMessage;
      break;
    default:
      field.kind = Kind::kVarint;
  }
  const auto cpp_type = descriptor.cpp_type();
  field.number_bytes = cpp_type == FieldDescriptor::CPPTYPE_DOUBLE ||
                               cpp_type == FieldDescriptor::CPPTYPE_INT64 ||
                               cpp_type == FieldDescriptor::CPPTYPE_UINT64
                           ? 8
                           : 4;
  if (!descriptor.is_repeated()) return field;
  field.counter = counters_++;
  field.axes = name == kShape;
  if (Has(kByShape, name)) {
    field.bound = Bound::kShape;
  } else if (Has(kByBatch, name)) {
    field.bound = Bound::kBatch;
  } else {
    const Bounded* const entries = Find(kMostEntries, name);
    if (entries == nullptr) unbounded_.emplace_back(name);
    field.max_entries = entries == nullptr ? kAny : entries->most;
  }
  return field;
}

void WireContract::FindShapes(int node) {
  std::vector<Field>& fields = nodes_[static_cast<size_t>(node)].fields;
  const auto shape_in = [](const std::vector<Field>& among) {
    const auto found =
        std::find_if(among.begin(), among.end(),
                     [](const Field& field) { return field.axes; });
    assert(found != among.end());
    return found->counter;
  };
  for (Field& field : fields) {
    if (field.descriptor == nullptr) continue;
    if (field.bound == Bound::kShape) field.shape = shape_in(fields);
    if (field.bound == Bound::kBatch) {
      const auto* const query =
          field.descriptor->containing_type()->FindFieldByName("query");
      const int query_node = fields[static_cast<size_t>(query->number())].node;
      field.shape = shape_in(nodes_[static_cast<size_t>(query_node)].fields);
    }
  }
}

std::vector<std::string> WireContract::unbounded() const { return unbounded_; }

// What walking and copying have in common.
class WireReader {
 protected:
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
    if (!cursor_.ReadVarint(kMaxSizeBytes, end, value)) return false;
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
        return cursor_.ReadVarint(kMaxVarintBytes, end, value);
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
      if (!cursor_.ReadVarint(kMaxTagBytes, end, tag)) return false;
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
      if (!cursor_.ReadVarint(kMaxTagBytes, end, wide_tag)) {
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
            ? cursor_.ReadVarint(kMaxVarintBytes, end, value)
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
      if (!cursor_.ReadVarint(kMaxVarintBytes, end, value)) {
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
    if (field == nullptr || Has(kUnnamed, field->descriptor->full_name())) {
      return path;
    }
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
  std::array<Count, kMaxCounters> counts_;
};

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
      cursor_.ReadVarint(kMaxTagBytes, end, tag);
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
      cursor_.ReadVarint(kMaxVarintBytes, end, value);
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

WireWalk WireContract::Walk(absl::Span<const absl::string_view> slices,
                            int64_t max_axis) const {
  return WireWalker(*this, slices, max_axis).Walk();
}

void WireContract::CopyKnown(absl::Span<const absl::string_view> slices,
                             std::string& out) const {
  KnownCopier(*this, slices, out).Copy();
}

}  // namespace attention
