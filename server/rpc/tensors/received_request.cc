#include "server/rpc/tensors/received_request.h"

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

absl::Status ReceivedRequest::Parse(int64_t max_axis,
                                    ReceivedBytes::Charge charge) {
  const bool streamed = form_ == Form::kStreamed;
  const TensorTable& table = streamed
                                 ? TensorTableOf<v1::StreamAttentionRequest>()
                                 : TensorTableOf<v1::ComputeAttentionRequest>();
  google::protobuf::Message& message =
      streamed ? static_cast<google::protobuf::Message&>(*message_)
               : static_cast<google::protobuf::Message&>(
                     *message_->mutable_request());
  absl::Status status = bytes_.Check(
      streamed ? ContractOf<v1::StreamAttentionRequest>()
               : ContractOf<v1::ComputeAttentionRequest>(),
      max_axis, ReceivedBytes::Reading::kSplit, [&](int64_t bytes) {
        constexpr int64_t kCopy = sizeof(int64_t);
        return charge(bytes + kCopy * bytes_.numbers());
      });
  if (!status.ok()) return status;
  CutTensors cut;
  status = Named(SplitMessage(bytes_.pieces(), table, message, cut,
                              bytes_.size() - bytes_.data_bytes()));
  if (!status.ok()) return status;
  // What is around the request is no part of its tensors' paths.
  const absl::string_view around = streamed ? "request." : "";
  for (CutTensor& tensor : cut) {
    if (tensor.data.size == 0) continue;
    tensors_.push_back({table.path(tensor.number).substr(around.size()),
                        std::move(tensor.data)});
  }
  return status;
}

void ReceivedRequest::Gathered() {
  const auto bytes = static_cast<int64_t>(bytes_.size());
  bytes_.Clear();
  if (told_) std::exchange(told_, nullptr)(bytes);
}

uint64_t ReceivedRequest::stream_id() const {
  return StreamRequestId(bytes_.pieces());
}

const ScatteredBytes* ReceivedRequest::Find(absl::string_view path) const {
  for (const ReceivedTensor& tensor : tensors_) {
    if (tensor.path == path) return &tensor.data;
  }
  return nullptr;
}

}  // namespace attention::rpc
