// Where the tensors of a message type are, found by its own descriptor.
//
// A tensor is known by its path in the message, the names of the fields that
// lead to it: "query", "top_k.weights", "weights.query.bias". So whatever moves
// tensors between the network and their memory (proto/split_message.h,
// proto/join_message.h) knows none of them by name, and a message of the
// contract that gets another tensor needs no code to carry it.
#ifndef PROTO_TENSOR_TABLE_H_
#define PROTO_TENSOR_TABLE_H_

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/wire.h"

namespace attention {

// The fields of type attention.v1.Tensor of a message, and of the messages in
// it, numbered in the order of their declaration, depth first; and what of the
// wire form decides which of them are there. Not in it, and so left to
// protobuf: what is below a repeated field, and a type inside of itself.
// Immutable.
class TensorTable {
 public:
  // What a field of a message means for the tensors in it.
  struct Field {
    enum class Is {
      kTensor,   // number `first`
      kMessage,  // its fields are at `node`; tensors `first` to `end` - 1
      kRival,    // of a oneof with tensors, and none itself
    };
    int number = 0;
    wire::Type type = wire::kLengthDelimited;
    Is is = Is::kTensor;
    int node = 0;
    int first = 0;
    int end = 0;
    int oneof = -1;  // its index in the message; -1: of none
  };
  // The fields that matter of one message.
  using Node = std::vector<Field>;

  explicit TensorTable(const google::protobuf::Descriptor& type);

  // Of the message itself.
  const Node& root() const { return nodes_[0]; }
  const Node& node(int number) const {
    return nodes_[static_cast<size_t>(number)];
  }

  // Of tensor `number`, such as "query". Lives as long as this.
  absl::string_view path(int number) const {
    return paths_[static_cast<size_t>(number)];
  }
  int size() const { return static_cast<int>(paths_.size()); }

 private:
  int AddNode(const google::protobuf::Descriptor& type,
              const std::string& prefix,
              std::vector<const google::protobuf::Descriptor*>& around);

  std::vector<Node> nodes_;
  std::vector<std::string> paths_;
};

// The field of `node` with this number; null if it does not matter.
inline const TensorTable::Field* FindField(const TensorTable::Node& node,
                                           int number) {
  for (const TensorTable::Field& field : node) {
    if (field.number == number) return &field;
  }
  return nullptr;
}

// The table of a generated message, made at its first use.
template <typename Message>
const TensorTable& TensorTableOf() {
  static const TensorTable table(*Message::descriptor());
  return table;
}

}  // namespace attention

#endif  // PROTO_TENSOR_TABLE_H_
