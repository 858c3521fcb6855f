#include "server/rpc/tensors/received_request.h"

#include <new>
#include <utility>

#include "server/rpc/door/status.h"

namespace attention::rpc {
namespace {

// `status` of a parser with a reason that a program can read.
absl::Status Named(absl::Status status) {
  if (status.ok()) return status;
  return WithReason(std::move(status), v1::ERROR_REASON_MALFORMED_MESSAGE);
}

}  // namespace

ReceivedRequest::ReceivedRequest(Form form)
    : form_(form),
      message_(
          google::protobuf::Arena::CreateMessage<v1::StreamAttentionRequest>(
              &arena_)) {}

void ReceivedRequest::Receive(grpc::ByteBuffer& bytes) {
  slices_.resize(1);
  if (bytes.Valid() && !bytes.TrySingleSlice(&slices_.front()).ok() &&
      !bytes.Dump(&slices_).ok()) {
    throw std::bad_alloc();  // the one reason there is without compression
  }
  bytes.Clear();  // the slices hold the memory now
  pieces_.reserve(slices_.size());
  for (const grpc::Slice& slice : slices_) {
    pieces_.emplace_back(reinterpret_cast<const char*>(slice.begin()),
                         slice.size());
  }
}

size_t ReceivedRequest::size() const {
  size_t size = 0;
  for (const absl::string_view piece : pieces_) size += piece.size();
  return size;
}

absl::Status ReceivedRequest::Parse() {
  return Named(
      form_ == Form::kStreamed
          ? SplitStreamRequest(pieces_, *message_, scattered_)
          : SplitRequest(pieces_, *message_->mutable_request(), scattered_));
}

uint64_t ReceivedRequest::stream_id() const { return StreamRequestId(pieces_); }

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

void ReceivedRequest::Gathered() {
  pieces_.clear();
  slices_.clear();
}

}  // namespace attention::rpc
