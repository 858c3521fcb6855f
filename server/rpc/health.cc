#include "server/rpc/health.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
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

// One Watch. What is not said otherwise REQUIRES the lock of the service.
class Watch final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // `done` is called last, without the lock. `mutex` is the service's.
  Watch(std::mutex& mutex, std::function<void(Watch*)> done)
      : mutex_(mutex), done_(std::move(done)) {}

  // What belongs to the call, until gRPC is done. Without the lock.
  void Hold(Held held) { held_ = std::move(held); }

  // Starts for `call`; `known` is whether this server speaks for the service.
  void Start(std::shared_ptr<Call> call, bool known) {
    call_ = std::move(call);
    known_ = known;
  }
  bool known() const { return known_; }

  // What is to be told, once what is being told has gone out.
  void Tell(Serving serving) {
    wanted_ = serving;
    Advance();
  }

  void End(absl::Status status) {
    if (ending_) return;
    ending_ = true;
    end_ = std::move(status);
    Advance();
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    if (!ok) End(Cancelled());
    // Also where it was to end already, and waited for this write.
    Advance();
  }
  void OnCancel() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (call_ != nullptr) End(Cancelled());
  }
  void OnDone() override { done_(this); }

 private:
  void Advance() {
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

  std::mutex& mutex_;
  const std::function<void(Watch*)> done_;
  Held held_;
  std::shared_ptr<Call> call_;  // null if it was refused before it started
  bool known_ = false;
  Serving told_ = HealthCheckResponse::UNKNOWN;  // never wanted
  Serving wanted_ = HealthCheckResponse::UNKNOWN;
  grpc::ByteBuffer bytes_;
  absl::Status end_;
  bool writing_ = false;
  bool ending_ = false;
  bool finished_ = false;
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
            const std::lock_guard<std::mutex> lock(mutex_);
            answer.set_status(StatusOf(/*known=*/true));
          }
          call->Finish(absl::OkStatus());
        });
  }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::ByteBuffer* request) override {
    // gRPC calls no reaction before this function has returned.
    auto* const watch =
        new rpc::Watch(mutex_, [this](auto* done) { Forget(done); });
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
    const std::lock_guard<std::mutex> lock(mutex_);
    serving_ = serving;
    for (auto* const watch : watches_) watch->Tell(StatusOf(watch->known()));
  }

  void EndWatches() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    for (auto* const watch : watches_) watch->End(Draining());
  }

 private:
  void StartWatch(const std::shared_ptr<Call>& call, bool known,
                  rpc::Watch& watch) {
    const std::lock_guard<std::mutex> lock(mutex_);
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

  // REQUIRES: mutex_.
  Serving StatusOf(bool known) const {
    if (!known) return HealthCheckResponse::SERVICE_UNKNOWN;
    return serving_ ? HealthCheckResponse::SERVING
                    : HealthCheckResponse::NOT_SERVING;
  }

  void Forget(rpc::Watch* watch) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      watches_.erase(watch);
    }
    delete watch;
  }

  const std::vector<std::string> services_;
  const size_t max_watches_;
  const Door door_;

  std::mutex mutex_;  // guards what follows
  bool serving_ = false;
  bool ended_ = false;
  std::set<rpc::Watch*> watches_;
};

Health::Health(std::vector<std::string> services, int32_t max_watches,
               const Door& door)
    : impl_(std::make_unique<Impl>(std::move(services), max_watches, door)) {}
Health::~Health() = default;

grpc::Service& Health::service() { return *impl_; }
void Health::SetServing(bool serving) { impl_->SetServing(serving); }
void Health::EndWatches() { impl_->EndWatches(); }

}  // namespace attention::rpc
