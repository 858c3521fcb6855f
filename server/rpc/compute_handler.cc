#include "server/rpc/compute_handler.h"

#include <chrono>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "server/core/layer.h"
#include "server/rpc/compute_cost.h"
#include "server/rpc/compute_request.h"
#include "server/rpc/compute_steps.h"
#include "server/rpc/weight_set_proto.h"

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

// What one request needs from its first task to its answer.
struct Computing : std::enable_shared_from_this<Computing> {
  Computing(std::shared_ptr<Call> its_call,
            const v1::ComputeAttentionRequest& its_request,
            v1::ComputeAttentionResponse& its_reply, Version its_version,
            core::ComputePool& its_pool, const Limits& its_limits)
      : call(std::move(its_call)),
        request(its_request),
        reply(its_reply),
        version(std::move(its_version)),
        pool(its_pool),
        limits(its_limits) {}

  // First task: everything that can refuse, and the memory.
  absl::Status Prepare() {
    started = Call::Clock::now();
    absl::StatusOr<ComputeRequest> parsed =
        ParseComputeRequest(request, version.get(), limits);
    if (!parsed.ok()) return parsed.status();
    return parsed->compute_dtype() == v1::DATA_TYPE_FLOAT64
               ? PrepareIn<double>(*parsed)
               : PrepareIn<float>(*parsed);
  }

  template <typename T>
  absl::Status PrepareIn(const ComputeRequest& parsed) {
    std::optional<core::LayerWeights<T>> layer;
    if (version != nullptr) {
      absl::StatusOr<core::LayerWeights<T>> weights = version->As<T>();
      if (!weights.ok()) return weights.status();
      layer = *std::move(weights);
    }
    const core::LayerWeights<T>* const projections = layer ? &*layer : nullptr;
    const ComputeCost cost = CostOf(parsed, projections, pool.threads());
    absl::Status status = CheckCost(cost, limits);
    if (status.ok()) {
      status = call->TakeBytes(
          core::SaturatingAdd(cost.result_bytes, cost.workspace_bytes));
    }
    if (!status.ok()) return status;
    absl::StatusOr<core::Computation> computation =
        ComputeSteps<T>(parsed, projections, reply);
    if (!computation.ok()) return computation.status();
    steps = *std::move(computation);
    return absl::OkStatus();
  }

  void Submit() {
    pool.Submit(
        {{1, [self = shared_from_this()](
                 int64_t, core::Workspace&) { return self->Prepare(); }}},
        call->cancellation(),
        [self = shared_from_this()](const absl::Status& status) {
          self->call->Guard([&] { self->OnPrepared(status); });
        });
  }

  void OnPrepared(const absl::Status& status) {
    if (!status.ok()) return Answer(status);
    pool.Submit(std::move(steps), call->cancellation(),
                [self = shared_from_this()](const absl::Status& computed) {
                  self->call->Guard([&] { self->Answer(computed); });
                });
  }

  void Answer(const absl::Status& status) {
    const Call::Clock::duration queue = started - call->received();
    const Call::Clock::duration compute = Call::Clock::now() - started;
    call->set_timing(queue, compute);
    if (!status.ok()) return call->Finish(FromPool(status));
    if (version != nullptr) {
      *reply.mutable_weight_set_used() = VersionToProto(*version);
    }
    *reply.mutable_timing()->mutable_queue() = ToDuration(queue);
    *reply.mutable_timing()->mutable_compute() = ToDuration(compute);
    call->Finish(absl::OkStatus());
  }

  const std::shared_ptr<Call> call;
  const v1::ComputeAttentionRequest& request;
  v1::ComputeAttentionResponse& reply;
  const Version version;
  core::ComputePool& pool;
  const Limits& limits;
  Call::Clock::time_point started = call->received();
  core::Computation steps;
};

}  // namespace

void ComputeAttention(const std::shared_ptr<Call>& call,
                      const v1::ComputeAttentionRequest& request,
                      v1::ComputeAttentionResponse& reply,
                      const weights::Catalog& catalog, core::ComputePool& pool,
                      const Limits& limits) {
  absl::StatusOr<Version> version = Resolve(request, catalog);
  if (!version.ok()) return call->Finish(version.status());
  std::make_shared<Computing>(call, request, reply, *std::move(version), pool,
                              limits)
      ->Submit();
}

}  // namespace attention::rpc
