// grpc.reflection: what this server serves, for tools without its contract.
#ifndef SERVER_RPC_REFLECTION_H_
#define SERVER_RPC_REFLECTION_H_

#include <grpcpp/impl/service_type.h>

#include <memory>
#include <string>
#include <vector>

#include "server/rpc/door/door.h"

namespace attention::rpc {

// v1, and v1alpha for older tools: the same bytes under two names. Everything
// that is listed can be described, this service too; what is not below a listed
// service does not exist here. Takes short messages only, one at a time. A
// stream ends when nothing comes or is read for too long, and when the server
// drains. Thread-safe.
class Reflection {
 public:
  // Each is a stream of `door`, whose admission is not null and outlives this,
  // and may be silent for `max_idle_seconds` (--max-transfer-idle). REQUIRES:
  // all of `services` are compiled in.
  Reflection(const std::vector<std::string>& services, const Door& door,
             double max_idle_seconds);
  ~Reflection();
  Reflection(const Reflection&) = delete;
  Reflection& operator=(const Reflection&) = delete;

  // To be registered; must not outlive this.
  grpc::Service& service();
  grpc::Service& alpha_service();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_REFLECTION_H_
