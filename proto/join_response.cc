#include "proto/join_response.h"

#include "proto/wire.h"

namespace attention {
namespace {

using Response = v1::ComputeAttentionResponse;

// Bytes of a length-delimited field of `size` bytes; every field number here is
// below 16.
size_t FieldSize(size_t size) { return 1 + wire::VarintSize(size) + size; }

void AppendHeader(int field, size_t size, std::string& text) {
  wire::AppendVarint(wire::Tag(field, wire::kLengthDelimited), text);
  wire::AppendVarint(size, text);
}

void AppendMessage(int field, const google::protobuf::Message& message,
                   std::string& text) {
  AppendHeader(field, message.ByteSizeLong(), text);
  message.AppendToString(&text);
}

size_t TensorSize(const v1::Tensor& tensor, absl::string_view data) {
  return tensor.ByteSizeLong() + (data.empty() ? 0 : FieldSize(data.size()));
}

// dtype and shape come before data, and values are not there if data is.
void AppendTensor(int field, const v1::Tensor& tensor, absl::string_view data,
                  TextWithGaps& out) {
  AppendHeader(field, TensorSize(tensor, data), out.text);
  tensor.AppendToString(&out.text);
  if (data.empty()) return;
  AppendHeader(v1::Tensor::kDataFieldNumber, data.size(), out.text);
  out.gaps.push_back({out.text.size(), data});
}

void AppendTopK(const v1::TopK& top_k, absl::string_view weights,
                TextWithGaps& out) {
  v1::TopK indices;
  *indices.mutable_indices() = top_k.indices();
  const size_t weights_size =
      top_k.has_weights() ? FieldSize(TensorSize(top_k.weights(), weights)) : 0;
  AppendHeader(Response::kTopKFieldNumber,
               weights_size + indices.ByteSizeLong(), out.text);
  if (top_k.has_weights()) {
    AppendTensor(v1::TopK::kWeightsFieldNumber, top_k.weights(), weights, out);
  }
  indices.AppendToString(&out.text);
}

}  // namespace

size_t TextWithGaps::size() const {
  size_t size = text.size();
  for (const Gap& gap : gaps) size += gap.data.size();
  return size;
}

void JoinResponse(const Response& message,
                  const PerResult<absl::string_view>& data, TextWithGaps& out) {
  if (message.has_output()) {
    AppendTensor(Response::kOutputFieldNumber, message.output(), data.output,
                 out);
  }
  if (message.has_attention_matrix()) {
    AppendTensor(Response::kAttentionMatrixFieldNumber,
                 message.attention_matrix(), data.attention_matrix, out);
  }
  if (message.has_top_k()) {
    AppendTopK(message.top_k(), data.top_k_weights, out);
  }
  if (message.has_lse()) {
    AppendTensor(Response::kLseFieldNumber, message.lse(), data.lse, out);
  }
  if (message.has_weight_set_used()) {
    AppendMessage(Response::kWeightSetUsedFieldNumber,
                  message.weight_set_used(), out.text);
  }
  if (message.has_timing()) {
    AppendMessage(Response::kTimingFieldNumber, message.timing(), out.text);
  }
}

void JoinStreamResponse(uint64_t id, const Response& message,
                        const PerResult<absl::string_view>& data,
                        TextWithGaps& out) {
  using StreamResponse = v1::StreamAttentionResponse;
  JoinResponse(message, data, out);
  std::string front;
  if (id != 0) {
    wire::AppendVarint(wire::Tag(StreamResponse::kIdFieldNumber, wire::kVarint),
                       front);
    wire::AppendVarint(id, front);
  }
  AppendHeader(StreamResponse::kResponseFieldNumber, out.size(), front);
  out.text.insert(0, front);
  for (TextWithGaps::Gap& gap : out.gaps) gap.at += front.size();
}

}  // namespace attention
