#include "server/rpc/received_request.h"

#include "absl/container/inlined_vector.h"
#include "server/rpc/status.h"

namespace attention::rpc {

ReceivedRequest::ReceivedRequest(google::protobuf::Arena& arena)
    : message_(
          google::protobuf::Arena::CreateMessage<v1::ComputeAttentionRequest>(
              &arena)) {}

absl::Status ReceivedRequest::Parse(grpc::ByteBuffer& bytes) {
  slices_.resize(1);
  if (bytes.Valid() && !bytes.TrySingleSlice(&slices_.front()).ok() &&
      !bytes.Dump(&slices_).ok()) {
    return absl::InternalError("gRPC could not read a message it received");
  }
  bytes.Clear();  // the slices hold the memory now
  absl::InlinedVector<absl::string_view, 4> pieces;
  pieces.reserve(slices_.size());
  for (const grpc::Slice& slice : slices_) {
    pieces.emplace_back(reinterpret_cast<const char*>(slice.begin()),
                        slice.size());
  }
  absl::Status status = SplitRequest(pieces, *message_, scattered_);
  if (!status.ok()) return WithReason(std::move(status), "MALFORMED_MESSAGE");
  return status;
}

void ReceivedRequest::Allocate(BufferPool& buffers) {
  const auto take = [&](const ScatteredBytes& from, Buffer& to) {
    if (from.size > 0) to = buffers.Take(from.size);
  };
  take(scattered_.query, buffers_.query);
  take(scattered_.key, buffers_.key);
  take(scattered_.value, buffers_.value);
  take(scattered_.attend_mask, buffers_.attend_mask);
  take(scattered_.bias, buffers_.bias);
}

PerTensor<absl::string_view> ReceivedRequest::data() const {
  const auto view = [](const Buffer& buffer) {
    return absl::string_view(buffer.data(), static_cast<size_t>(buffer.size()));
  };
  return {view(buffers_.query), view(buffers_.key), view(buffers_.value),
          view(buffers_.attend_mask), view(buffers_.bias)};
}

PerTensor<Gather> ReceivedRequest::gather() const {
  return {{&scattered_.query, buffers_.query.data()},
          {&scattered_.key, buffers_.key.data()},
          {&scattered_.value, buffers_.value.data()},
          {&scattered_.attend_mask, buffers_.attend_mask.data()},
          {&scattered_.bias, buffers_.bias.data()}};
}

void ReceivedRequest::Gathered() { slices_.clear(); }

}  // namespace attention::rpc
