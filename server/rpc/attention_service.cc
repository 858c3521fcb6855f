#include "server/rpc/attention_service.h"

#include <google/protobuf/util/time_util.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "attention/v1/attention.grpc.pb.h"
#include "proto/field_error.h"
#include "server/core/kernel/strip_kernel.h"
#include "server/memory/allocated.h"
#include "server/rpc/compute/handler.h"
#include "server/rpc/compute/reply.h"
#include "server/rpc/compute/stream.h"
#include "server/rpc/door/serve.h"
#include "server/rpc/door/status.h"
#include "server/rpc/tensors/received_request.h"
#include "server/rpc/weights/download.h"
#include "server/rpc/weights/upload.h"
#include "server/rpc/weights/weight_set_proto.h"

namespace attention::rpc {
namespace {

using weights::WeightSetVersion;

// A page is cut to this, so that a client with gRPC's default limit of 4 MiB
// can read it whatever annotations the versions have.
constexpr size_t kMaxPageBytes = size_t{2} << 20;

// As many of `versions` as fit, but one at least, and their bytes.
std::pair<size_t, size_t> FittingPage(
    const std::vector<weights::Listed>& versions) {
  size_t bytes = 0;
  for (size_t i = 0; i < versions.size(); ++i) {
    const size_t next = SummaryToProto(versions[i]).ByteSizeLong();
    if (i > 0 && bytes + next > kMaxPageBytes) return {i, bytes};
    bytes += next;
  }
  return {versions.size(), bytes};
}

absl::Status List(const weights::Catalog& catalog,
                  const v1::ListWeightsRequest& request, Call& call,
                  v1::ListWeightsResponse& reply) {
  weights::ListRequest list{request.name(), request.latest_only(),
                            request.page_size(), request.page_token()};
  absl::StatusOr<weights::ListPage> page = catalog.List(list);
  if (!page.ok()) return page.status();
  const auto [count, bytes] = FittingPage(page->versions);
  if (count < page->versions.size()) {
    list.page_size = static_cast<int32_t>(count);
    page = catalog.List(list);
    if (!page.ok()) return page.status();
  }
  // As a message, whose strings take about as much again, and as its bytes.
  constexpr int64_t kTimes = 3;
  absl::Status lent = call.TakeBytes(
      {{memory::Kind::kReplies, kTimes * static_cast<int64_t>(bytes)}});
  if (!lent.ok()) return lent;
  for (const weights::Listed& listed : page->versions) {
    *reply.add_versions() = SummaryToProto(listed);
  }
  reply.set_next_page_token(page->next_page_token);
  return absl::OkStatus();
}

google::protobuf::Duration DurationOf(double seconds) {
  return google::protobuf::util::TimeUtil::MillisecondsToDuration(
      static_cast<int64_t>(1e3 * seconds));
}

void Describe(const ConnectionLimits& limits, v1::Limits& reply) {
  reply.set_max_connections(limits.max_connections);
  reply.set_max_header_bytes(limits.max_header_bytes);
  reply.set_max_streams_per_connection(limits.max_streams_per_connection);
  *reply.mutable_max_connection_age() =
      DurationOf(limits.max_connection_age_seconds);
  *reply.mutable_max_connection_idle() =
      DurationOf(limits.max_connection_idle_seconds);
  *reply.mutable_handshake_timeout() =
      DurationOf(limits.handshake_timeout_seconds);
  *reply.mutable_min_ping_interval() =
      DurationOf(limits.min_ping_interval_seconds);
  reply.set_max_broken_calls(limits.max_broken_calls);
}

void DescribeMemory(const Backend& backend, v1::Memory& reply) {
  using memory::Kind;
  const memory::Ledger& ledger = backend.ledger;
  reply.set_limit(ledger.limit());
  reply.set_lendable(ledger.lendable());
  reply.set_arriving(ledger.held(Kind::kArriving));
  reply.set_messages(ledger.held(Kind::kMessages));
  reply.set_workspaces(ledger.held(Kind::kWorkspaces));
  reply.set_replies(ledger.held(Kind::kReplies));
  reply.set_uploads(ledger.held(Kind::kUploads));
  reply.set_weights(ledger.held(Kind::kWeights));
  reply.set_converted_weights(ledger.held(Kind::kConvertedWeights));
  reply.set_idle_buffers(ledger.held(Kind::kIdleBuffers));
  // Summed here, so that it is the sum of what is told beside it.
  reply.set_held(reply.arriving() + reply.messages() + reply.workspaces() +
                 reply.replies() + reply.uploads() + reply.weights() +
                 reply.converted_weights() + reply.idle_buffers());
  reply.set_allocated(memory::AllocatedBytes());
}

void Describe(const Backend& backend, v1::GetServerInfoResponse& reply) {
  reply.set_version(backend.facts.version);
  const core::BlasReport& blas = backend.facts.blas;
  reply.mutable_blas()->set_config(blas.config);
  reply.mutable_blas()->set_kernel(blas.kernel);
  reply.mutable_blas()->set_library_kernel(blas.library_kernel);
  reply.mutable_blas()->set_kernel_because(blas.kernel_because);
  reply.mutable_blas()->set_fell_back(blas.fell_back);
  reply.mutable_blas()->set_deterministic(
      blas.not_deterministic_because.empty());
  reply.mutable_blas()->set_not_deterministic_because(
      blas.not_deterministic_because);
  reply.set_vector_target(core::StripTarget());
  reply.set_compute_threads(backend.compute.threads());
  v1::Limits& limits = *reply.mutable_limits();
  limits.set_max_message_bytes(backend.limits.max_message_bytes);
  limits.set_max_result_bytes(backend.limits.max_result_bytes);
  limits.set_max_workspace_bytes(backend.limits.max_workspace_bytes);
  limits.set_max_multiply_adds(backend.limits.max_multiply_adds);
  limits.set_max_axis(backend.limits.max_axis);
  limits.set_max_requests_in_flight(backend.limits.max_requests_in_flight);
  limits.set_memory_limit(backend.limits.memory_limit);
  limits.set_max_stream_in_flight(backend.limits.max_stream_in_flight);
  limits.set_max_weight_set_bytes(backend.limits.max_weight_set_bytes);
  limits.set_max_arriving_bytes(backend.limits.max_arriving_bytes);
  limits.set_max_open_streams(backend.limits.max_open_streams);
  *limits.mutable_max_transfer_idle() =
      DurationOf(backend.limits.max_transfer_idle_seconds);
  *limits.mutable_receive_idle() =
      DurationOf(backend.limits.receive_idle_seconds);
  *limits.mutable_max_stream_idle() =
      DurationOf(backend.limits.max_stream_idle_seconds);
  Describe(backend.limits.connections, limits);
  DescribeMemory(backend, *reply.mutable_memory());
  reply.add_features("stream-attention");
  reply.add_features("upload-weights");
  reply.add_features("inline-weights");
}

// The contents a SetWeightsRequest brings or describes.
absl::StatusOr<weights::WeightSetContents> ContentsOf(
    const v1::SetWeightsRequest& request, const Limits& limits, Call& call) {
  switch (request.source_case()) {
    case v1::SetWeightsRequest::kWeights: {
      CodecLimits codec_limits;
      codec_limits.max_axis = limits.max_axis;
      return ContentsFromProto(request.weights(), codec_limits);
    }
    case v1::SetWeightsRequest::kInitializer: {
      absl::StatusOr<weights::Initializer> initializer =
          InitializerFromProto(request.initializer());
      if (!initializer.ok()) return initializer.status();
      const absl::StatusOr<int64_t> bytes =
          weights::InitializedBytes(*initializer);
      if (!bytes.ok()) return bytes.status();
      if (*bytes > limits.max_message_bytes) {
        // What no message could carry is not made here either.
        return WithReason(
            FieldError(absl::StatusCode::kResourceExhausted, "initializer",
                       absl::StrCat("describes ", *bytes,
                                    " bytes of weights; expected at most ",
                                    limits.max_message_bytes,
                                    ", which --max-message-bytes sets")),
            v1::ERROR_REASON_LIMIT_EXCEEDED,
            {{"flag", "--max-message-bytes"},
             {"limit", absl::StrCat(limits.max_message_bytes)},
             {"needed", absl::StrCat(*bytes)}});
      }
      absl::Status lent = call.TakeBytes({{memory::Kind::kMessages, *bytes}});
      if (!lent.ok()) return lent;
      return weights::Initialize(*initializer);
    }
    default:
      return FieldError("weights", "is required, or initializer");
  }
}

absl::Status Set(const v1::SetWeightsRequest& request, const Limits& limits,
                 weights::Catalog& catalog, Call& call,
                 v1::SetWeightsResponse& reply) {
  absl::StatusOr<weights::WeightSetContents> contents =
      ContentsOf(request, limits, call);
  if (!contents.ok()) return contents.status();
  weights::SetRequest set;
  set.name = request.name();
  set.contents = *std::move(contents);
  if (request.has_expected_version()) {
    set.expected_version = request.expected_version();
  }
  set.idempotency_key = request.idempotency_key();
  set.labels.assign(request.labels().begin(), request.labels().end());
  set.annotations.insert(request.annotations().begin(),
                         request.annotations().end());
  absl::StatusOr<std::shared_ptr<const WeightSetVersion>> version =
      catalog.Set(std::move(set));
  if (!version.ok()) return version.status();
  *reply.mutable_version() = VersionToProto(**version);
  return absl::OkStatus();
}

absl::Status Delete(const v1::DeleteWeightsRequest& request,
                    weights::Catalog& catalog,
                    v1::DeleteWeightsResponse& reply) {
  std::optional<int64_t> version;
  std::optional<int64_t> expected_version;
  if (request.has_version()) version = request.version();
  if (request.has_expected_version()) {
    expected_version = request.expected_version();
  }
  absl::StatusOr<int32_t> deleted =
      catalog.Delete(request.name(), version, expected_version);
  if (deleted.ok()) reply.set_versions_deleted(*deleted);
  return deleted.status();
}

absl::Status MoveLabel(const v1::SetLabelRequest& request,
                       weights::Catalog& catalog, v1::SetLabelResponse& reply) {
  std::optional<int64_t> version;
  std::optional<int64_t> expected_version;
  if (request.has_version()) version = request.version();
  if (request.has_expected_version()) {
    expected_version = request.expected_version();
  }
  absl::StatusOr<std::shared_ptr<const WeightSetVersion>> now =
      catalog.SetLabel(request.name(), request.label(), version,
                       expected_version);
  if (!now.ok()) return now.status();
  if (*now != nullptr) *reply.mutable_version() = VersionToProto(**now);
  return absl::OkStatus();
}

// All methods are raw ones: their bytes are read and written here, so that
// nothing is made of them before it is known what they are
// (docs/adr/0021-every-byte-is-ours-to-judge.md).
using Contract = v1::AttentionService;
using Base = Contract::WithRawCallbackMethod_ComputeAttention<
    Contract::WithRawCallbackMethod_StreamAttention<
        Contract::WithRawCallbackMethod_SetWeights<
            Contract::WithRawCallbackMethod_UploadWeights<
                Contract::WithRawCallbackMethod_GetWeights<
                    Contract::WithRawCallbackMethod_ListWeights<
                        Contract::WithRawCallbackMethod_DeleteWeights<
                            Contract::WithRawCallbackMethod_SetLabel<
                                Contract::WithRawCallbackMethod_GetServerInfo<
                                    Contract::Service>>>>>>>>>;

using CallPointer = std::shared_ptr<Call>;
using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;

class AttentionService final : public Base {
 public:
  explicit AttentionService(Backend backend) : backend_(std::move(backend)) {}

  grpc::ServerUnaryReactor* ComputeAttention(Context* context,
                                             const Bytes* request,
                                             Bytes* reply) override {
    return ServeUnary(
        *context, DoorOf(backend_), "ComputeAttention", request, reply,
        [&](const CallPointer& call, Bytes& bytes) {
          const auto received =
              std::make_shared<ReceivedRequest>(ReceivedRequest::Form::kUnary);
          received->Receive(bytes);
          rpc::ComputeAttention(
              call, received, backend_, [call, reply](ComputeReply&& computed) {
                *reply = Serialize(std::move(computed));
                call->add_reply_bytes(static_cast<int64_t>(reply->Length()));
                call->Finish(absl::OkStatus());
              });
        });
  }

  grpc::ServerBidiReactor<Bytes, Bytes>* StreamAttention(
      Context* context) override {
    return ServeAttentionStream(*context, backend_);
  }

  grpc::ServerUnaryReactor* SetWeights(Context* context, const Bytes* request,
                                       Bytes* reply) override {
    return ServeMessage<v1::SetWeightsRequest, v1::SetWeightsResponse>(
        *context, DoorOf(backend_), "SetWeights", request, reply,
        [this](const CallPointer& call, const auto& message, auto& answer) {
          On(backend_.writer, call, [this, call, &message, &answer] {
            return Set(message, backend_.limits, backend_.catalog, *call,
                       answer);
          });
        });
  }

  grpc::ServerReadReactor<Bytes>* UploadWeights(Context* context,
                                                Bytes* reply) override {
    return ServeUploadWeights(*context, backend_, reply);
  }

  grpc::ServerWriteReactor<Bytes>* GetWeights(Context* context,
                                              const Bytes* request) override {
    return ServeGetWeights(*context, backend_, request);
  }

  grpc::ServerUnaryReactor* ListWeights(Context* context, const Bytes* request,
                                        Bytes* reply) override {
    return ServeMessage<v1::ListWeightsRequest, v1::ListWeightsResponse>(
        *context, DoorOf(backend_), "ListWeights", request, reply,
        [this](const CallPointer& call, const auto& message, auto& answer) {
          // A page of many annotations takes a reactor too long.
          On(backend_.compute, call, [this, &call = *call, &message, &answer] {
            return List(backend_.catalog, message, call, answer);
          });
        });
  }

  grpc::ServerUnaryReactor* DeleteWeights(Context* context,
                                          const Bytes* request,
                                          Bytes* reply) override {
    return ServeMessage<v1::DeleteWeightsRequest, v1::DeleteWeightsResponse>(
        *context, DoorOf(backend_), "DeleteWeights", request, reply,
        [this](const CallPointer& call, const auto& message, auto& answer) {
          On(backend_.writer, call, [this, &message, &answer] {
            return Delete(message, backend_.catalog, answer);
          });
        });
  }

  grpc::ServerUnaryReactor* SetLabel(Context* context, const Bytes* request,
                                     Bytes* reply) override {
    return ServeMessage<v1::SetLabelRequest, v1::SetLabelResponse>(
        *context, DoorOf(backend_), "SetLabel", request, reply,
        [this](const CallPointer& call, const auto& message, auto& answer) {
          On(backend_.writer, call, [this, &message, &answer] {
            return MoveLabel(message, backend_.catalog, answer);
          });
        });
  }

  grpc::ServerUnaryReactor* GetServerInfo(Context* context,
                                          const Bytes* request,
                                          Bytes* reply) override {
    Door door = DoorOf(backend_);
    door.admission = nullptr;
    return ServeMessage<v1::GetServerInfoRequest, v1::GetServerInfoResponse>(
        *context, door, "GetServerInfo", request, reply,
        [this](const CallPointer& call, const auto&, auto& answer) {
          Describe(backend_, answer);
          call->Finish(absl::OkStatus());
        });
  }

 private:
  // Runs `body`, which may block, on the writer's thread, and answers with what
  // it returns.
  // Runs `body` on `pool`, and finishes the call with its status.
  static void On(core::ComputePool& pool, const std::shared_ptr<Call>& call,
                 std::function<absl::Status()> body) {
    pool.Submit({{1, [body = std::move(body)](
                         int64_t, core::Workspace&) { return body(); }}},
                call->cancellation(), [call](const absl::Status& status) {
                  call->Guard([&] { call->Finish(FromPool(status)); });
                });
  }

  const Backend backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewAttentionService(Backend backend) {
  return std::make_unique<AttentionService>(std::move(backend));
}

}  // namespace attention::rpc
