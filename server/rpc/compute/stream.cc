#include "server/rpc/compute/stream.h"

#include <google/rpc/status.pb.h>

#include <chrono>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "attention/v1/attention.pb.h"
#include "server/core/mutex.h"
#include "server/rpc/compute/handler.h"
#include "server/rpc/compute/reply.h"
#include "server/rpc/door/idle_watch.h"
#include "server/rpc/door/serve.h"
#include "server/rpc/door/status.h"
#include "server/rpc/tensors/received_request.h"

namespace attention::rpc {
namespace {

// One message of the stream, until its answer has been written.
struct Message {
  explicit Message(Admission& admission) : ticket(admission) {}

  uint64_t id = 0;
  int64_t bytes = 0;  // as received
  // Given back by the stream, not by the last who refers to this: the thread
  // that computed may still do so when the stream is long over.
  Admission::Ticket ticket;
  grpc::ByteBuffer answer;
};

grpc::ByteBuffer ErrorAnswer(uint64_t id, const grpc::Status& status) {
  v1::StreamAttentionResponse answer;
  answer.set_id(id);
  google::rpc::Status& error = *answer.mutable_error();
  if (!error.ParseFromString(status.error_details())) error.Clear();
  error.set_code(status.error_code());
  error.set_message(status.error_message());
  const grpc::Slice slice(answer.SerializeAsString());
  return {&slice, 1};
}

class AttentionStream final
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
      public std::enable_shared_from_this<AttentionStream> {
 public:
  AttentionStream(grpc::CallbackServerContext& context, const Backend& backend)
      : context_(context), backend_(backend) {}

  // Lives until OnDone, and as long as anything refers to it.
  void KeepAlive() { self_ = shared_from_this(); }
  void Hold(Held held) { held_ = std::move(held); }

  // Starts to read, for `call`, which is the stream as a whole.
  void Start(std::shared_ptr<Call> call) {
    call_ = std::move(call);
    drain_watch_ = backend_.admission.OnDrain([weak = weak_from_this()] {
      const auto stream = weak.lock();
      if (stream != nullptr) stream->Drain();
    });
    idle_watch_.Start(
        weak_from_this(),
        std::chrono::duration<double>(backend_.limits.max_stream_idle_seconds),
        [this] { return LookForProgress(); });
    const core::MutexLock lock(mutex_);
    Advance();
  }

  void OnReadDone(bool ok) override {
    const auto bytes = static_cast<int64_t>(received_.Length());
    if (ok && held_.arrival != nullptr) held_.arrival->OnMessage(bytes);
    const core::MutexLock lock(mutex_);
    if (ok && end_ == End::kOpen) {
      ++under_way_;
      under_way_bytes_ += bytes;
      const core::MutexUnlock unlock(mutex_);
      // Nobody reads into received_ before reading_ is false.
      TakeMessage(bytes);
    } else if (end_ == End::kOpen) {
      end_ = End::kHalfClosed;
    }
    reading_ = false;
    moves_ = true;
    Advance();
  }

  void OnWriteDone(bool ok) override {
    const core::MutexLock lock(mutex_);
    Over(*writing_);
    writing_ = nullptr;
    moves_ = true;
    if (!ok) Break();
    Advance();
  }

  void OnCancel() override {
    // Null after a refusal that had no memory for even that.
    if (held_.cancellation != nullptr) held_.cancellation->Cancel();
    const core::MutexLock lock(mutex_);
    Break();
    Advance();
  }

  void OnDone() override {
    {
      const core::MutexLock lock(mutex_);
      if (end_ != End::kHalfClosed && held_.arrival != nullptr) {
        context_.IsCancelled() ? held_.arrival->OnBroken()
                               : held_.arrival->OnUnread();
      }
    }
    idle_watch_.Stop();
    if (held_.ticket != nullptr) held_.ticket->Release();
    const auto last = std::move(self_);
  }

 private:
  // Why no further message is read.
  enum class End {
    kOpen,
    kHalfClosed,   // the client has sent all it wants
    kDraining,     // the server is
    kIdle,         // nothing has come for too long
    kOutOfMemory,  // for even a message's bookkeeping
    kBroken,       // nobody reads any more
  };

  void Drain() {
    const core::MutexLock lock(mutex_);
    if (end_ == End::kOpen) end_ = End::kDraining;
    Advance();
  }

  // Ends a stream that brings nothing, or whose answers nobody reads; whether
  // it goes on. While something is computed, it is the server that takes its
  // time.
  bool LookForProgress() {
    const core::MutexLock lock(mutex_);
    if (finished_) return false;
    const bool moves = std::exchange(moves_, false);
    const bool unread = writing_ != nullptr;
    if (moves || (under_way_ > 0 && !unread)) return true;
    idle_ = true;
    if (end_ == End::kOpen) end_ = End::kIdle;
    // What is being written cannot be followed by a status.
    if (unread) context_.TryCancel();
    Advance();
    return false;
  }

  void Break() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { end_ = End::kBroken; }

  // `message` is not under way any more.
  void Over(Message& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    message.ticket.Release();
    --under_way_;
    under_way_bytes_ -= message.bytes;
  }

  // received_, which has `bytes` and counts as under way already.
  void TakeMessage(int64_t bytes) {
    try {
      const auto message = std::make_shared<Message>(backend_.admission);
      message->bytes = bytes;
      const auto request =
          std::make_shared<ReceivedRequest>(ReceivedRequest::Form::kStreamed);
      request->Receive(received_);
      message->id = request->stream_id();
      const auto call = std::make_shared<Call>(
          Call::Facts{"StreamAttention",
                      [this, id = message->id] {
                        return absl::StrCat(call_->id(), "/", id);
                      },
                      [this] { return call_->peer(); }, bytes},
          held_.cancellation,
          [stream = shared_from_this(), message](const grpc::Status& status) {
            stream->Answer(message, status);
          });
      call->Guard([&] { Compute(call, message, request, bytes); });
    } catch (const std::bad_alloc&) {
      // Thrown before there was a call that could answer.
      const core::MutexLock lock(mutex_);
      --under_way_;
      under_way_bytes_ -= bytes;
      if (end_ == End::kOpen) end_ = End::kOutOfMemory;
    }
  }

  void Compute(const std::shared_ptr<Call>& call,
               const std::shared_ptr<Message>& message,
               const std::shared_ptr<ReceivedRequest>& request, int64_t bytes) {
    const absl::Status status =
        backend_.admission.Enter(bytes, message->ticket);
    if (!status.ok()) return call->Finish(status);
    call->set_ticket({message, &message->ticket});
    ComputeAttention(
        call, request, backend_, [call, message](ComputeReply&& reply) {
          message->answer = SerializeStreamed(message->id, std::move(reply));
          call->add_reply_bytes(static_cast<int64_t>(message->answer.Length()));
          call->Finish(absl::OkStatus());
        });
  }

  // `message` is done; from any thread.
  void Answer(const std::shared_ptr<Message>& message,
              const grpc::Status& status) {
    bool answered = true;
    try {
      if (!status.ok()) message->answer = ErrorAnswer(message->id, status);
    } catch (const std::bad_alloc&) {
      answered = false;
    }
    const core::MutexLock lock(mutex_);
    if (answered) {
      answers_.push_back(message);
    } else {
      // An answer is missing, so the stream has to end.
      Over(*message);
      if (end_ == End::kOpen) end_ = End::kOutOfMemory;
    }
    Advance();
  }

  // Starts whatever can be started: a read, a write, the end. mutex_ is free
  // while gRPC starts something: it may send at once, and others have answers
  // to leave here meanwhile. Who calls this keeps the stream, which may be over
  // when it returns.
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (end_ == End::kBroken) {
      for (const auto& message : answers_) Over(*message);
      answers_.clear();
    }
    ++starting_;
    while (StartOne()) {
    }
    --starting_;
    withholding_.Set(held_.arrival, end_ == End::kOpen && !reading_);
    if (!IsOver()) return;
    finished_ = true;
    const absl::Status ended = Ended();
    const core::MutexUnlock unlock(mutex_);
    call_->Finish(ended);
  }

  // Whether there was a write or a read to start.
  bool StartOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ == nullptr && !answers_.empty()) {
      const auto message = writing_ = std::move(answers_.front());
      answers_.pop_front();
      grpc::WriteOptions options;
      // The next answer follows at once: both can go out together.
      if (!answers_.empty()) options.set_buffer_hint();
      const core::MutexUnlock unlock(mutex_);
      StartWrite(&message->answer, options);
    } else if (end_ == End::kOpen && !reading_ && HasRoom()) {
      reading_ = true;
      const core::MutexUnlock unlock(mutex_);
      StartRead(&received_);
    } else {
      return false;
    }
    return true;
  }

  // Whether the time has come to end the stream.
  bool IsOver() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (end_ == End::kOpen || under_way_ > 0 || finished_) return false;
    if (call_ == nullptr) return false;  // refused before it started
    // The end must not overtake what somebody is about to start.
    if (starting_ > 0) return false;
    // A read may be left that the client never ends.
    return !reading_ || end_ == End::kDraining || end_ == End::kIdle;
  }

  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (under_way_ == 0) return true;
    if (under_way_ >= backend_.limits.max_stream_in_flight) return false;
    // What the messages under way will take beside themselves is not known
    // before they are looked at: put together once more, a workspace and a
    // reply, each of their own size, so far.
    return under_way_bytes_ <
           (backend_.ledger.lendable() - backend_.ledger.held()) / 4;
  }

  absl::Status Idle() const {
    return WithReason(absl::AbortedError(absl::StrCat(
                          "nothing of the stream came or was read for ",
                          backend_.limits.max_stream_idle_seconds,
                          " s, the time that --max-stream-idle sets")),
                      v1::ERROR_REASON_STALLED,
                      {{"flag", "--max-stream-idle"}});
  }

  absl::Status Ended() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (idle_) return Idle();
    switch (end_) {
      case End::kDraining:
        return WithReason(absl::UnavailableError("the server is draining"),
                          v1::ERROR_REASON_DRAINING);
      case End::kOutOfMemory:
        return OutOfMemory();
      case End::kBroken: {
        // The deadline tells why, if it was that.
        const absl::Status why = held_.cancellation->Check();
        return why.ok() ? absl::CancelledError("cancelled by the caller") : why;
      }
      default:
        return absl::OkStatus();
    }
  }

  grpc::CallbackServerContext& context_;
  const Backend& backend_;
  IdleWatch idle_watch_;
  std::shared_ptr<AttentionStream> self_;
  Held held_;
  std::shared_ptr<Call> call_;
  Admission::DrainWatch drain_watch_;
  grpc::ByteBuffer received_;

  core::Mutex mutex_;
  End end_ ABSL_GUARDED_BY(mutex_) = End::kOpen;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool idle_ ABSL_GUARDED_BY(mutex_) = false;
  // Something was read or written since a look.
  bool moves_ ABSL_GUARDED_BY(mutex_) = true;
  // Threads that are in Advance.
  int starting_ ABSL_GUARDED_BY(mutex_) = 0;
  // Messages read and not yet written or dropped, and their bytes.
  int64_t under_way_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t under_way_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  Withholding withholding_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Message>> answers_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Message> writing_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
ServeAttentionStream(grpc::CallbackServerContext& context,
                     const Backend& backend) {
  // gRPC calls no reaction before this function has returned.
  const auto stream = std::make_shared<AttentionStream>(context, backend);
  stream->KeepAlive();
  try {
    stream->Hold(Admit(
        context, StreamDoorOf(backend), "StreamAttention", /*request=*/nullptr,
        [raw = stream.get()](grpc::Status status) {
          raw->Finish(std::move(status));
        },
        [&](const std::shared_ptr<Call>& call) { stream->Start(call); }));
  } catch (const std::bad_alloc&) {
    // Thrown before there was a call, so nobody else answers.
    stream->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, ""});
  }
  return stream.get();
}

}  // namespace attention::rpc
