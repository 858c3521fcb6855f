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

class WeightsStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // What was asked for, once it has been read.
  v1::GetWeightsRequest& request() { return request_; }

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

  void OnCancel() override {
    // Null after a refusal that had no memory for even that.
    if (held_.cancellation != nullptr) held_.cancellation->Cancel();
  }
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
    bytes_ = SerializeMessage(message_);
    call_->add_reply_bytes(static_cast<int64_t>(bytes_.Length()));
    StartWrite(&bytes_);
  }

  Held held_;
  std::shared_ptr<Call> call_;
  weights::Listed listed_;
  std::vector<NamedTensor> tensors_;
  size_t next_tensor_ = 0;
  int64_t offset_ = 0;
  v1::GetWeightsRequest request_;
  v1::GetWeightsResponse message_;
  grpc::ByteBuffer bytes_;  // message_'s
};

absl::StatusOr<weights::Listed> Describe(const v1::GetWeightsRequest& request,
                                         const weights::Catalog& catalog) {
  if (!request.has_weight_set()) return FieldError("weight_set", "is required");
  absl::StatusOr<weights::Which> which = WhichOf(request.weight_set());
  if (!which.ok()) return which.status();
  return catalog.Describe(request.weight_set().name(), *which);
}

// Answers `call` by `stream` with what it asks for.
void Answer(const std::shared_ptr<Call>& call, WeightsStream& stream,
            const weights::Catalog& catalog) {
  absl::StatusOr<weights::Listed> listed = Describe(stream.request(), catalog);
  if (!listed.ok()) return call->Finish(listed.status());
  absl::Status taken = call->TakeBytes(
      std::min(kMaxChunkBytes, listed->version->tensor_bytes()));
  if (!taken.ok()) return call->Finish(taken);
  stream.Start(call, *std::move(listed));
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeGetWeights(
    grpc::CallbackServerContext& context, const Backend& backend,
    const grpc::ByteBuffer* request) {
  // gRPC calls no reaction before this function has returned; the stream is
  // there until the call is finished.
  auto* const stream = new WeightsStream;
  try {
    stream->Hold(Admit(
        context, DoorOf(backend), "GetWeights", request,
        [stream](grpc::Status status) { stream->Finish(std::move(status)); },
        [&](const std::shared_ptr<Call>& call) {
          // gRPC's own object, which nobody else reads.
          auto& bytes = const_cast<grpc::ByteBuffer&>(*request);
          ReadMessage(call, backend.compute, bytes,
                      ContractOf<v1::GetWeightsRequest>(),
                      backend.limits.max_axis, stream->request(),
                      [call, stream, &backend] {
                        Answer(call, *stream, backend.catalog);
                      });
        }));
  } catch (const std::bad_alloc&) {
    // Thrown before there was a call, so nobody else answers.
    stream->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, ""});
  }
  return stream;
}

}  // namespace attention::rpc
