// A message to be sent, its tensors' data left where they were computed.
#ifndef PROTO_JOIN_MESSAGE_H_
#define PROTO_JOIN_MESSAGE_H_

#include <google/protobuf/message.h>

#include <cstddef>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/tensor_table.h"

namespace attention {

// The data of one tensor of a message.
struct TensorData {
  absl::string_view path;  // "top_k.weights"
  absl::string_view data;
};

// A serialized message with gaps: `text` up to gaps[0].at, gaps[0].data, `text`
// up to gaps[1].at, and so on.
struct TextWithGaps {
  struct Gap {
    size_t at;
    absl::string_view data;
  };
  std::string text;
  absl::InlinedVector<Gap, 2> gaps;  // none without data

  // Of text and data.
  size_t size() const;
};

// The bytes that protobuf makes of `message` with `data` as the data of its
// tensors. `table` is that of its type; `around` is what its paths have before
// those of `data`: "response." where these are of the message in that field.
// REQUIRES: each tensor of `data` that is not empty is in `message`, without
// data or values of its own, and once in `data`.
TextWithGaps JoinMessage(const google::protobuf::Message& message,
                         const TensorTable& table, absl::string_view around,
                         absl::Span<const TensorData> data);

}  // namespace attention

#endif  // PROTO_JOIN_MESSAGE_H_
