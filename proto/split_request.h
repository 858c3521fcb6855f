// A received request, its tensors' data left where they were received.
//
// protobuf would copy every `bytes` field into a string of its own, at an
// address that suits nobody. Here Tensor.data is found and left alone, so that
// the bytes move once, to where they are computed with; everything else is
// protobuf's.
#ifndef PROTO_SPLIT_REQUEST_H_
#define PROTO_SPLIT_REQUEST_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "attention/v1/attention.pb.h"

namespace attention {

// One T for each tensor of a ComputeAttentionRequest.
template <typename T>
struct PerTensor {
  T query;
  T key;
  T value;
  T attend_mask;
  T bias;
};

// Bytes that lie in pieces, one after the other.
struct ScatteredBytes {
  struct Piece {
    int64_t first = 0;  // byte of all
    absl::string_view bytes;
  };
  absl::InlinedVector<Piece, 1> pieces;
  int64_t size = 0;  // of all pieces

  void Append(absl::string_view piece);

  // Copies bytes [first, first + count) to `out`, in a time that depends on the
  // pieces between them, and hardly on those before. REQUIRES: they exist.
  void Copy(int64_t first, int64_t count, char* out) const;
};

// Reads a serialized message that lies in `slices`, which may end anywhere.
// `message` gets everything but Tensor.data of the tensors of `data`, which get
// the places of those bytes in `slices`. So `message` and `data` together are
// what protobuf parses: a field that comes twice is merged, or the last one
// wins; unknown fields are kept; and INVALID_ARGUMENT, naming the message type,
// is returned exactly where protobuf's parser fails.
//
// Copies, for a while, all bytes that are not Tensor.data.
// REQUIRES: `message` and `data` are empty; fewer than 2^31 bytes.
absl::Status SplitRequest(absl::Span<const absl::string_view> slices,
                          v1::ComputeAttentionRequest& message,
                          PerTensor<ScatteredBytes>& data);

// The same for a StreamAttentionRequest and the tensors of its request.
absl::Status SplitStreamRequest(absl::Span<const absl::string_view> slices,
                                v1::StreamAttentionRequest& message,
                                PerTensor<ScatteredBytes>& data);

// The id of a serialized StreamAttentionRequest, without reading the rest; of a
// broken one, as far as it can be read. 0 if there is none.
uint64_t StreamRequestId(absl::Span<const absl::string_view> slices);

}  // namespace attention

#endif  // PROTO_SPLIT_REQUEST_H_
