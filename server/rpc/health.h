// grpc.health.v1: whether this server takes requests.
#ifndef SERVER_RPC_HEALTH_H_
#define SERVER_RPC_HEALTH_H_

#include <grpcpp/impl/service_type.h>

#include <memory>
#include <string>
#include <vector>

#include "server/rpc/door/door.h"

namespace attention::rpc {

// Check and Watch as gRPC's own service has them, but that a message is short
// or refused (docs/adr/0021-every-byte-is-ours-to-judge.md). Needs no place
// among the requests in flight, so it answers when nothing else does.
// Thread-safe.
class Health {
 public:
  // Speaks for `services` and, as "", for the server; of any other service
  // Check says NOT_FOUND and Watch SERVICE_UNKNOWN. NOT_SERVING until
  // SetServing. A Watch beyond `max_watches` (--max-open-streams, of which
  // these are none) is refused. What `door` refers to outlives the service.
  Health(std::vector<std::string> services, int32_t max_watches,
         const Door& door);
  ~Health();
  Health(const Health&) = delete;
  Health& operator=(const Health&) = delete;

  // To be registered; must not outlive this.
  grpc::Service& service();

  // Of everything this speaks for. Those who watch are told.
  void SetServing(bool serving);

  // Ends every watch with UNAVAILABLE, those to come too. Check goes on.
  void EndWatches();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_HEALTH_H_
