#include "server/server.h"

#include <grpcpp/channel.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/attention_service.h"
#include "server/store_location.h"
#include "server/tls.h"
#include "sockets/congestion_control.h"

namespace attention::server {
namespace {

constexpr char kServiceName[] = "attention.v1.AttentionService";

// gRPC's own refusal of a large message cannot name our flag, so up to this
// much beyond --max-message-bytes it lets through for Admission to refuse.
constexpr int64_t kNamedRefusalBytes = int64_t{64} << 20;

// HTTP/2's largest frame: a tensor of megabytes in frames of 16 KiB costs half
// as much again.
constexpr int kFrameBytes = (1 << 24) - 1;

// The share of --max-bytes-in-flight that may be kept for later while it is
// idle.
constexpr int64_t kIdleShare = 8;

// What calls that were cancelled get to be answered in, before their
// connections are closed.
constexpr std::chrono::milliseconds kLastMoment(200);

int ReceiveLimit(int64_t max_message_bytes) {
  constexpr int64_t kLargest = std::numeric_limits<int>::max();
  return static_cast<int>(
      std::min(max_message_bytes + kNamedRefusalBytes, kLargest));
}

// A message of 254 KiB could otherwise unfold to hundreds of MiB before any
// limit applies.
void RefuseCompression(grpc::ServerBuilder& builder) {
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const Config& config, const rpc::ServerFacts& facts) {
  absl::StatusOr<std::unique_ptr<weights::Store>> store =
      OpenStore(config.store_location);
  if (!store.ok()) return store.status();
  absl::StatusOr<std::unique_ptr<weights::Catalog>> catalog =
      weights::Catalog::Open(*std::move(store));
  if (!catalog.ok()) {
    return absl::Status(catalog.status().code(),
                        absl::StrCat("--store ", config.store, ": ",
                                     catalog.status().message()));
  }
  for (const std::string& damaged : (*catalog)->damaged()) {
    spdlog::warn("damaged in the weight store, and not served: {}", damaged);
  }
  std::unique_ptr<Server> server(
      new Server(config, facts, *std::move(catalog)));
  absl::Status status = server->Listen(config);
  if (!status.ok()) return status;
  return server;
}

Server::Server(const Config& config, const rpc::ServerFacts& facts,
               std::unique_ptr<weights::Catalog> catalog)
    : catalog_(std::move(catalog)),
      admission_(config.limits),
      buffers_(config.limits.max_bytes_in_flight / kIdleShare),
      sender_(1),
      compute_(config.threads > 0 ? config.threads : core::AvailableCpus()),
      writer_(1),
      service_(rpc::NewAttentionService({*catalog_, compute_, writer_, sender_,
                                         buffers_, admission_, config.limits,
                                         facts})) {}

absl::Status Server::Listen(const Config& config) {
  auto credentials =
      NewServerCredentials(config.tls, config.address.loopback());
  if (!credentials.ok()) return credentials.status();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(config.listen, *credentials, &port_);
  builder.RegisterService(service_.get());
  builder.SetMaxReceiveMessageSize(
      ReceiveLimit(config.limits.max_message_bytes));
  builder.SetMaxSendMessageSize(-1);
  RefuseCompression(builder);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kFrameBytes);
  // Two servers would otherwise share a port without a word.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  if (config.address.loopback()) {
    builder.SetOption(
        sockets::WithCongestionControl(sockets::kLoopbackCongestionControl));
  }
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr || port_ == 0) {
    absl::Status why = config.address.WhyNotBound();
    if (why.ok()) why = absl::UnavailableError("gRPC refused the address");
    return {why.code(), absl::StrCat("cannot listen on ", config.listen, ": ",
                                     why.message())};
  }
  auto* const health = grpc_->GetHealthCheckService();
  health->SetServingStatus(true);
  health->SetServingStatus(kServiceName, true);
  return absl::OkStatus();
}

Server::~Server() { Stop(); }

std::shared_ptr<grpc::Channel> Server::InProcessChannel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  return grpc_->InProcessChannel(arguments);
}

void Server::Drain() {
  admission_.Drain();
  auto* const health = grpc_->GetHealthCheckService();
  health->SetServingStatus(false);
  health->SetServingStatus(kServiceName, false);
}

void Server::Stop() {
  if (grpc_ == nullptr) return;
  admission_.Drain();
  grpc_->Shutdown(std::chrono::system_clock::now() + kLastMoment);
  grpc_.reset();
}

}  // namespace attention::server
