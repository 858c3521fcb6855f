#include "attention/client.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "attention/v1/attention.grpc.pb.h"
#include "client/cpp/grpc_status.h"
#include "client/cpp/shared_request.h"
#include "client/cpp/stream_impl.h"
#include "client/cpp/tls_fault.h"
#include "client/cpp/weight_set_assembler.h"
#include "client/cpp/weight_set_disassembler.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"

namespace attention::client {
namespace {

using ::grpc::health::v1::Health;
using v1::AttentionService;

int ReceiveLimit(const ClientOptions& options) {
  return static_cast<int>(std::clamp<int64_t>(options.max_reply_bytes, 0,
                                              std::numeric_limits<int>::max()));
}

bool IsLoopback(const std::string& target) {
  return absl::StartsWith(target, "127.") ||
         absl::StartsWith(target, "localhost:") ||
         absl::StartsWith(target, "[::1]:") ||
         absl::StartsWith(target, "unix:");
}

std::shared_ptr<grpc::Channel> Connect(const std::string& target,
                                       const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(ReceiveLimit(options));
  // HTTP/2's largest frame, which large tensors are cheapest in.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, (1 << 24) - 1);
  if (IsLoopback(target)) {
    // gRPC would ask the proxy of http_proxy even for this machine itself.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  }
  if (!options.tls_server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls_server_name);
  }
  if (const auto pause = options.longest_reconnect_pause; pause.count() > 0) {
    const auto ms = static_cast<int>(
        std::min<int64_t>(pause.count(), std::numeric_limits<int>::max()));
    constexpr int kFirst = 1000;  // gRPC's own
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                     std::min(kFirst, ms));
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, ms);
  }
  return grpc::CreateCustomChannel(target,
                                   options.credentials != nullptr
                                       ? options.credentials
                                       : grpc::InsecureChannelCredentials(),
                                   arguments);
}

// Bytes of the largest message protobuf can write.
constexpr size_t kLargestMessage = std::numeric_limits<int>::max();

absl::Status TooLargeForProtobuf(size_t size) {
  return absl::ResourceExhaustedError(
      absl::StrCat("the request has ", size, " bytes and a message at most ",
                   kLargestMessage));
}

// Whether gRPC, here or there, refused a message for its size. Its words name
// no option of ours.
bool IsTooLargeForGrpc(const absl::Status& status) {
  return status.code() == absl::StatusCode::kResourceExhausted &&
         absl::StrContains(status.message(), "larger than max");
}

// Whether the server, or its gRPC, refused a request for the size of its
// message.
bool IsMessageTooLarge(const absl::Status& status) {
  return IsTooLargeForGrpc(status) ||
         (status.code() == absl::StatusCode::kResourceExhausted &&
          absl::StrContains(status.message(), "--max-message-bytes"));
}

// `status`, its details kept, with what to do instead.
absl::Status WithUploadCure(const absl::Status& status) {
  absl::Status cured(status.code(),
                     absl::StrCat(status.message(),
                                  "; UploadWeights takes weight sets that are "
                                  "larger than a message"));
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    cured.SetPayload(type, payload);
  });
  return cured;
}

void SetDeadline(const CallOptions& options, grpc::ClientContext& context) {
  if (options.deadline != std::chrono::system_clock::time_point::max()) {
    context.set_deadline(options.deadline);
  }
}

}  // namespace

struct Client::Stubs {
  Stubs(const std::shared_ptr<grpc::Channel>& channel, int receive_limit,
        std::optional<bool> speaks_tls)
      : attention(AttentionService::NewStub(channel)),
        attention_of_bytes(channel),
        health(Health::NewStub(channel)),
        reply_limit(receive_limit),
        tls(speaks_tls) {}

  // One unary call.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(
      Stub& stub,
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request, const CallOptions& options) const {
    grpc::ClientContext context;
    SetDeadline(options, context);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return WithCure(FromGrpc(status));
    return response;
  }

  // ComputeAttention of a request that is bytes already. The generated stub
  // takes only messages.
  absl::StatusOr<v1::ComputeAttentionResponse> ComputeAttention(
      const grpc::ByteBuffer& request, const CallOptions& options) {
    static const std::string method = absl::StrCat(
        "/", AttentionService::service_full_name(), "/ComputeAttention");
    grpc::ClientContext context;
    SetDeadline(options, context);
    v1::ComputeAttentionResponse response;
    grpc::Status status;
    grpc::CompletionQueue queue;
    const auto call =
        attention_of_bytes.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    queue.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue.Next(&tag, &ok)) {  // until the answer is there, and no more
    }
    if (!status.ok()) return WithCure(FromGrpc(status));
    return response;
  }

  // Says which option to change when gRPC refused a message, or what keeps the
  // two from speaking TLS; gRPC's own words do not tell.
  absl::Status WithCure(absl::Status status) const {
    if (tls.has_value()) {
      const absl::string_view fault = Describe(FindTlsFault(status, *tls));
      if (!fault.empty()) {
        return {status.code(), absl::StrCat(status.message(), "; ", fault)};
      }
    }
    if (reply_limit == kUnknownLimit || !IsTooLargeForGrpc(status)) {
      return status;
    }
    const bool is_reply = absl::EndsWith(
        status.message(), absl::StrCat(" vs. ", reply_limit, ")"));
    return absl::ResourceExhaustedError(absl::StrCat(
        status.message(),
        is_reply ? "; the reply is beyond ClientOptions::max_reply_bytes"
                 : "; the request is beyond the server's --max-message-bytes"));
  }

  static constexpr int kUnknownLimit = -1;

  const std::unique_ptr<AttentionService::Stub> attention;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, v1::ComputeAttentionResponse>
      attention_of_bytes;
  const std::unique_ptr<Health::Stub> health;
  const int reply_limit;
  const std::optional<bool> tls;  // not known of a channel of one's own
};

CallOptions Within(std::chrono::nanoseconds timeout) {
  using Clock = std::chrono::system_clock;
  const auto now = Clock::now();
  // A timeout that reaches beyond the clock is no deadline.
  if (timeout >= Clock::time_point::max() - now) return {};
  return {now + std::chrono::duration_cast<Clock::duration>(timeout)};
}

Client::Client(const std::string& target, const ClientOptions& options)
    : stubs_(std::make_unique<Stubs>(Connect(target, options),
                                     ReceiveLimit(options),
                                     options.credentials != nullptr)) {}

Client::Client(const std::shared_ptr<grpc::Channel>& channel)
    : stubs_(std::make_unique<Stubs>(channel, Stubs::kUnknownLimit,
                                     std::nullopt)) {}

Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

absl::StatusOr<v1::ComputeAttentionResponse> Client::ComputeAttention(
    const v1::ComputeAttentionRequest& request,
    const CallOptions& options) const {
  return stubs_->Call(*stubs_->attention,
                      &AttentionService::Stub::ComputeAttention, request,
                      options);
}

absl::StatusOr<v1::ComputeAttentionResponse> Client::ComputeAttentionShared(
    const std::shared_ptr<const v1::ComputeAttentionRequest>& request,
    const CallOptions& options) const {
  const size_t size = request->ByteSizeLong();
  if (size > kLargestMessage) return TooLargeForProtobuf(size);
  return stubs_->ComputeAttention(Serialize(request), options);
}

std::unique_ptr<AttentionStream> Client::OpenStream(
    AttentionStream::OnAnswer on_answer, const StreamOptions& stream_options,
    const CallOptions& options) const {
  auto context = std::make_unique<grpc::ClientContext>();
  SetDeadline(options, *context);
  // The constructor is for this class alone.
  return std::unique_ptr<AttentionStream>(
      new AttentionStream(std::make_unique<AttentionStream::Impl>(
          *stubs_->attention, std::move(context), stream_options,
          std::move(on_answer),
          [stubs = stubs_.get()](const grpc::Status& status) {
            return status.ok() ? absl::OkStatus()
                               : stubs->WithCure(FromGrpc(status));
          })));
}

absl::StatusOr<v1::SetWeightsResponse> Client::SetWeights(
    const v1::SetWeightsRequest& request, const CallOptions& options) const {
  const size_t size = request.ByteSizeLong();
  if (size > kLargestMessage) return WithUploadCure(TooLargeForProtobuf(size));
  auto response =
      stubs_->Call(*stubs_->attention, &AttentionService::Stub::SetWeights,
                   request, options);
  if (IsMessageTooLarge(response.status())) {
    return WithUploadCure(response.status());
  }
  return response;
}

absl::StatusOr<v1::UploadWeightsResponse> Client::UploadWeights(
    const v1::SetWeightsRequest& request, const CallOptions& options,
    const OnProgress& on_progress) const {
  if (request.has_initializer()) {
    return absl::InvalidArgumentError(
        "initializer cannot be uploaded; SetWeights takes it");
  }
  absl::StatusOr<TensorSource> source = SourceOf(request.weights());
  if (!source.ok()) return source.status();
  return UploadWeights(HeaderOf(request), *source, options, on_progress);
}

absl::StatusOr<v1::UploadWeightsResponse> Client::UploadWeights(
    const v1::UploadWeightsRequest::Header& header, const TensorSource& source,
    const CallOptions& options, const OnProgress& on_progress) const {
  absl::StatusOr<WeightSetDisassembler> parts =
      WeightSetDisassembler::Start(header, source);
  if (!parts.ok()) return parts.status();
  grpc::ClientContext context;
  SetDeadline(options, context);
  v1::UploadWeightsResponse response;
  const auto writer = stubs_->attention->UploadWeights(&context, &response);
  v1::UploadWeightsRequest message;
  while (true) {
    const absl::StatusOr<bool> made = parts->Next(message);
    if (!made.ok()) {
      // Without the checksum nothing is appended; Finish need not wait.
      context.TryCancel();
      writer->Finish();
      return made.status();
    }
    // A server that takes no more has its reasons ready.
    if (!*made || !writer->Write(message)) break;
    if (on_progress && message.has_chunk()) {
      on_progress(parts->bytes(), parts->total_bytes());
    }
  }
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!status.ok()) return FromGrpc(status);
  return response;
}

absl::StatusOr<StoredWeightSet> Client::GetWeights(
    const v1::GetWeightsRequest& request, const CallOptions& options,
    const OnProgress& on_progress) const {
  grpc::ClientContext context;
  SetDeadline(options, context);
  const auto reader = stubs_->attention->GetWeights(&context, request);
  WeightSetAssembler assembler;
  v1::GetWeightsResponse message;
  while (reader->Read(&message)) {
    absl::Status status = assembler.Take(message);
    if (!status.ok()) {
      // Finish waits for the server, which need not go on.
      context.TryCancel();
      reader->Finish();
      return status;
    }
    if (on_progress && message.has_chunk()) {
      on_progress(assembler.bytes(), assembler.total_bytes());
    }
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return stubs_->WithCure(FromGrpc(status));
  return assembler.Finish();
}

absl::StatusOr<v1::ListWeightsResponse> Client::ListWeights(
    const v1::ListWeightsRequest& request, const CallOptions& options) const {
  return stubs_->Call(*stubs_->attention, &AttentionService::Stub::ListWeights,
                      request, options);
}

absl::StatusOr<std::vector<v1::WeightSetSummary>> Client::ListAllWeights(
    v1::ListWeightsRequest request, const CallOptions& options) const {
  std::vector<v1::WeightSetSummary> versions;
  while (true) {
    absl::StatusOr<v1::ListWeightsResponse> page =
        ListWeights(request, options);
    if (!page.ok()) return page.status();
    std::move(page->mutable_versions()->begin(),
              page->mutable_versions()->end(), std::back_inserter(versions));
    if (page->next_page_token().empty()) return versions;
    request.set_page_token(page->next_page_token());
  }
}

absl::StatusOr<v1::DeleteWeightsResponse> Client::DeleteWeights(
    const v1::DeleteWeightsRequest& request, const CallOptions& options) const {
  return stubs_->Call(*stubs_->attention,
                      &AttentionService::Stub::DeleteWeights, request, options);
}

absl::StatusOr<v1::SetLabelResponse> Client::SetLabel(
    const v1::SetLabelRequest& request, const CallOptions& options) const {
  return stubs_->Call(*stubs_->attention, &AttentionService::Stub::SetLabel,
                      request, options);
}

absl::StatusOr<v1::GetServerInfoResponse> Client::GetServerInfo(
    const CallOptions& options) const {
  return stubs_->Call(*stubs_->attention,
                      &AttentionService::Stub::GetServerInfo,
                      v1::GetServerInfoRequest(), options);
}

absl::StatusOr<bool> Client::IsServing(const CallOptions& options) const {
  const auto response =
      stubs_->Call(*stubs_->health, &Health::Stub::Check,
                   ::grpc::health::v1::HealthCheckRequest(), options);
  if (!response.ok()) return response.status();
  return response->status() == ::grpc::health::v1::HealthCheckResponse::SERVING;
}

}  // namespace attention::client
