#include "server/rpc/compute/handler.h"

#include <chrono>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "server/rpc/compute/forward_plan.h"
#include "server/rpc/compute/plan.h"
#include "server/rpc/compute/reply.h"
#include "server/rpc/tensors/received_request.h"

namespace attention::rpc {
namespace {

google::protobuf::Duration ToDuration(Call::Clock::duration time) {
  const auto nanos =
      std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  google::protobuf::Duration duration;
  duration.set_seconds(nanos / 1'000'000'000);
  duration.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return duration;
}

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
           if (self->plan_->cost().in_one_task) return self->Compute(workspace);
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

  // Everything that can refuse without reading an element of data; nothing of
  // the request's size is allocated before that is paid for.
  absl::Status Check() {
    started_ = Call::Clock::now();
    const auto charge = [this](int64_t bytes) {
      return call_->TakeBytes({{memory::Kind::kMessages, bytes}});
    };
    absl::Status status = request_->Parse(backend_.limits.max_axis, charge);
    if (!status.ok()) return status;
    absl::StatusOr<std::unique_ptr<Plan>> plan =
        PlanForward(*request_, backend_.catalog, backend_.limits,
                    backend_.compute.threads(), reply_);
    if (!plan.ok()) return plan.status();
    plan_ = *std::move(plan);
    // Not worth it for small ones, which are over at once.
    if (!plan_->cost().in_one_task) {
      request_->OnGathered(
          [call = call_.get()](int64_t bytes) { call->ReturnMessage(bytes); });
    }
    const Cost& cost = plan_->cost();
    status = CheckCost(cost, backend_.limits);
    if (!status.ok()) return status;
    return call_->TakeBytes({{memory::Kind::kMessages, cost.held_inputs},
                             {memory::Kind::kReplies, cost.held_reply},
                             {memory::Kind::kWorkspaces, cost.held_workspace}});
  }

  // The memory, and the steps. REQUIRES: Check().ok().
  absl::Status Prepare() {
    absl::Status status = plan_->Allocate(backend_.buffers);
    if (status.ok()) steps_ = plan_->Steps();
    return status;
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
    v1::Timing timing;
    *timing.mutable_queue() = ToDuration(queue);
    *timing.mutable_compute() = ToDuration(compute);
    plan_->Conclude(timing);
    Send();
  }

  // gRPC writes to the socket on the thread that sends. A worker of the pool
  // has better things to do, and whoever waits for the reply on this machine
  // is woken on the processor of the thread that writes, to read only after it.
  void Send() {
    if (plan_->cost().result_bytes < kLargeReplyBytes) {
      return send_(std::move(reply_));
    }
    backend_.sender.Submit(
        {}, nullptr, [self = shared_from_this()](const absl::Status&) {
          self->call_->Guard([&] { self->send_(std::move(self->reply_)); });
        });
  }

  const std::shared_ptr<Call> call_;
  const std::shared_ptr<ReceivedRequest> request_;
  const Backend& backend_;
  const std::function<void(ComputeReply&&)> send_;
  ComputeReply reply_{request_->arena()};
  std::unique_ptr<Plan> plan_;
  Call::Clock::time_point started_ = call_->received();
  core::Computation steps_;
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
