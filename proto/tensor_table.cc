#include "proto/tensor_table.h"

#include <algorithm>

#include "attention/v1/attention.pb.h"

namespace attention {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::OneofDescriptor;

wire::Type WireType(const FieldDescriptor& field) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_DOUBLE:
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED64:
      return wire::kFixed64;
    case FieldDescriptor::TYPE_FLOAT:
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_SFIXED32:
      return wire::kFixed32;
    case FieldDescriptor::TYPE_STRING:
    case FieldDescriptor::TYPE_BYTES:
    case FieldDescriptor::TYPE_MESSAGE:
      return wire::kLengthDelimited;
    case FieldDescriptor::TYPE_GROUP:
      return wire::kGroupStart;
    default:
      return wire::kVarint;
  }
}

// Index of the oneof that decides whether `field` is there; -1 without one.
int OneofOf(const FieldDescriptor& field) {
  const OneofDescriptor* const oneof = field.real_containing_oneof();
  return oneof == nullptr ? -1 : oneof->index();
}

}  // namespace

TensorTable::TensorTable(const Descriptor& type) {
  std::vector<const Descriptor*> around;
  AddNode(type, "", around);
}

int TensorTable::AddNode(const Descriptor& type, const std::string& prefix,
                         std::vector<const Descriptor*>& around) {
  const auto number = static_cast<int>(nodes_.size());
  nodes_.emplace_back();
  around.push_back(&type);
  Node node;
  Node rivals;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& declared = *type.field(i);
    Field field;
    field.number = declared.number();
    field.type = WireType(declared);
    field.oneof = OneofOf(declared);
    field.first = field.end = size();
    const Descriptor* const below = declared.message_type();
    const bool single_message =
        below != nullptr && !declared.is_repeated() &&
        std::find(around.begin(), around.end(), below) == around.end();
    if (single_message && below == v1::Tensor::descriptor()) {
      paths_.push_back(prefix + declared.name());
      field.end = size();
      node.push_back(field);
      continue;
    }
    if (single_message) {
      field.is = Field::Is::kMessage;
      field.node = AddNode(*below, prefix + declared.name() + ".", around);
      field.end = size();
      if (field.end > field.first) {
        node.push_back(field);
        continue;
      }
      nodes_.pop_back();  // nothing below it has tensors either
    }
    field.is = Field::Is::kRival;
    rivals.push_back(field);
  }
  for (const Field& rival : rivals) {
    const bool of_tensors =
        rival.oneof >= 0 &&
        std::any_of(node.begin(), node.end(), [&](const Field& field) {
          return field.oneof == rival.oneof;
        });
    if (of_tensors) node.push_back(rival);
  }
  around.pop_back();
  nodes_[static_cast<size_t>(number)] = std::move(node);
  return number;
}

}  // namespace attention
