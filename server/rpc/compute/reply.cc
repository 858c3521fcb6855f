#include "server/rpc/compute/reply.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/join_message.h"

namespace attention::rpc {
namespace {

// Below this a copy is cheaper than a slice of its own.
constexpr size_t kWorthASlice = size_t{16} << 10;

absl::string_view ViewOf(const Buffer& buffer) {
  return {buffer.data(), static_cast<size_t>(buffer.size())};
}

// A slice that ends `owner` when gRPC is done with `bytes`, which it owns.
template <typename Owner>
grpc::Slice Owning(absl::string_view bytes, Owner owner) {
  auto held = std::make_unique<Owner>(std::move(owner));
  return grpc::Slice(
      const_cast<char*>(bytes.data()), bytes.size(),
      [](void* ended) { delete static_cast<Owner*>(ended); }, held.release());
}

grpc::Slice OneSlice(const TextWithGaps& joined) {
  grpc::Slice slice(joined.size());
  auto* out = reinterpret_cast<char*>(const_cast<uint8_t*>(slice.begin()));
  absl::string_view text = joined.text;
  size_t done = 0;
  for (const TextWithGaps::Gap& gap : joined.gaps) {
    const absl::string_view before = text.substr(0, gap.at - done);
    out = std::copy(before.begin(), before.end(), out);
    out = std::copy(gap.data.begin(), gap.data.end(), out);
    text.remove_prefix(before.size());
    done = gap.at;
  }
  std::copy(text.begin(), text.end(), out);
  return slice;
}

// The buffer that holds `data`.
Buffer& Holder(ComputeReply& reply, absl::string_view data) {
  return std::find_if(reply.tensors.begin(), reply.tensors.end(),
                      [&](const ReplyTensor& tensor) {
                        return tensor.data.data() == data.data();
                      })
      ->data;
}

// The bytes of `joined`, whose gaps are filled by the tensors of `reply`.
grpc::ByteBuffer ToSlices(TextWithGaps joined, ComputeReply& reply) {
  if (joined.size() < kWorthASlice) {
    const grpc::Slice slice = OneSlice(joined);
    return {&slice, 1};
  }
  const auto shared = std::make_shared<TextWithGaps>(std::move(joined));
  std::vector<grpc::Slice> slices;
  size_t text = 0;
  const auto add_text = [&](size_t end) {
    if (end == text) return;
    slices.push_back(Owning(
        absl::string_view(shared->text).substr(text, end - text), shared));
    text = end;
  };
  for (const TextWithGaps::Gap& gap : shared->gaps) {
    add_text(gap.at);
    slices.push_back(Owning(gap.data, std::move(Holder(reply, gap.data))));
  }
  add_text(shared->text.size());
  return {slices.data(), slices.size()};
}

// The bytes of `message`, which is the reply's, or what it is sent in with
// `around` before its paths.
grpc::ByteBuffer Bytes(const google::protobuf::Message& message,
                       const TensorTable& table, absl::string_view around,
                       ComputeReply& reply) {
  absl::InlinedVector<TensorData, 4> data;
  for (const ReplyTensor& tensor : reply.tensors) {
    data.push_back({tensor.path, ViewOf(tensor.data)});
  }
  return ToSlices(JoinMessage(message, table, around, data), reply);
}

}  // namespace

grpc::ByteBuffer Serialize(ComputeReply&& reply) {
  return Bytes(reply.message, TensorTableOf<v1::ComputeAttentionResponse>(), "",
               reply);
}

grpc::ByteBuffer SerializeStreamed(uint64_t id, ComputeReply&& reply) {
  reply.envelope.set_id(id);
  return Bytes(reply.envelope, TensorTableOf<v1::StreamAttentionResponse>(),
               "response.", reply);
}

}  // namespace attention::rpc
