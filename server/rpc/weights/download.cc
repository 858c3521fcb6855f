#include "server/rpc/weights/download.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/core/mutex.h"
#include "server/rpc/door/idle_watch.h"
#include "server/rpc/door/serve.h"
#include "server/rpc/door/status.h"
#include "server/rpc/weights/weight_set_proto.h"
#include "server/weights/named_tensor.h"

namespace attention::rpc {
namespace {

// A chunk as a message and as its bytes.
constexpr int64_t kHeldChunks = 2;

class WeightsStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                            public std::enable_shared_from_this<WeightsStream> {
 public:
  WeightsStream(grpc::CallbackServerContext& context, const Backend& backend)
      : context_(context), backend_(backend) {}

  // What was asked for, once it has been read.
  v1::GetWeightsRequest& request() { return request_; }

  // Lives until OnDone, and as long as a task refers to it.
  void KeepAlive() { self_ = shared_from_this(); }
  void Hold(Held held) { held_ = std::move(held); }

  // Starts to answer `call` with `listed`.
  void Start(std::shared_ptr<Call> call, weights::Listed listed) {
    call_ = std::move(call);
    listed_ = std::move(listed);
    tensors_ = weights::NamedTensors(listed_.version->record().contents);
    idle_watch_.Start(weak_from_this(),
                      std::chrono::duration<double>(
                          backend_.limits.max_transfer_idle_seconds),
                      [this] { return LookForProgress(); });
    auto& header = *message_.mutable_header();
    *header.mutable_summary() = SummaryToProto(listed_);
    *header.mutable_weights() =
        HeaderToProto(listed_.version->record().contents);
    Write();
  }

  void OnWriteDone(bool ok) override {
    bool stalled = false;
    {
      const core::MutexLock lock(mutex_);
      moves_ = true;
      stalled = stalled_;
    }
    if (!ok) {
      if (stalled) return call_->Finish(Stalled());
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
  void OnDone() override {
    idle_watch_.Stop();
    {
      // A look that has begun may come later, when the context is gone.
      const core::MutexLock lock(mutex_);
      ended_ = true;
    }
    const auto last = std::move(self_);
  }

 private:
  // Ends an answer that the client does not read on; whether it goes on. What
  // is being written cannot be followed by a status, so the call is cancelled.
  bool LookForProgress() {
    const core::MutexLock lock(mutex_);
    if (ended_) return false;
    if (std::exchange(moves_, false)) return true;
    stalled_ = true;
    context_.TryCancel();
    return false;
  }

  absl::Status Stalled() const {
    return WithReason(absl::AbortedError(absl::StrCat(
                          "nothing of the answer was read in ",
                          backend_.limits.max_transfer_idle_seconds,
                          " s, the time that --max-transfer-idle sets")),
                      v1::ERROR_REASON_STALLED,
                      {{"flag", "--max-transfer-idle"}});
  }

  void SetNextPart() {
    if (next_tensor_ == tensors_.size()) {
      message_.set_sha256(listed_.version->record().sha256);
      return;
    }
    const weights::NamedTensor& source = tensors_[next_tensor_];
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

  grpc::CallbackServerContext& context_;
  const Backend& backend_;
  std::shared_ptr<WeightsStream> self_;
  Held held_;
  std::shared_ptr<Call> call_;
  IdleWatch idle_watch_;
  weights::Listed listed_;
  std::vector<weights::NamedTensor> tensors_;
  size_t next_tensor_ = 0;
  int64_t offset_ = 0;
  v1::GetWeightsRequest request_;
  v1::GetWeightsResponse message_;
  grpc::ByteBuffer bytes_;  // message_'s

  core::Mutex mutex_;
  // A message has been written since the last look.
  bool moves_ ABSL_GUARDED_BY(mutex_) = true;
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
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
  const absl::Status taken = call->TakeBytes(
      {{memory::Kind::kReplies,
        kHeldChunks *
            std::min(kMaxChunkBytes, listed->version->tensor_bytes())}});
  if (!taken.ok()) return call->Finish(taken);
  stream.Start(call, *std::move(listed));
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeGetWeights(
    grpc::CallbackServerContext& context, const Backend& backend,
    const grpc::ByteBuffer* request) {
  // gRPC calls no reaction before this function has returned; the stream is
  // there until the call is finished.
  const auto stream = std::make_shared<WeightsStream>(context, backend);
  stream->KeepAlive();
  try {
    stream->Hold(Admit(
        context, StreamDoorOf(backend), "GetWeights", request,
        [raw = stream.get()](grpc::Status status) {
          raw->Finish(std::move(status));
        },
        [&](const std::shared_ptr<Call>& call) {
          // gRPC's own object, which nobody else reads.
          auto& bytes = const_cast<grpc::ByteBuffer&>(*request);
          ReadMessage(call, backend.compute, bytes,
                      ContractOf<v1::GetWeightsRequest>(),
                      backend.limits.max_axis, stream->request(),
                      [call, raw = stream.get(), &backend] {
                        Answer(call, *raw, backend.catalog);
                      });
        }));
  } catch (const std::bad_alloc&) {
    // Thrown before there was a call, so nobody else answers.
    stream->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, ""});
  }
  return stream.get();
}

}  // namespace attention::rpc
