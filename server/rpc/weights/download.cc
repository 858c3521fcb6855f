#include "server/rpc/weights/download.h"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/field_error.h"
#include "server/rpc/door/serve.h"
#include "server/rpc/weights/weight_set_proto.h"

namespace attention::rpc {
namespace {

class WeightsStream final
    : public grpc::ServerWriteReactor<v1::GetWeightsResponse> {
 public:
  void Hold(Held held) { held_ = std::move(held); }

  // Starts to answer `call` with `listed`.
  void Start(std::shared_ptr<Call> call, weights::Listed listed) {
    call_ = std::move(call);
    listed_ = std::move(listed);
    tensors_ = TensorsOf(listed_.version->record().contents);
    auto& header = *message_.mutable_header();
    *header.mutable_summary() = SummaryToProto(listed_);
    *header.mutable_weights() =
        HeaderToProto(listed_.version->record().contents);
    Write();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      // Nobody reads any more; the deadline tells why, if it was that.
      const absl::Status why = held_.cancellation->Check();
      return call_->Finish(
          why.ok() ? absl::CancelledError("cancelled by the caller") : why);
    }
    if (message_.has_sha256()) return call_->Finish(absl::OkStatus());
    call_->Guard([this] {
      SetNextPart();
      Write();
    });
  }

  void OnCancel() override { held_.cancellation->Cancel(); }
  void OnDone() override { delete this; }

 private:
  void SetNextPart() {
    if (next_tensor_ == tensors_.size()) {
      message_.set_sha256(listed_.version->record().sha256);
      return;
    }
    const NamedTensor& source = tensors_[next_tensor_];
    const auto size = static_cast<int64_t>(source.tensor->data.size());
    const int64_t count = std::min(kMaxChunkBytes, size - offset_);
    auto& chunk = *message_.mutable_chunk();
    chunk.set_tensor(source.path);
    chunk.set_offset(offset_);
    chunk.set_data(source.tensor->data.data() + offset_,
                   static_cast<size_t>(count));
    offset_ += count;
    if (offset_ == size) {
      ++next_tensor_;
      offset_ = 0;
    }
  }

  void Write() {
    call_->add_reply_bytes(static_cast<int64_t>(message_.ByteSizeLong()));
    StartWrite(&message_);
  }

  Held held_;
  std::shared_ptr<Call> call_;
  weights::Listed listed_;
  std::vector<NamedTensor> tensors_;
  size_t next_tensor_ = 0;
  int64_t offset_ = 0;
  v1::GetWeightsResponse message_;
};

absl::StatusOr<weights::Listed> Describe(const v1::GetWeightsRequest& request,
                                         const weights::Catalog& catalog) {
  if (!request.has_weight_set()) return FieldError("weight_set", "is required");
  absl::StatusOr<weights::Which> which = WhichOf(request.weight_set());
  if (!which.ok()) return which.status();
  return catalog.Describe(request.weight_set().name(), *which);
}

}  // namespace

grpc::ServerWriteReactor<v1::GetWeightsResponse>* ServeGetWeights(
    grpc::CallbackServerContext& context, Admission& admission,
    const v1::GetWeightsRequest& request, const weights::Catalog& catalog) {
  // gRPC calls no reaction before this function has returned.
  auto* const stream = new WeightsStream;
  try {
    stream->Hold(Admit(
        context, admission, "GetWeights",
        static_cast<int64_t>(request.ByteSizeLong()), /*reply=*/nullptr,
        [stream](grpc::Status status) { stream->Finish(std::move(status)); },
        [&](const std::shared_ptr<Call>& call) {
          absl::StatusOr<weights::Listed> listed = Describe(request, catalog);
          if (!listed.ok()) return call->Finish(listed.status());
          absl::Status taken = call->TakeBytes(
              std::min(kMaxChunkBytes, listed->version->tensor_bytes()));
          if (!taken.ok()) return call->Finish(taken);
          stream->Start(call, *std::move(listed));
        }));
  } catch (const std::bad_alloc&) {
    // Thrown before there was a call, so nobody else answers.
    stream->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, ""});
  }
  return stream;
}

}  // namespace attention::rpc
