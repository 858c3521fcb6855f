#include "server/rpc/compute/handler.h"

#include <chrono>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "server/core/layer/layer.h"
#include "server/core/saturating.h"
#include "server/rpc/compute/cost.h"
#include "server/rpc/compute/parse.h"
#include "server/rpc/compute/reply.h"
#include "server/rpc/compute/steps.h"
#include "server/rpc/tensors/received_request.h"
#include "server/rpc/weights/weight_set_proto.h"

namespace attention::rpc {
namespace {

using Version = std::shared_ptr<const weights::WeightSetVersion>;

absl::StatusOr<Version> Resolve(const v1::ComputeAttentionRequest& request,
                                const weights::Catalog& catalog) {
  if (!request.has_weight_set()) return Version();
  absl::StatusOr<weights::Which> which = WhichOf(request.weight_set());
  if (!which.ok()) return which.status();
  return catalog.Find(request.weight_set().name(), *which);
}

google::protobuf::Duration ToDuration(Call::Clock::duration time) {
  const auto nanos =
      std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  google::protobuf::Duration duration;
  duration.set_seconds(nanos / 1'000'000'000);
  duration.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return duration;
}

// Up to here a computation is one task of the pool, together with everything
// that comes before and after it: some tens of microseconds, less than a tile
// of a large one.
constexpr int64_t kOneTaskMultiplyAdds = int64_t{1} << 18;

// A longer message may take longer than that to parse alone.
constexpr size_t kBriefBytes = size_t{64} << 10;

// A reply from here on is sent by a thread of its own
// (docs/adr/0018-a-thread-that-sends.md).
constexpr int64_t kLargeReplyBytes = int64_t{256} << 10;

// What one request needs from its bytes to those of its reply.
class Computing : public std::enable_shared_from_this<Computing> {
 public:
  Computing(std::shared_ptr<Call> call,
            std::shared_ptr<ReceivedRequest> request, const Backend& backend,
            std::function<void(ComputeReply&&)> send)
      : call_(std::move(call)),
        request_(std::move(request)),
        backend_(backend),
        send_(std::move(send)) {}
  Computing(const Computing&) = delete;
  Computing& operator=(const Computing&) = delete;

  // On the pool, since to parse may take long: all checks, and the memory; a
  // small computation too.
  void Start() {
    core::Computation first;
    first.push_back(
        {1, [self = shared_from_this()](int64_t, core::Workspace& workspace) {
           absl::Status status = self->Check();
           if (!status.ok()) return status;
           if (self->cost_.multiply_adds <= kOneTaskMultiplyAdds) {
             return self->Compute(workspace);
           }
           return self->Prepare();
         }});
    backend_.compute.Submit(
        std::move(first), call_->cancellation(),
        [self = shared_from_this()](const absl::Status& status) {
          self->call_->Guard([&] { self->OnPrepared(status); });
        },
        request_->size() <= kBriefBytes ? core::Length::kBrief
                                        : core::Length::kAny);
  }

 private:
  void OnPrepared(const absl::Status& status) {
    if (!status.ok() || computed_) return Answer(status);
    backend_.compute.Submit(
        std::move(steps_), call_->cancellation(),
        [self = shared_from_this()](const absl::Status& computed) {
          self->call_->Guard([&] { self->Answer(computed); });
        });
  }

  // Everything that can refuse without reading an element of `data`.
  absl::Status Check() {
    started_ = Call::Clock::now();
    absl::Status received = request_->Parse(backend_.limits.max_axis);
    if (!received.ok()) return received;
    absl::StatusOr<Version> version =
        Resolve(request_->message(), backend_.catalog);
    if (!version.ok()) return version.status();
    version_ = *std::move(version);
    request_->Allocate(backend_.buffers);
    absl::StatusOr<ComputeRequest> parsed =
        ParseComputeRequest(*request_, version_.get(), backend_.limits);
    if (!parsed.ok()) return parsed.status();
    parsed_ = *std::move(parsed);
    return in_double() ? CheckIn<double>() : CheckIn<float>();
  }

  template <typename T>
  absl::Status CheckIn() {
    absl::StatusOr<std::optional<core::LayerWeights<T>>> layer = Layer<T>();
    if (!layer.ok()) return layer.status();
    cost_ = CostOf(*parsed_, PointerTo(*layer), backend_.compute.threads());
    absl::Status status = CheckCost(cost_, backend_.limits);
    if (!status.ok()) return status;
    return call_->TakeBytes(
        core::SaturatingAdd(cost_.result_bytes, cost_.workspace_bytes));
  }

  // The memory, and the steps. REQUIRES: Check().ok().
  absl::Status Prepare() {
    return in_double() ? PrepareIn<double>() : PrepareIn<float>();
  }

  template <typename T>
  absl::Status PrepareIn() {
    absl::StatusOr<std::optional<core::LayerWeights<T>>> layer = Layer<T>();
    if (!layer.ok()) return layer.status();
    absl::StatusOr<core::Computation> computation = ComputeSteps<T>(
        *parsed_, *request_, [this] { request_->Gathered(); },
        PointerTo(*layer), backend_.buffers, reply_, owner_of_steps_);
    if (!computation.ok()) return computation.status();
    steps_ = *std::move(computation);
    return absl::OkStatus();
  }

  // Prepare, and the whole computation on this thread.
  absl::Status Compute(core::Workspace& workspace) {
    absl::Status status = Prepare();
    if (!status.ok()) return status;
    computed_ = true;
    return core::RunInline(steps_, call_->cancellation().get(), workspace);
  }

  void Answer(const absl::Status& status) {
    const Call::Clock::duration queue = started_ - call_->received();
    const Call::Clock::duration compute = Call::Clock::now() - started_;
    call_->set_timing(queue, compute);
    if (!status.ok()) return call_->Finish(FromPool(status));
    if (version_ != nullptr) {
      *reply_.message.mutable_weight_set_used() = VersionToProto(*version_);
    }
    v1::Timing& timing = *reply_.message.mutable_timing();
    *timing.mutable_queue() = ToDuration(queue);
    *timing.mutable_compute() = ToDuration(compute);
    Send();
  }

  // gRPC writes to the socket on the thread that sends. A worker of the pool
  // has better things to do, and whoever waits for the reply on this machine
  // is woken on the processor of the thread that writes, to read only after it.
  void Send() {
    if (cost_.result_bytes < kLargeReplyBytes) return send_(std::move(reply_));
    backend_.sender.Submit(
        {}, nullptr, [self = shared_from_this()](const absl::Status&) {
          self->call_->Guard([&] { self->send_(std::move(self->reply_)); });
        });
  }

  bool in_double() const {
    return parsed_->compute_dtype() == v1::DATA_TYPE_FLOAT64;
  }

  // The projections in T; empty without a weight set.
  template <typename T>
  absl::StatusOr<std::optional<core::LayerWeights<T>>> Layer() const {
    std::optional<core::LayerWeights<T>> layer;
    if (version_ == nullptr) return layer;
    absl::StatusOr<core::LayerWeights<T>> weights = version_->As<T>();
    if (!weights.ok()) return weights.status();
    layer = *std::move(weights);
    return layer;
  }

  template <typename T>
  static const T* PointerTo(const std::optional<T>& optional) {
    return optional ? &*optional : nullptr;
  }

  const std::shared_ptr<Call> call_;
  const std::shared_ptr<ReceivedRequest> request_;
  const Backend& backend_;
  const std::function<void(ComputeReply&&)> send_;
  Version version_;
  std::optional<ComputeRequest> parsed_;
  ComputeCost cost_;
  ComputeReply reply_{request_->arena()};
  Call::Clock::time_point started_ = call_->received();
  core::Computation steps_;
  std::shared_ptr<void> owner_of_steps_;
  bool computed_ = false;
};

}  // namespace

void ComputeAttention(const std::shared_ptr<Call>& call,
                      std::shared_ptr<ReceivedRequest> request,
                      const Backend& backend,
                      std::function<void(ComputeReply&&)> send) {
  std::make_shared<Computing>(call, std::move(request), backend,
                              std::move(send))
      ->Start();
}

}  // namespace attention::rpc
