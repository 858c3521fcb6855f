// The running server.
#ifndef SERVER_SERVER_H_
#define SERVER_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/core/pool/compute_pool.h"
#include "server/listener/accept_loop.h"
#include "server/listener/listening_socket.h"
#include "server/memory/free_memory.h"
#include "server/memory/ledger.h"
#include "server/reservation.h"
#include "server/rpc/backend.h"
#include "server/rpc/door/admission.h"
#include "server/rpc/health.h"
#include "server/rpc/reflection.h"
#include "server/rpc/tensors/buffer_pool.h"
#include "server/weights/catalog.h"

// gRPC's own headers take seconds to compile.
namespace grpc {
class CallbackGenericService;
class Channel;
class Server;
class ServerCredentials;
class Service;
namespace experimental {
class ExternalConnectionAcceptor;
}  // namespace experimental
}  // namespace grpc

namespace attention::server {

// Listens and serves AttentionService, grpc.health.v1 and reflection from Start
// until Stop. Start and Stop are for one thread.
class Server {
 public:
  // Loads the store, starts threads and accepts connections; logs what is
  // damaged in the store. `reservation` is of this config. Errors are
  // OpenStore's and Catalog::Open's; FAILED_PRECONDITION if this process may
  // not open as many files as --max-connections takes, or hold enough memory to
  // work (memory::MemoryLimitFor); INVALID_ARGUMENT for a TLS file that cannot
  // be used.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      Config config, const rpc::ServerFacts& facts, Reservation reservation);

  // Stops if need be.
  ~Server();

  // Of the first address that has one; 0 if there are Unix sockets only.
  int port() const { return port_; }
  // Where it listens, with the ports that were picked.
  const std::vector<std::string>& addresses() const { return addresses_; }
  int compute_threads() const { return compute_.threads(); }

  // A channel that needs no port.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // Health turns NOT_SERVING; those who watch it are told, and sent away.
  // Connections that wait are accepted, later ones refused by the system; those
  // that are open go on being served, new calls too.
  void StopListening();

  // Connections that are open over TCP and Unix sockets.
  size_t connections() const { return accept_loop_->open(); }
  // Whether a call could come: by a connection that is open, or is still to be
  // accepted.
  bool IsReachable() const {
    return accept_loop_->is_listening() || accept_loop_->open() > 0;
  }

  // Health turns NOT_SERVING and new calls are answered UNAVAILABLE, while
  // calls in flight go on.
  void Drain();

  // Whether no call is in flight.
  bool idle() const { return admission_.idle(); }

  // What memory is held.
  const memory::Ledger& ledger() const { return *ledger_; }
  // Bytes held for the calls in flight.
  int64_t bytes_in_flight() const;

  // Closes the port and cancels the calls in flight; returns when all have been
  // answered.
  void Stop();

 private:
  Server(const Config& config, const rpc::ServerFacts& facts,
         std::unique_ptr<memory::Ledger> ledger,
         std::unique_ptr<weights::Catalog> catalog);
  // Of calls that are answered when nothing else is.
  rpc::Door DoorOfAll();
  absl::Status Listen(const Config& config,
                      std::vector<std::vector<ListeningSocket>> reserved);
  absl::Status StartGrpc(const rpc::ConnectionLimits& limits,
                         std::shared_ptr<grpc::ServerCredentials> of_tcp);

  const std::unique_ptr<memory::Ledger> ledger_;  // outlives who takes memory
  memory::FreeMemory free_memory_;
  const std::unique_ptr<weights::Catalog> catalog_;
  rpc::Admission admission_;
  rpc::BufferPool buffers_;
  rpc::Uploads uploads_;
  core::ComputePool sender_;  // before compute_, which hands it replies
  core::ComputePool compute_;
  core::ComputePool writer_;
  const std::unique_ptr<grpc::Service> service_;
  rpc::Health health_;
  rpc::Reflection reflection_;
  const std::unique_ptr<grpc::CallbackGenericService> unknown_methods_;
  // Of connections over TCP, which may be TLS, and over Unix sockets.
  using Acceptor = grpc::experimental::ExternalConnectionAcceptor;
  std::unique_ptr<Acceptor> tcp_acceptor_;
  std::unique_ptr<Acceptor> unix_acceptor_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<AcceptLoop> accept_loop_;  // ends before grpc_ does
  int port_ = 0;
  std::vector<std::string> addresses_;
};

}  // namespace attention::server

#endif  // SERVER_SERVER_H_
