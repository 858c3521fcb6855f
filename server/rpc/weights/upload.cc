#include "server/rpc/weights/upload.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/core/mutex.h"
#include "server/rpc/door/idle_watch.h"
#include "server/rpc/door/serve.h"
#include "server/rpc/door/status.h"
#include "server/rpc/weights/download.h"
#include "server/rpc/weights/upload_header.h"
#include "server/rpc/weights/weight_set_proto.h"
#include "server/weights/weight_set_builder.h"

namespace attention::rpc {
namespace {

using absl::StrCat;
using weights::WeightSetBuilder;

// How long an upload waits for the memory of one that gave way: to end a call
// and to give back its memory takes about this long.
constexpr std::chrono::milliseconds kRetry(20);

absl::Status GivesWay() {
  return MayFitLater(
      WithReason(absl::ResourceExhaustedError(
                     "the upload began last, and another needs memory that "
                     "--memory-limit leaves none to lend of; try again"),
                 v1::ERROR_REASON_BUSY, {{"flag", "--memory-limit"}}));
}

// A message is read, then worked on, then the next is read: what belongs to the
// messages needs no lock. Only the idle watch and a cancellation come in
// between.
class WeightsUpload final : public grpc::ServerReadReactor<grpc::ByteBuffer>,
                            public std::enable_shared_from_this<WeightsUpload> {
 public:
  WeightsUpload(grpc::CallbackServerContext& context, const Backend& backend,
                grpc::ByteBuffer* reply)
      : context_(context), backend_(backend), reply_bytes_(reply) {}

  // Lives until OnDone, and as long as a task refers to it.
  void KeepAlive() { self_ = shared_from_this(); }
  void Hold(Held held) { held_ = std::move(held); }

  // Starts to read for `call`.
  void Start(std::shared_ptr<Call> call) {
    call_ = std::move(call);
    call_->set_reply({shared_from_this(), &reply_}, reply_bytes_);
    backend_.uploads.Begin(
        [weak = weak_from_this()] {
          const auto upload = weak.lock();
          if (upload != nullptr) upload->GiveWay();
        },
        place_.emplace());
    idle_watch_.Start(weak_from_this(),
                      std::chrono::duration<double>(
                          backend_.limits.max_transfer_idle_seconds),
                      [this] { return LookForProgress(); });
    Read();
  }

  // The one way to gRPC's end of the call.
  void Answer(grpc::Status status) {
    {
      const core::MutexLock lock(mutex_);
      ended_ = true;
    }
    idle_watch_.Stop();
    Finish(std::move(status));
  }

  void OnReadDone(bool ok) override {
    if (ok && held_.arrival != nullptr) {
      held_.arrival->OnMessage(static_cast<int64_t>(bytes_.Length()));
    }
    {
      const core::MutexLock lock(mutex_);
      reading_ = false;
      // A read that the answer has ended was not the last one.
      is_read_ = !ok && !ended_ && !context_.IsCancelled();
      if (ended_) return;
    }
    call_->Guard([&] { ok ? TakeMessage() : TakeEnd(); });
  }

  void OnCancel() override {
    // Null after a refusal that had no memory for even that.
    if (held_.cancellation != nullptr) held_.cancellation->Cancel();
  }

  void OnDone() override {
    if (!is_read_ && held_.arrival != nullptr) {
      context_.IsCancelled() ? held_.arrival->OnBroken()
                             : held_.arrival->OnUnread();
    }
    const auto last = std::move(self_);
    // An upload that is over cannot give way.
    place_.reset();
    if (builder_ == nullptr) return;
    // On the writer's thread: to give back a GiB takes a reactor too long. If
    // there is no memory for even that, it happens here.
    call_->Guard([&] {
      backend_.writer.Submit({{1,
                               [last](int64_t, core::Workspace&) {
                                 last->builder_.reset();
                                 return absl::OkStatus();
                               }}},
                             /*cancellation=*/nullptr,
                             [](const absl::Status&) {});
    });
  }

 private:
  // What has to come next.
  enum class Next { kHeader, kChunk, kEnd };

  void Read() {
    // Under the lock, or the call could be answered and gone before the read
    // has begun. gRPC calls no reaction of a read on the thread that starts it.
    {
      const core::MutexLock lock(mutex_);
      if (ended_) return;
      if (!gives_way_) {
        reading_ = true;
        return StartRead(&bytes_);
      }
    }
    call_->Finish(GivesWay());
  }

  // Another upload needs the memory of this one. What has come and is being
  // worked on is worked on to its end.
  void GiveWay() {
    {
      const core::MutexLock lock(mutex_);
      gives_way_ = true;
      if (ended_ || !reading_) return;
      ended_ = true;
    }
    call_->Finish(GivesWay());
  }
  bool gives_way() {
    const core::MutexLock lock(mutex_);
    return gives_way_;
  }

  // Ends an upload that the client does not go on with; whether it goes on.
  bool LookForProgress() {
    size_t arrived = 0;
    {
      const core::MutexLock lock(mutex_);
      if (ended_) return false;
      arrived = std::exchange(arrived_, 0);
      // Where nothing is being read, it is the server that takes its time.
      ended_ = reading_ && arrived < static_cast<size_t>(kMaxChunkBytes);
      if (!ended_) return true;
    }
    call_->Finish(WithReason(
        absl::AbortedError(StrCat("the upload brought ", arrived, " bytes in ",
                                  backend_.limits.max_transfer_idle_seconds,
                                  " s; at least ", kMaxChunkBytes,
                                  " have to come in the time that "
                                  "--max-transfer-idle sets")),
        v1::ERROR_REASON_STALLED, {{"flag", "--max-transfer-idle"}}));
    return false;
  }

  void TakeMessage() {
    const auto bytes = static_cast<int64_t>(bytes_.Length());
    call_->add_request_bytes(bytes);
    if (bytes > backend_.limits.max_message_bytes) {
      return call_->Finish(OverLimit("bytes of the request message:", bytes,
                                     backend_.limits.max_message_bytes,
                                     "max-message-bytes"));
    }
    ReadMessage();
  }

  // Takes the memory that reading takes, then reads.
  void ReadMessage() {
    const auto bytes = static_cast<int64_t>(bytes_.Length());
    // As it came, and as it is read, which is at most a chunk; what else there
    // is is charged when it is known.
    prepaid_ = std::min(bytes, 2 * kMaxChunkBytes);
    message_held_ = memory::Loan(backend_.ledger, memory::Kind::kMessages);
    if (!message_held_.Take(bytes + prepaid_)) {
      return WaitForMemory(
          memory::NotLent(backend_.ledger, "the message", 0, bytes + prepaid_),
          &WeightsUpload::ReadMessage);
    }
    if (bytes <= static_cast<int64_t>(kInlineBytes)) {
      const absl::Status status = ParseMessage();
      return status.ok() ? TakePart() : call_->Finish(OfLedger(status));
    }
    // On the pool: to read 1 MiB takes a reactor too long.
    OnPool(
        backend_.compute, [this] { return ParseMessage(); },
        [this](const absl::Status& status) {
          status.ok() ? TakePart() : call_->Finish(FromPool(status));
        });
  }

  // Runs `work` on `pool`, and `then` with what came of it; this lives until
  // then.
  void OnPool(core::ComputePool& pool, std::function<absl::Status()> work,
              std::function<void(const absl::Status&)> then) {
    const auto self = shared_from_this();
    pool.Submit({{1, [self, work = std::move(work)](
                         int64_t, core::Workspace&) { return work(); }}},
                call_->cancellation(),
                [self, then = std::move(then)](const absl::Status& status) {
                  self->call_->Guard([&] { then(status); });
                });
  }

  // What `again` would take was refused: an upload that began later gives way,
  // and its memory is waited for, if that can help.
  void WaitForMemory(const absl::Status& refused,
                     void (WeightsUpload::*again)()) {
    if (gives_way()) return call_->Finish(GivesWay());
    const std::optional<memory::NotLentFigures> figures =
        memory::FiguresOf(refused);
    if (!figures || figures->needed > figures->lendable ||
        !backend_.uploads.RefuseYoungerThan(*place_)) {
      return call_->Finish(FromPool(refused));
    }
    // The alarm is this object's, and must not keep it alive.
    retry_ = std::make_unique<grpc::Alarm>();
    retry_->Set(std::chrono::system_clock::now() + kRetry,
                [weak = weak_from_this(), again](bool) {
                  const auto upload = weak.lock();
                  if (upload == nullptr) return;
                  upload->call_->Guard([&] { upload->TryAgain(again); });
                });
  }

  void TryAgain(void (WeightsUpload::*again)()) {
    const absl::Status wanted = held_.cancellation->Check();
    if (!wanted.ok()) return call_->Finish(wanted);
    if (gives_way()) return call_->Finish(GivesWay());
    (this->*again)();
  }

  // Reads what has come into message_.
  absl::Status ParseMessage() {
    absl::Status status = rpc::ParseMessage(
        bytes_, ContractOf<v1::UploadWeightsRequest>(),
        backend_.limits.max_axis, message_, [this](int64_t taken) {
          return message_held_.TakeFor("part",
                                       std::max(int64_t{0}, taken - prepaid_));
        });
    if (!status.ok()) return status;
    const core::MutexLock lock(mutex_);
    arrived_ += message_.chunk().data().size();
    return status;
  }

  // What message_ has.
  void TakePart() {
    switch (message_.part_case()) {
      case v1::UploadWeightsRequest::kHeader:
        return Took(TakeHeader(message_.header()));
      case v1::UploadWeightsRequest::kChunk:
        if (message_.chunk().data().size() <= kInlineBytes) {
          return Took(TakeChunk());
        }
        // To copy, check and hash 1 MiB takes a reactor too long.
        return OnPool(
            backend_.compute, [this] { return TakeChunk(); },
            [this](const absl::Status& status) { Took(status); });
      case v1::UploadWeightsRequest::kSha256:
        return Took(TakeSha256());
      case v1::UploadWeightsRequest::PART_NOT_SET:
        return Took(FieldError("part",
                               "is not set; expected header, chunk or "
                               "sha256"));
    }
  }

  // A part was taken, or it was not and nothing has changed.
  void Took(const absl::Status& status) {
    status.ok() ? Read() : WaitForMemory(status, &WeightsUpload::TakePart);
  }

  absl::Status TakeHeader(const v1::UploadWeightsRequest::Header& header) {
    if (next_ != Next::kHeader) {
      return FieldError("header", "came twice; expected one, first");
    }
    const Limits& limits = backend_.limits;
    absl::StatusOr<weights::WeightSetVersion::Record> record =
        RecordOf(header, limits.max_axis);
    if (!record.ok()) return record.status();
    options_ = OptionsOf(header);
    absl::Status status = backend_.catalog.CheckAppend(*record, options_);
    if (!status.ok()) return status;
    absl::StatusOr<std::unique_ptr<WeightSetBuilder>> builder =
        WeightSetBuilder::Start(*std::move(record), backend_.ledger);
    if (!builder.ok()) return builder.status();
    const int64_t tensor_bytes = (*builder)->tensor_bytes();
    if (tensor_bytes > limits.max_weight_set_bytes) {
      return OverLimit("bytes of the weight set:", tensor_bytes,
                       limits.max_weight_set_bytes, "max-weight-set-bytes");
    }
    if ((*builder)->version_bytes() > backend_.ledger.lendable()) {
      return memory::FieldNotLent(backend_.ledger, "weights", 0,
                                  (*builder)->version_bytes());
    }
    builder_ = *std::move(builder);
    next_ = Next::kChunk;
    return status;
  }

  // How large it is was looked at before it was read (proto/wire_contract.h).
  absl::Status TakeChunk() {
    if (next_ == Next::kHeader) {
      return FieldError("header", "is required, before the first chunk");
    }
    if (next_ == Next::kEnd) {
      return FieldError("chunk", "came after sha256, which has to be last");
    }
    const v1::TensorChunk& chunk = message_.chunk();
    return builder_->Take(chunk.tensor(), chunk.offset(), chunk.data());
  }

  absl::Status TakeSha256() {
    if (next_ != Next::kChunk) {
      return FieldError("sha256", next_ == Next::kHeader
                                      ? "came before the header"
                                      : "came twice; expected one, last");
    }
    sha256_ = message_.sha256();
    absl::Status status = CheckSha256(sha256_);
    if (!status.ok()) return status;
    next_ = Next::kEnd;
    return builder_->CheckComplete();
  }

  // No message comes any more.
  void TakeEnd() {
    if (context_.IsCancelled()) held_.cancellation->Cancel();
    const absl::Status cancelled = held_.cancellation->Check();
    if (!cancelled.ok()) return call_->Finish(cancelled);
    if (next_ == Next::kHeader) {
      return call_->Finish(FieldError("header", "is required"));
    }
    if (next_ == Next::kChunk) {
      return call_->Finish(FieldError(
          "sha256", StrCat("is required; the upload ended after ",
                           builder_->taken_bytes(), " of ",
                           builder_->tensor_bytes(), " bytes of tensors")));
    }
    AppendAll();
  }

  void AppendAll() {
    OnPool(
        backend_.writer, [this] { return Append(); },
        [this](const absl::Status& status) {
          status.ok() ? call_->Finish(status)
                      : WaitForMemory(status, &WeightsUpload::AppendAll);
        });
  }

  absl::Status Append() {
    absl::StatusOr<std::unique_ptr<weights::WeightSetVersion>> made =
        builder_->Finish(sha256_);
    if (!made.ok()) return made.status();
    absl::StatusOr<std::shared_ptr<const weights::WeightSetVersion>> version =
        backend_.catalog.Append(*std::move(made), options_);
    if (!version.ok()) return version.status();
    *reply_.mutable_version() = VersionToProto(**version);
    return absl::OkStatus();
  }

  grpc::CallbackServerContext& context_;
  const Backend& backend_;
  grpc::ByteBuffer* const reply_bytes_;
  v1::UploadWeightsResponse reply_;
  std::shared_ptr<WeightsUpload> self_;
  Held held_;
  std::shared_ptr<Call> call_;

  grpc::ByteBuffer bytes_;  // as received
  IdleWatch idle_watch_;
  std::optional<Uploads::Place> place_;  // until OnDone
  std::unique_ptr<grpc::Alarm> retry_;
  memory::Loan message_held_;  // for bytes_ and message_
  int64_t prepaid_ = 0;        // of it, for what reading takes
  v1::UploadWeightsRequest message_;
  Next next_ = Next::kHeader;
  weights::AppendOptions options_;
  std::unique_ptr<WeightSetBuilder> builder_;
  std::string sha256_;

  bool is_read_ = false;  // to the end of what the client sends

  core::Mutex mutex_;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  // Answered, or about to be.
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool gives_way_ ABSL_GUARDED_BY(mutex_) = false;
  // Bytes of chunks since the last look.
  size_t arrived_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* ServeUploadWeights(
    grpc::CallbackServerContext& context, const Backend& backend,
    grpc::ByteBuffer* reply) {
  // gRPC calls no reaction before this function has returned.
  const auto upload = std::make_shared<WeightsUpload>(context, backend, reply);
  upload->KeepAlive();
  try {
    upload->Hold(Admit(
        context, StreamDoorOf(backend), "UploadWeights", /*request=*/nullptr,
        [raw = upload.get()](grpc::Status status) {
          raw->Answer(std::move(status));
        },
        [&](const std::shared_ptr<Call>& call) { upload->Start(call); }));
  } catch (const std::bad_alloc&) {
    // Thrown before there was a call, so nobody else answers.
    upload->Answer({grpc::StatusCode::RESOURCE_EXHAUSTED, ""});
  }
  return upload.get();
}

}  // namespace attention::rpc
