// A received message, its tensors' data left where they were received.
//
// protobuf would copy every `bytes` field into a string of its own, at an
// address that suits nobody. Here Tensor.data is found and left alone, so that
// the bytes move once, to where they are computed with; everything else is
// protobuf's.
#ifndef PROTO_SPLIT_MESSAGE_H_
#define PROTO_SPLIT_MESSAGE_H_

#include <google/protobuf/message.h>

#include <cstddef>
#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/tensor_table.h"

namespace attention {

// Bytes that lie in pieces, one after the other.
struct ScatteredBytes {
  struct Piece {
    int64_t first = 0;  // byte of all
    absl::string_view bytes;
  };
  absl::InlinedVector<Piece, 1> pieces;
  int64_t size = 0;  // of all pieces

  void Append(absl::string_view piece);
  void Clear();

  // Copies bytes [first, first + count) to `out`, in a time that depends on the
  // pieces between them, and hardly on those before. REQUIRES: they exist.
  void Copy(int64_t first, int64_t count, char* out) const;
};

// The data of one tensor of a message.
struct CutTensor {
  int number = 0;  // in the message's TensorTable
  ScatteredBytes data;
};
// In the order in which the first data of each came; an ordinary request has no
// more of them than fit without an allocation.
using CutTensors = absl::InlinedVector<CutTensor, 3>;

// Reads a serialized message that lies in `slices`, which may end anywhere.
// `message` gets everything but the data of the tensors of `table`, which is
// that of its type; `cut` gets the places of those bytes in `slices`. So both
// together are what protobuf parses: a field that comes twice is merged, or the
// last one wins; so it is with the members of a oneof; unknown fields are kept;
// and INVALID_ARGUMENT, naming the message type, is returned exactly where
// protobuf's parser fails.
//
// Copies, for a while, all bytes that are not such data; about `rest_bytes`, if
// that is known, which saves making room again and again.
// REQUIRES: `message` and `cut` are empty; fewer than 2^31 bytes.
absl::Status SplitMessage(absl::Span<const absl::string_view> slices,
                          const TensorTable& table,
                          google::protobuf::Message& message, CutTensors& cut,
                          size_t rest_bytes = 0);

// The id of a serialized StreamAttentionRequest, without reading the rest; of a
// broken one, as far as it can be read. 0 if there is none, or none among the
// first 1,024 fields.
uint64_t StreamRequestId(absl::Span<const absl::string_view> slices);

}  // namespace attention

#endif  // PROTO_SPLIT_MESSAGE_H_
