#include "proto/join_message.h"

#include <cassert>
#include <cstdint>

#include "absl/strings/strip.h"
#include "attention/v1/attention.pb.h"
#include "proto/wire.h"

namespace attention {
namespace {

// What is left of a text that protobuf wrote, and so can be read unchecked.
class Reader {
 public:
  explicit Reader(absl::string_view text) : text_(text) {}

  bool AtEnd() const { return text_.empty(); }

  uint64_t Varint() {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = static_cast<uint8_t>(text_.front());
      text_.remove_prefix(1);
      value |= uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
  }

  absl::string_view Bytes(uint64_t count) {
    const absl::string_view bytes = text_.substr(0, count);
    text_.remove_prefix(bytes.size());
    return bytes;
  }

  // What was read since `start`, which is of the same text.
  absl::string_view Since(absl::string_view start) const {
    return start.substr(0, start.size() - text_.size());
  }
  absl::string_view rest() const { return text_; }

 private:
  absl::string_view text_;
};

// Copies a serialized message and puts the data in. Sizes of what contains a
// tensor with data are written anew.
class Joiner {
 public:
  Joiner(const TensorTable& table, absl::string_view around,
         absl::Span<const TensorData> data, TextWithGaps& out)
      : table_(table), around_(around), data_(data), out_(out) {}

  void Message(const TensorTable::Node& node, absl::string_view text) {
    Reader reader(text);
    while (!reader.AtEnd()) {
      const absl::string_view start = reader.rest();
      const uint64_t tag = reader.Varint();
      switch (tag & 7U) {
        case wire::kVarint:
          reader.Varint();
          break;
        case wire::kFixed64:
          reader.Bytes(sizeof(uint64_t));
          break;
        case wire::kFixed32:
          reader.Bytes(sizeof(uint32_t));
          break;
        case wire::kLengthDelimited: {
          const absl::string_view body = reader.Bytes(reader.Varint());
          const TensorTable::Field* const field =
              FindField(node, static_cast<int>(tag >> 3U));
          if (field == nullptr || !HasData(*field)) break;
          Embedded(*field, body);
          continue;
        }
        default:
          assert(false);  // a group; the contract has none
          return;
      }
      const absl::string_view copied = reader.Since(start);
      out_.text.append(copied.data(), copied.size());
    }
  }

 private:
  // The data of tensor `number`; empty without.
  absl::string_view DataOf(int number) const {
    absl::string_view path = table_.path(number);
    if (!absl::ConsumePrefix(&path, around_)) return {};
    for (const TensorData& tensor : data_) {
      if (tensor.path == path) return tensor.data;
    }
    return {};
  }

  bool HasData(const TensorTable::Field& field) const {
    for (int tensor = field.first; tensor < field.end; ++tensor) {
      if (!DataOf(tensor).empty()) return true;
    }
    return false;
  }

  // A message whose size is known once it is through.
  void Embedded(const TensorTable::Field& field, absl::string_view body) {
    wire::AppendVarint(wire::Tag(field.number, wire::kLengthDelimited),
                       out_.text);
    const size_t start = out_.text.size();
    const size_t first_gap = out_.gaps.size();
    if (field.is == TensorTable::Field::Is::kTensor) {
      Tensor(body, DataOf(field.first));
    } else {
      Message(table_.node(field.node), body);
    }
    size_t size = out_.text.size() - start;
    for (size_t i = first_gap; i < out_.gaps.size(); ++i) {
      size += out_.gaps[i].data.size();
    }
    const size_t header = wire::VarintSize(size);
    out_.text.insert(start, header, '\0');
    wire::PutVarint(size, &out_.text[start]);
    for (size_t i = first_gap; i < out_.gaps.size(); ++i) {
      out_.gaps[i].at += header;
    }
  }

  // dtype and shape come before data, and values are not there if data is.
  void Tensor(absl::string_view body, absl::string_view data) {
    out_.text.append(body.data(), body.size());
    wire::AppendVarint(
        wire::Tag(v1::Tensor::kDataFieldNumber, wire::kLengthDelimited),
        out_.text);
    wire::AppendVarint(data.size(), out_.text);
    out_.gaps.push_back({out_.text.size(), data});
  }

  const TensorTable& table_;
  const absl::string_view around_;
  const absl::Span<const TensorData> data_;
  TextWithGaps& out_;
};

}  // namespace

size_t TextWithGaps::size() const {
  size_t size = text.size();
  for (const Gap& gap : gaps) size += gap.data.size();
  return size;
}

TextWithGaps JoinMessage(const google::protobuf::Message& message,
                         const TensorTable& table, absl::string_view around,
                         absl::Span<const TensorData> data) {
  TextWithGaps out;
  bool any = false;
  for (const TensorData& tensor : data) any = any || !tensor.data.empty();
  if (!any) {
    message.SerializeToString(&out.text);
    return out;
  }
  const std::string text = message.SerializeAsString();
  // Of each tensor at most a header of its own and those around it, longer.
  constexpr size_t kMostOfATensor = 64;
  out.text.reserve(text.size() + data.size() * kMostOfATensor);
  Joiner(table, around, data, out).Message(table.root(), text);
  return out;
}

}  // namespace attention
