// Calls of methods that the server does not have.
#ifndef SERVER_RPC_UNKNOWN_METHODS_H_
#define SERVER_RPC_UNKNOWN_METHODS_H_

#include <grpcpp/generic/async_generic_service.h>

#include <memory>
#include <string>
#include <vector>

#include "server/rpc/door/door.h"

namespace attention::rpc {

// Answers UNIMPLEMENTED with the methods of that service or, if there is no
// such service, with `services`; reads no message. Thread-safe. REQUIRES: all
// of `services` are compiled in. `pool` outlives it.
std::unique_ptr<grpc::CallbackGenericService> NewUnknownMethods(
    std::vector<std::string> services, const Door& door);

}  // namespace attention::rpc

#endif  // SERVER_RPC_UNKNOWN_METHODS_H_
