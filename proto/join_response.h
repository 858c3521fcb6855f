// A response to be sent, its tensors' data left where they were computed.
#ifndef PROTO_JOIN_RESPONSE_H_
#define PROTO_JOIN_RESPONSE_H_

#include <cstdint>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "attention/v1/attention.pb.h"

namespace attention {

// One T for each tensor of a ComputeAttentionResponse.
template <typename T>
struct PerResult {
  T output;
  T attention_matrix;
  T top_k_weights;
  T lse;
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

// Appends to `out` the bytes that protobuf makes of `message` with `data` as
// the data of its tensors. REQUIRES: no tensor of `message` that has `data` has
// data or values of its own; `message` has no unknown fields.
void JoinResponse(const v1::ComputeAttentionResponse& message,
                  const PerResult<absl::string_view>& data, TextWithGaps& out);

// The same of a StreamAttentionResponse with `id` and `message` as response.
// REQUIRES: `out` is empty.
void JoinStreamResponse(uint64_t id,
                        const v1::ComputeAttentionResponse& message,
                        const PerResult<absl::string_view>& data,
                        TextWithGaps& out);

}  // namespace attention

#endif  // PROTO_JOIN_RESPONSE_H_
