#include "server/rpc/compute/reply.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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
Buffer& Holder(PerResult<Buffer>& buffers, absl::string_view data) {
  for (Buffer* buffer :
       {&buffers.output, &buffers.attention_matrix, &buffers.top_k_weights}) {
    if (buffer->data() == data.data()) return *buffer;
  }
  return buffers.lse;
}

PerResult<absl::string_view> ViewsOf(const PerResult<Buffer>& data) {
  return {ViewOf(data.output), ViewOf(data.attention_matrix),
          ViewOf(data.top_k_weights), ViewOf(data.lse)};
}

// The bytes of `joined`, whose gaps are filled by `data`.
grpc::ByteBuffer ToSlices(TextWithGaps joined, PerResult<Buffer>& data) {
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
    slices.push_back(Owning(gap.data, std::move(Holder(data, gap.data))));
  }
  add_text(shared->text.size());
  return {slices.data(), slices.size()};
}

}  // namespace

grpc::ByteBuffer Serialize(ComputeReply&& reply) {
  TextWithGaps joined;
  JoinResponse(reply.message, ViewsOf(reply.data), joined);
  return ToSlices(std::move(joined), reply.data);
}

grpc::ByteBuffer SerializeStreamed(uint64_t id, ComputeReply&& reply) {
  TextWithGaps joined;
  JoinStreamResponse(id, reply.message, ViewsOf(reply.data), joined);
  return ToSlices(std::move(joined), reply.data);
}

}  // namespace attention::rpc
