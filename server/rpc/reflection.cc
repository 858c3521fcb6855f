#include "server/rpc/reflection.h"

#include <chrono>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/core/mutex.h"
#include "server/rpc/door/idle_watch.h"
#include "server/rpc/door/message.h"
#include "server/rpc/door/serve.h"
#include "server/rpc/door/status.h"
#include "server/rpc/reflection_index.h"

namespace attention::rpc {
namespace {

using grpc::reflection::v1::ServerReflectionRequest;
using Stream = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

constexpr char kMethod[] = "ServerReflectionInfo";

// Reads a request, answers it, reads the next.
class ReflectionStream final
    : public Stream,
      public std::enable_shared_from_this<ReflectionStream> {
 public:
  ReflectionStream(grpc::CallbackServerContext& context,
                   const ReflectionIndex& index, Admission& admission,
                   double max_idle_seconds)
      : context_(context),
        index_(index),
        admission_(admission),
        max_idle_seconds_(max_idle_seconds) {}

  // Lives until OnDone.
  void KeepAlive() { self_ = shared_from_this(); }
  void Hold(Held held) { held_ = std::move(held); }

  // Starts to read for `call`.
  void Start(std::shared_ptr<Call> call) {
    call_ = std::move(call);
    const absl::Status lent =
        call_->TakeBytes({{memory::Kind::kReplies, index_.largest()}});
    if (!lent.ok()) return call_->Finish(lent);
    drain_watch_ = admission_.OnDrain([weak = weak_from_this()] {
      const auto stream = weak.lock();
      if (stream != nullptr) stream->End(Draining());
    });
    idle_watch_.Start(weak_from_this(),
                      std::chrono::duration<double>(max_idle_seconds_),
                      [this] { return LookForProgress(); });
    Read();
  }

  void OnReadDone(bool ok) override {
    if (ok && held_.arrival != nullptr) {
      held_.arrival->OnMessage(static_cast<int64_t>(received_.Length()));
    }
    {
      const core::MutexLock lock(mutex_);
      if (ended_) return;
      moves_ = true;
      // From here on only what follows ends the call.
      busy_ = true;
      is_read_ = !ok && !context_.IsCancelled();
    }
    if (!ok) return call_->Finish(absl::OkStatus());
    call_->Guard([this] { Answer(); });
  }

  void OnWriteDone(bool ok) override {
    {
      const core::MutexLock lock(mutex_);
      moves_ = true;
    }
    if (!ok) {
      // The idle watch's end of it, or the client's own.
      return call_->Finish(
          stalled() ? Stalled()
                    : absl::CancelledError("cancelled by the caller"));
    }
    Read();
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
    idle_watch_.Stop();
    {
      // A look that has begun may come later, when the context is gone.
      const core::MutexLock lock(mutex_);
      ended_ = true;
    }
    if (held_.ticket != nullptr) held_.ticket->Release();
    const auto last = std::move(self_);
  }

 private:
  void Read() {
    absl::Status wanted;
    {
      const core::MutexLock lock(mutex_);
      busy_ = false;
      wanted = wanted_end_;
      if (wanted.ok()) return StartRead(&received_);
      ended_ = true;
    }
    call_->Finish(wanted);
  }

  void Answer() {
    ServerReflectionRequest message;
    const absl::Status status = ReadShort(received_, kMethod, message);
    if (!status.ok()) return call_->Finish(status);
    response_ = SerializeMessage(index_.Answer(message));
    call_->add_reply_bytes(static_cast<int64_t>(response_.Length()));
    StartWrite(&response_);
  }

  // Ends the stream: now if it waits for the client, else after what is being
  // answered.
  void End(const absl::Status& status) {
    {
      const core::MutexLock lock(mutex_);
      wanted_end_ = status;
      if (ended_ || busy_) return;
      ended_ = true;
    }
    call_->Finish(status);
  }

  // Ends a stream whose client neither asks nor reads; whether it goes on.
  bool LookForProgress() {
    {
      const core::MutexLock lock(mutex_);
      if (ended_) return false;
      if (std::exchange(moves_, false)) return true;
      stalled_ = true;
      // What is being written cannot be followed by a status.
      if (busy_) {
        context_.TryCancel();
        return false;
      }
    }
    End(Stalled());
    return false;
  }

  bool stalled() {
    const core::MutexLock lock(mutex_);
    return stalled_;
  }

  absl::Status Stalled() const {
    return WithReason(absl::AbortedError(absl::StrCat(
                          "nothing was asked or read in ", max_idle_seconds_,
                          " s, the time that --max-transfer-idle sets")),
                      v1::ERROR_REASON_STALLED,
                      {{"flag", "--max-transfer-idle"}});
  }

  static absl::Status Draining() {
    return WithReason(absl::UnavailableError("the server is draining"),
                      v1::ERROR_REASON_DRAINING);
  }

  grpc::CallbackServerContext& context_;
  const ReflectionIndex& index_;
  Admission& admission_;
  const double max_idle_seconds_;
  std::shared_ptr<ReflectionStream> self_;
  Held held_;
  std::shared_ptr<Call> call_;
  Admission::DrainWatch drain_watch_;
  IdleWatch idle_watch_;
  grpc::ByteBuffer received_;
  grpc::ByteBuffer response_;

  bool is_read_ = false;  // to the end of what the client sends

  core::Mutex mutex_;
  // A request is being answered.
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  // Something came or went since the last look.
  bool moves_ ABSL_GUARDED_BY(mutex_) = true;
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  // Answered, or about to be.
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status wanted_end_ ABSL_GUARDED_BY(mutex_);
};

// The streams of both services.
class Streams {
 public:
  Streams(const std::vector<std::string>& services, const Door& door,
          double max_idle_seconds)
      : index_(services), door_(door), max_idle_seconds_(max_idle_seconds) {}

  Stream* Open(grpc::CallbackServerContext& context) const {
    // gRPC calls no reaction before this function has returned.
    const auto stream = std::make_shared<ReflectionStream>(
        context, index_, *door_.admission, max_idle_seconds_);
    stream->KeepAlive();
    try {
      stream->Hold(Admit(
          context, door_, kMethod, /*request=*/nullptr,
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

 private:
  const ReflectionIndex index_;
  const Door door_;
  const double max_idle_seconds_;
};

// `Contract` is ServerReflection of either package.
template <typename Contract>
class ReflectionService final
    : public Contract::template WithRawCallbackMethod_ServerReflectionInfo<
          typename Contract::Service> {
 public:
  explicit ReflectionService(const Streams& streams) : streams_(streams) {}

  Stream* ServerReflectionInfo(grpc::CallbackServerContext* context) override {
    return streams_.Open(*context);
  }

 private:
  const Streams& streams_;
};

}  // namespace

class Reflection::Impl {
 public:
  Impl(const std::vector<std::string>& services, const Door& door,
       double max_idle_seconds)
      : streams_(services, door, max_idle_seconds) {}

  const Streams streams_;
  ReflectionService<grpc::reflection::v1::ServerReflection> service_{streams_};
  ReflectionService<grpc::reflection::v1alpha::ServerReflection> alpha_service_{
      streams_};
};

Reflection::Reflection(const std::vector<std::string>& services,
                       const Door& door, double max_idle_seconds)
    : impl_(std::make_unique<Impl>(services, door, max_idle_seconds)) {}
Reflection::~Reflection() = default;

grpc::Service& Reflection::service() { return impl_->service_; }
grpc::Service& Reflection::alpha_service() { return impl_->alpha_service_; }

}  // namespace attention::rpc
