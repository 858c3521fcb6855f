#include "server/rpc/health.h"

#include <algorithm>
#include <new>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
#include "server/core/mutex.h"
#include "server/rpc/door/message.h"
#include "server/rpc/door/serve.h"
#include "server/rpc/door/status.h"

namespace attention::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using Contract = grpc::health::v1::Health;
using Base = Contract::WithRawCallbackMethod_Check<
    Contract::WithRawCallbackMethod_Watch<Contract::Service>>;
using Serving = HealthCheckResponse::ServingStatus;

absl::Status Cancelled() {
  return absl::CancelledError("cancelled by the caller");
}

// One Watch. Thread-safe, but for Hold and Start, which come before all else.
class Watch final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // `done` is called last.
  explicit Watch(std::function<void(Watch*)> done) : done_(std::move(done)) {}

  // What belongs to the call, until gRPC is done.
  void Hold(Held held) { held_ = std::move(held); }

  // Starts for `call`; `known` is whether this server speaks for the service.
  void Start(std::shared_ptr<Call> call, bool known) {
    call_ = std::move(call);
    known_ = known;
  }
  bool known() const { return known_; }

  // What is to be told, once what is being told has gone out.
  void Tell(Serving serving) {
    const core::MutexLock lock(mutex_);
    wanted_ = serving;
    Advance();
  }

  void End(absl::Status status) {
    const core::MutexLock lock(mutex_);
    EndLocked(std::move(status));
  }

  void OnWriteDone(bool ok) override {
    const core::MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) EndLocked(Cancelled());
    // Also where it was to end already, and waited for this write.
    Advance();
  }
  void OnCancel() override {
    if (call_ != nullptr) End(Cancelled());
  }
  void OnDone() override { done_(this); }

 private:
  void EndLocked(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ending_) return;
    ending_ = true;
    end_ = std::move(status);
    Advance();
  }

  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (ending_) {
      finished_ = true;
      return call_->Finish(end_);
    }
    if (wanted_ == told_) return;
    told_ = wanted_;
    HealthCheckResponse response;
    response.set_status(told_);
    bytes_ = SerializeMessage(response);
    writing_ = true;
    StartWrite(&bytes_);
  }

  const std::function<void(Watch*)> done_;
  Held held_;
  std::shared_ptr<Call> call_;  // null if it was refused before it started
  bool known_ = false;

  core::Mutex mutex_;
  // UNKNOWN is never wanted.
  Serving told_ ABSL_GUARDED_BY(mutex_) = HealthCheckResponse::UNKNOWN;
  Serving wanted_ ABSL_GUARDED_BY(mutex_) = HealthCheckResponse::UNKNOWN;
  grpc::ByteBuffer bytes_ ABSL_GUARDED_BY(mutex_);
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

class Health::Impl final : public Base {
 public:
  Impl(std::vector<std::string> services, int32_t max_watches, const Door& door)
      : services_(std::move(services)),
        max_watches_(static_cast<size_t>(max_watches)),
        door_(door) {}

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* reply) override {
    return ServeMessage<HealthCheckRequest, HealthCheckResponse>(
        *context, door_, "Health.Check", request, reply,
        [this](const std::shared_ptr<Call>& call, const auto& message,
               auto& answer) {
          if (!Knows(message.service())) {
            return call->Finish(FieldError(
                absl::StatusCode::kNotFound, "service",
                absl::StrCat("is ", Quoted(message.service()), "; there are ",
                             QuotedEnumeration(services_))));
          }
          {
            const core::MutexLock lock(mutex_);
            answer.set_status(StatusOf(/*known=*/true));
          }
          call->Finish(absl::OkStatus());
        });
  }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::ByteBuffer* request) override {
    // gRPC calls no reaction before this function has returned.
    auto* const watch = new rpc::Watch([this](auto* done) { Forget(done); });
    try {
      watch->Hold(Admit(
          *context, door_, "Health.Watch", request,
          [watch](grpc::Status status) { watch->Finish(std::move(status)); },
          [&](const std::shared_ptr<Call>& call) {
            HealthCheckRequest message;
            // gRPC's own object, which nobody else reads.
            const absl::Status status =
                ReadShort(const_cast<grpc::ByteBuffer&>(*request),
                          "Health.Watch", message);
            if (!status.ok()) return call->Finish(status);
            StartWatch(call, Knows(message.service()), *watch);
          }));
    } catch (const std::bad_alloc&) {
      // Thrown before there was a call, so nobody else answers.
      watch->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, ""});
    }
    return watch;
  }

  void SetServing(bool serving) {
    const core::MutexLock lock(mutex_);
    serving_ = serving;
    for (auto* const watch : watches_) watch->Tell(StatusOf(watch->known()));
  }

  void EndWatches() {
    const core::MutexLock lock(mutex_);
    ended_ = true;
    for (auto* const watch : watches_) watch->End(Draining());
  }

 private:
  void StartWatch(const std::shared_ptr<Call>& call, bool known,
                  rpc::Watch& watch) {
    const core::MutexLock lock(mutex_);
    if (ended_) return call->Finish(Draining());
    if (watches_.size() >= max_watches_) {
      return call->Finish(
          Busy(absl::StrCat(watches_.size(), " watches of health are open"),
               "--max-open-streams"));
    }
    watch.Start(call, known);
    watches_.insert(&watch);
    watch.Tell(StatusOf(known));
  }

  static absl::Status Draining() {
    return WithReason(absl::UnavailableError("the server is draining"),
                      v1::ERROR_REASON_DRAINING);
  }

  bool Knows(const std::string& service) const {
    return service.empty() || std::find(services_.begin(), services_.end(),
                                        service) != services_.end();
  }

  Serving StatusOf(bool known) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!known) return HealthCheckResponse::SERVICE_UNKNOWN;
    return serving_ ? HealthCheckResponse::SERVING
                    : HealthCheckResponse::NOT_SERVING;
  }

  void Forget(rpc::Watch* watch) {
    {
      const core::MutexLock lock(mutex_);
      watches_.erase(watch);
    }
    delete watch;
  }

  const std::vector<std::string> services_;
  const size_t max_watches_;
  const Door door_;

  core::Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  // Which are there as long as they are in it.
  std::set<rpc::Watch*> watches_ ABSL_GUARDED_BY(mutex_);
};

Health::Health(std::vector<std::string> services, int32_t max_watches,
               const Door& door)
    : impl_(std::make_unique<Impl>(std::move(services), max_watches, door)) {}
Health::~Health() = default;

grpc::Service& Health::service() { return *impl_; }
void Health::SetServing(bool serving) { impl_->SetServing(serving); }
void Health::EndWatches() { impl_->EndWatches(); }

}  // namespace attention::rpc
