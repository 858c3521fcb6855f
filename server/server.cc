#include "server/server.h"

#include <grpcpp/channel.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "server/listener/descriptor.h"
#include "server/memory/memory_limit.h"
#include "server/rpc/attention_service.h"
#include "server/rpc/unknown_methods.h"
#include "server/store_location.h"
#include "server/tls.h"

namespace attention::server {
namespace {

constexpr char kServiceName[] = "attention.v1.AttentionService";

std::vector<std::string> AllServices() {
  return {kServiceName, "grpc.health.v1.Health",
          "grpc.reflection.v1.ServerReflection",
          "grpc.reflection.v1alpha.ServerReflection"};
}

// HTTP/2's largest frame: a tensor of megabytes in frames of 16 KiB costs half
// as much again.
constexpr int kFrameBytes = (1 << 24) - 1;

// The share of --memory-limit that may be kept for later while it is idle.
constexpr int64_t kIdleShare = 8;

// What of it gRPC's own accounting may reach, in eighths; beyond, it ends calls
// and connections of its own choice.
constexpr int64_t kGrpcEighths = 4;
static_assert(kGrpcEighths > Connections::kArrivingEighths);

// A message of this size is held twice: as it was received, and put together.
int64_t NeededFor(int64_t max_message_bytes) { return 2 * max_message_bytes; }

// What calls that were cancelled get to be answered in, before their
// connections are closed.
constexpr std::chrono::milliseconds kLastMoment(200);

// A message of 254 KiB could otherwise unfold to hundreds of MiB before any
// limit applies.
void RefuseCompression(grpc::ServerBuilder& builder) {
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

int Milliseconds(double seconds) { return static_cast<int>(1e3 * seconds); }

// MAX_CONNECTION_AGE_GRACE stays what gRPC has by default, without end: a
// stream may last for hours on a connection that is asked to leave.
void LimitConnections(const rpc::ConnectionLimits& limits,
                      grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE,
                             static_cast<int>(limits.max_header_bytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             limits.max_streams_per_connection);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             Milliseconds(limits.handshake_timeout_seconds));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                             Milliseconds(limits.max_connection_age_seconds));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             Milliseconds(limits.max_connection_idle_seconds));
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      Milliseconds(limits.min_ping_interval_seconds));
  // Else gRPC takes a ping in two hours for enough where no call is open.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
}

// Descriptors of the server itself: gRPC's, the store's, the log's. It idles on
// 16 (ls /proc/PID/fd); the rest is for what is open for a moment.
constexpr int64_t kOwnDescriptors = 40;
// More callers than one machine computes for; who has more says so.
constexpr int64_t kMostConnectionsByDefault = 10'000;

// How many connections may be open, by the flag and by the limit of
// descriptors.
absl::StatusOr<int64_t> ConnectionsFor(int64_t flag, int64_t descriptors) {
  const int64_t possible =
      (descriptors - kOwnDescriptors) / AcceptLoop::kDescriptorsEach;
  const int64_t connections =
      flag > 0 ? flag : std::min(possible, kMostConnectionsByDefault);
  if (connections >= 1 && connections <= possible) return connections;
  return absl::FailedPreconditionError(absl::StrCat(
      "--max-connections ", std::max<int64_t>(connections, 1), " takes ",
      kOwnDescriptors +
          AcceptLoop::kDescriptorsEach * std::max<int64_t>(connections, 1),
      " open files and this process may have ", descriptors,
      "; raise that limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit of "
      "docker) or lower the flag"));
}

Connections::Limits ArrivingLimits(const rpc::Limits& limits) {
  return {limits.max_arriving_bytes,
          std::chrono::duration_cast<Connections::Clock::duration>(
              std::chrono::duration<double>(limits.receive_idle_seconds)),
          limits.connections.max_broken_calls};
}

// Several messages may be on their way at once, and one that is too large is
// only told so when all of it has come. A quarter of the memory leaves three to
// others.
int64_t MaxArriving(const rpc::Limits& limits) {
  constexpr int64_t kMessages = 4;
  constexpr int64_t kToldBytes = int64_t{128} << 20;
  constexpr int64_t kShare = 4;
  if (limits.max_arriving_bytes > 0) return limits.max_arriving_bytes;
  return std::min(std::max(kMessages * limits.max_message_bytes, kToldBytes),
                  limits.memory_limit / kShare);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    Config config, const rpc::ServerFacts& facts, Reservation reservation) {
  int64_t& max_connections = config.limits.connections.max_connections;
  const absl::StatusOr<int64_t> connections =
      ConnectionsFor(max_connections, RaiseDescriptorLimit());
  if (!connections.ok()) return connections.status();
  max_connections = *connections;
  const absl::StatusOr<memory::MemoryLimit> limit = memory::MemoryLimitFor(
      config.limits.memory_limit, NeededFor(config.limits.max_message_bytes));
  if (!limit.ok()) return limit.status();
  config.limits.memory_limit = limit->bytes;
  config.limits.max_arriving_bytes = MaxArriving(config.limits);
  auto ledger = std::make_unique<memory::Ledger>(limit->bytes);
  absl::StatusOr<std::unique_ptr<weights::Store>> store =
      OpenStore(config.store_location, std::move(reservation.store_lock));
  if (!store.ok()) return store.status();
  absl::StatusOr<std::unique_ptr<weights::Catalog>> catalog =
      weights::Catalog::Open(*std::move(store), *ledger);
  if (!catalog.ok()) {
    return absl::Status(catalog.status().code(),
                        absl::StrCat("--store ", config.store, ": ",
                                     catalog.status().message()));
  }
  for (const std::string& damaged : (*catalog)->damaged()) {
    spdlog::warn("damaged in the weight store, and not served: {}", damaged);
  }
  std::unique_ptr<Server> server(
      new Server(config, facts, std::move(ledger), *std::move(catalog)));
  absl::Status status = server->Listen(config, std::move(reservation.sockets));
  if (!status.ok()) return status;
  return server;
}

Server::Server(const Config& config, const rpc::ServerFacts& facts,
               std::unique_ptr<memory::Ledger> ledger,
               std::unique_ptr<weights::Catalog> catalog)
    : ledger_(std::move(ledger)),
      free_memory_(*ledger_, config.limits.memory_limit / kIdleShare),
      catalog_(std::move(catalog)),
      admission_(config.limits, *ledger_),
      buffers_(config.limits.memory_limit / kIdleShare, *ledger_),
      sender_(1),
      compute_(config.threads > 0 ? config.threads : core::AvailableCpus()),
      writer_(1),
      service_(rpc::NewAttentionService({*catalog_, compute_, writer_, sender_,
                                         buffers_, *ledger_, admission_,
                                         uploads_, config.limits, facts})),
      health_({kServiceName}, config.limits.max_open_streams, DoorOfAll()),
      reflection_(AllServices(),
                  {&admission_, admission_.arrivals(), compute_,
                   config.limits.max_axis, /*is_stream=*/true},
                  config.limits.max_transfer_idle_seconds),
      unknown_methods_(rpc::NewUnknownMethods(AllServices(), DoorOfAll())) {
  ledger_->set_on_shortage([this] { buffers_.ReleaseIdle(); });
}

rpc::Door Server::DoorOfAll() {
  return {/*admission=*/nullptr, admission_.arrivals(), compute_,
          /*max_axis=*/0};
}

absl::Status Server::Listen(
    const Config& config, std::vector<std::vector<ListeningSocket>> reserved) {
  auto credentials = NewServerCredentials(
      config.tls, absl::c_all_of(config.addresses, [](const auto& address) {
        return address.loopback();
      }));
  if (!credentials.ok()) return credentials.status();
  std::vector<ListeningSocket> sockets;
  for (size_t i = 0; i < config.addresses.size(); ++i) {
    const std::string& text = config.addresses[i].text;
    const int port = reserved[i].front().port();
    if (port_ == 0) port_ = port;
    addresses_.push_back(
        config.addresses[i].is_unix()
            ? text
            : absl::StrCat(text.substr(0, text.rfind(':') + 1), port));
    std::move(reserved[i].begin(), reserved[i].end(),
              std::back_inserter(sockets));
  }
  absl::Status started =
      StartGrpc(config.limits.connections, *std::move(credentials));
  if (!started.ok()) return started;
  accept_loop_ = std::make_unique<AcceptLoop>(
      std::move(sockets), config.limits.connections.max_connections,
      Connections(ArrivingLimits(config.limits), admission_.arrivals(),
                  *ledger_),
      [this](const ListeningSocket& socket, Descriptor connection) {
        Acceptor::NewConnectionParameters parameters;
        parameters.listener_fd = socket.fd();
        parameters.fd = connection.Release();
        (socket.is_unix() ? unix_acceptor_ : tcp_acceptor_)
            ->HandleNewConnection(&parameters);
      });
  return absl::OkStatus();
}

absl::Status Server::StartGrpc(
    const rpc::ConnectionLimits& limits,
    std::shared_ptr<grpc::ServerCredentials> of_tcp) {
  grpc::ServerBuilder builder;
  constexpr auto kFromFd =
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD;
  tcp_acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      kFromFd, std::move(of_tcp));
  unix_acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      kFromFd, grpc::InsecureServerCredentials());
  builder.RegisterService(service_.get());
  builder.RegisterService(&health_.service());
  builder.RegisterService(&reflection_.service());
  builder.RegisterService(&reflection_.alpha_service());
  builder.RegisterCallbackGenericService(unknown_methods_.get());
  // gRPC reads any message to its end before anybody is asked, and its own
  // refusal could not name our flag: ours refuses, without parsing (Admission).
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  RefuseCompression(builder);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kFrameBytes);
  LimitConnections(limits, builder);
  // Measuring a connection's bandwidth opens its windows: what a stream's
  // client sends ahead of who reads it would be MiB, and not 64 KiB.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // The last line: beyond it gRPC cancels calls of its own choice.
  builder.SetResourceQuota(grpc::ResourceQuota("server").Resize(
      static_cast<size_t>(ledger_->limit() / 8 * kGrpcEighths)));
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr) return absl::InternalError("gRPC does not start");
  health_.SetServing(true);
  return absl::OkStatus();
}

Server::~Server() { Stop(); }

std::shared_ptr<grpc::Channel> Server::InProcessChannel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  return grpc_->InProcessChannel(arguments);
}

void Server::StopListening() {
  health_.SetServing(false);
  health_.EndWatches();  // which would keep their connections from leaving
  accept_loop_->StopAccepting();
}

int64_t Server::bytes_in_flight() const {
  using memory::Kind;
  return ledger_->held(Kind::kMessages) + ledger_->held(Kind::kWorkspaces) +
         ledger_->held(Kind::kReplies) + ledger_->held(Kind::kUploads);
}

void Server::Drain() {
  admission_.Drain();
  health_.SetServing(false);
}

void Server::Stop() {
  // First, since gRPC closes nothing that is handed to it afterwards.
  accept_loop_.reset();
  if (grpc_ == nullptr) return;
  admission_.Drain();
  health_.EndWatches();
  grpc_->Shutdown(std::chrono::system_clock::now() + kLastMoment);
  grpc_.reset();
}

}  // namespace attention::server
