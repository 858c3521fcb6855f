#include "proto/split_message.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "attention/v1/attention.pb.h"
#include "proto/wire.h"
#include "proto/wire_cursor.h"

namespace attention {
namespace {

using wire::Cursor;
using wire::kMaxSizeBytes;
using wire::kMaxTagBytes;
using wire::kMaxVarintBytes;

// How far the id of a streamed request is looked for: it has two fields, and
// who asks has no time for more.
constexpr int kMostFieldsForId = 1024;

// Goes through a message and writes all of it but the data of its tensors to
// `rest`. The rest is read by protobuf afterwards, which is then the judge of
// everything that was not taken out. Each function returns false where the
// structure is broken.
class Splitter {
 public:
  Splitter(absl::Span<const absl::string_view> slices, const TensorTable& table,
           CutTensors& cut, size_t rest_bytes)
      : cursor_(slices), table_(table), cut_(cut) {
    rest_.reserve(rest_bytes);
  }

  bool Split() { return Message(table_.root(), cursor_.end()); }

  const std::string& rest() const { return rest_; }

 private:
  using Field = TensorTable::Field;

  // The fields of a message that ends at `end`. `body(field, end)` takes a
  // length-delimited field of `node` that ends at `end` and returns whether it
  // could.
  template <typename Body>
  bool Fields(const TensorTable::Node& node, int64_t end, Body body) {
    int open_groups = 0;  // unknown ones; nothing inside is a field of ours
    while (cursor_.position() < end) {
      uint64_t wide_tag = 0;
      if (!cursor_.ReadVarint(kMaxTagBytes, end, wide_tag)) return false;
      const auto tag = static_cast<uint32_t>(wide_tag);
      const uint32_t type = tag & 7U;
      const Field* const field =
          open_groups == 0 ? TakeNotice(node, tag) : nullptr;
      if (type != wire::kLengthDelimited) {
        if (!CopyUndelimited(tag, end, open_groups)) return false;
        continue;
      }
      uint64_t size = 0;
      if (!cursor_.ReadVarint(kMaxSizeBytes, end, size)) return false;
      if (size > static_cast<uint64_t>(end - cursor_.position())) return false;
      if (field != nullptr && field->is != Field::Is::kRival) {
        const int64_t field_end =
            cursor_.position() + static_cast<int64_t>(size);
        if (!body(*field, field_end)) return false;
        continue;
      }
      wire::AppendVarint(tag, rest_);
      wire::AppendVarint(size, rest_);
      Copy(static_cast<int64_t>(size));
    }
    return open_groups == 0;
  }

  // The field of `node` that `tag` begins, if it matters; it takes the place of
  // its rivals.
  const Field* TakeNotice(const TensorTable::Node& node, uint32_t tag) {
    const Field* const field = FindField(node, static_cast<int>(tag >> 3U));
    // Of another type than declared it is a field protobuf does not know.
    if (field == nullptr || field->type != (tag & 7U)) return nullptr;
    if (field->oneof >= 0) DropRivals(node, *field);
    return field;
  }

  // The members of a oneof that `chosen` takes the place of.
  void DropRivals(const TensorTable::Node& node, const Field& chosen) {
    for (const Field& rival : node) {
      if (rival.oneof != chosen.oneof || rival.number == chosen.number) {
        continue;
      }
      for (CutTensor& tensor : cut_) {
        if (rival.first <= tensor.number && tensor.number < rival.end) {
          tensor.data.Clear();
        }
      }
    }
  }

  // A field that does not say its size.
  bool CopyUndelimited(uint32_t tag, int64_t end, int& open_groups) {
    wire::AppendVarint(tag, rest_);
    const uint32_t type = tag & 7U;
    if (type == wire::kGroupStart) ++open_groups;
    if (type == wire::kGroupEnd && --open_groups < 0) return false;
    return CopyScalar(type, end);
  }

  bool CopyScalar(uint32_t type, int64_t end) {
    uint64_t number = 0;
    switch (type) {
      case wire::kVarint:
        if (!cursor_.ReadVarint(kMaxVarintBytes, end, number)) return false;
        wire::AppendVarint(number, rest_);
        return true;
      case wire::kFixed64:
        return CopyWithin(8, end);
      case wire::kFixed32:
        return CopyWithin(4, end);
      case wire::kGroupStart:
      case wire::kGroupEnd:
        return true;
      default:
        return false;
    }
  }

  bool CopyWithin(int64_t count, int64_t end) {
    if (count > end - cursor_.position()) return false;
    Copy(count);
    return true;
  }

  void Copy(int64_t count) {
    cursor_.Take(count, [this](absl::string_view bytes) {
      rest_.append(bytes.data(), bytes.size());
    });
  }

  // An embedded message, whose size in `rest` is known once it is through.
  template <typename Body>
  bool Embedded(int field, Body body) {
    wire::AppendVarint(wire::Tag(field, wire::kLengthDelimited), rest_);
    const size_t start = rest_.size();
    if (!body()) return false;
    const size_t size = rest_.size() - start;
    rest_.insert(start, wire::VarintSize(size), '\0');
    wire::PutVarint(size, &rest_[start]);
    return true;
  }

  bool Message(const TensorTable::Node& node, int64_t end) {
    return Fields(node, end, [this](const Field& field, int64_t field_end) {
      return Embedded(field.number, [&] {
        return field.is == Field::Is::kTensor
                   ? Tensor(field.first, field_end)
                   : Message(table_.node(field.node), field_end);
      });
    });
  }

  bool Tensor(int number, int64_t end) {
    static const TensorTable::Node kData = {{v1::Tensor::kDataFieldNumber,
                                             wire::kLengthDelimited,
                                             Field::Is::kTensor}};
    return Fields(kData, end, [&](const Field&, int64_t data_end) {
      // The last one wins, also if it is empty.
      ScatteredBytes& data = DataOf(number);
      data.Clear();
      cursor_.Take(data_end - cursor_.position(),
                   [&](absl::string_view bytes) { data.Append(bytes); });
      return true;
    });
  }

  ScatteredBytes& DataOf(int number) {
    for (CutTensor& tensor : cut_) {
      if (tensor.number == number) return tensor.data;
    }
    cut_.push_back({number, {}});
    return cut_.back().data;
  }

  Cursor cursor_;
  const TensorTable& table_;
  CutTensors& cut_;
  std::string rest_;
};

}  // namespace

void ScatteredBytes::Append(absl::string_view piece) {
  pieces.push_back({size, piece});
  size += static_cast<int64_t>(piece.size());
}

void ScatteredBytes::Clear() {
  pieces.clear();
  size = 0;
}

void ScatteredBytes::Copy(int64_t first, int64_t count, char* out) const {
  if (count == 0) return;
  // The last piece that starts at `first` or before it.
  const auto* piece =
      std::upper_bound(pieces.begin(), pieces.end(), first,
                       [](int64_t byte, const Piece& candidate) {
                         return byte < candidate.first;
                       });
  --piece;
  while (count > 0) {
    const absl::string_view from =
        piece->bytes.substr(static_cast<size_t>(first - piece->first));
    const int64_t run = std::min(count, static_cast<int64_t>(from.size()));
    std::memcpy(out, from.data(), static_cast<size_t>(run));
    out += run;
    first += run;
    count -= run;
    ++piece;
  }
}

absl::Status SplitMessage(absl::Span<const absl::string_view> slices,
                          const TensorTable& table,
                          google::protobuf::Message& message, CutTensors& cut,
                          size_t rest_bytes) {
  Splitter splitter(slices, table, cut, rest_bytes);
  if (splitter.Split() && message.ParseFromString(splitter.rest())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the message is not a serialized ",
                   message.GetDescriptor()->full_name()));
}

uint64_t StreamRequestId(absl::Span<const absl::string_view> slices) {
  constexpr uint32_t kIdTag =
      wire::Tag(v1::StreamAttentionRequest::kIdFieldNumber, wire::kVarint);
  Cursor cursor(slices);
  const int64_t end = cursor.end();
  const auto skip = [&](uint64_t count) {
    const auto left = static_cast<uint64_t>(end - cursor.position());
    cursor.Take(static_cast<int64_t>(std::min(count, left)),
                [](absl::string_view) {});
  };
  uint64_t id = 0;
  int open_groups = 0;
  uint64_t tag = 0;
  for (int field = 0;
       field < kMostFieldsForId && cursor.ReadVarint(kMaxTagBytes, end, tag);
       ++field) {
    uint64_t number = 0;
    switch (tag & 7U) {
      case wire::kVarint:
        if (!cursor.ReadVarint(kMaxVarintBytes, end, number)) return id;
        if (tag == kIdTag && open_groups == 0) id = number;
        break;
      case wire::kFixed64:
        skip(8);
        break;
      case wire::kLengthDelimited:
        if (!cursor.ReadVarint(kMaxSizeBytes, end, number)) return id;
        skip(number);
        break;
      case wire::kGroupStart:
        ++open_groups;
        break;
      case wire::kGroupEnd:
        --open_groups;
        break;
      case wire::kFixed32:
        skip(4);
        break;
      default:
        return id;
    }
  }
  return id;
}

}  // namespace attention
