#include "sockets/congestion_control.h"

#include <grpc/support/sync.h>
#include <grpcpp/version_info.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <utility>
#include <vector>

static_assert(GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51,
              "look whether gRPC still has these types as they are here");

// What grpc::ChannelArguments::SetSocketMutator takes. The method is public,
// but the header of its argument is not installed, so it is declared here as
// gRPC 1.51 has it.
struct grpc_socket_mutator_vtable {
  bool (*mutate)(int fd, grpc_socket_mutator* mutator);
  int (*compare)(grpc_socket_mutator* a, grpc_socket_mutator* b);
  void (*destroy)(grpc_socket_mutator* mutator);
  bool (*mutate_instead)(const void* info, grpc_socket_mutator* mutator);
};
struct grpc_socket_mutator {
  const grpc_socket_mutator_vtable* vtable;
  gpr_refcount references;
};
void grpc_socket_mutator_init(grpc_socket_mutator* mutator,
                              const grpc_socket_mutator_vtable* vtable);

namespace attention::sockets {
namespace {

// gRPC shows it every socket before it is connected or listens, but none that
// is accepted, which inherits it, and destroys it with its last reference.
class CongestionControl : public grpc_socket_mutator {
 public:
  explicit CongestionControl(std::string name)
      : grpc_socket_mutator(), name_(std::move(name)) {
    static constexpr grpc_socket_mutator_vtable kFunctions = {Set, Compare,
                                                              Destroy, nullptr};
    grpc_socket_mutator_init(this, &kFunctions);
  }

 private:
  static const std::string& NameOf(grpc_socket_mutator* mutator) {
    return static_cast<CongestionControl*>(mutator)->name_;
  }

  static bool Set(int fd, grpc_socket_mutator* mutator) {
    const std::string& name = NameOf(mutator);
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(),
               static_cast<socklen_t>(name.size()));
    return true;  // the default serves as well
  }

  static int Compare(grpc_socket_mutator* a, grpc_socket_mutator* b) {
    return NameOf(a).compare(NameOf(b));
  }

  static void Destroy(grpc_socket_mutator* mutator) {
    delete static_cast<CongestionControl*>(mutator);
  }

  const std::string name_;
};

class Option final : public grpc::ServerBuilderOption {
 public:
  explicit Option(std::string name) : name_(std::move(name)) {}

  void UpdateArguments(grpc::ChannelArguments* arguments) override {
    UseCongestionControl(name_, *arguments);
  }
  void UpdatePlugins(
      std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>*) override {}

 private:
  const std::string name_;
};

}  // namespace

void UseCongestionControl(const std::string& name,
                          grpc::ChannelArguments& arguments) {
  arguments.SetSocketMutator(new CongestionControl(name));  // who owns it now
}

std::unique_ptr<grpc::ServerBuilderOption> WithCongestionControl(
    std::string name) {
  return std::make_unique<Option>(std::move(name));
}

}  // namespace attention::sockets
