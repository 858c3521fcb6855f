// Who can reach the server, and how they are kept out.
#ifndef SERVER_WAYS_IN_H_
#define SERVER_WAYS_IN_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/listener/listen_address.h"
#include "server/tls.h"

namespace attention::server {

// Whether the flags of TLS go together. INVALID_ARGUMENT, naming them.
absl::Status CheckTls(const TlsFiles& tls, bool insecure);

// --listen in parts. INVALID_ARGUMENT for what is no address, for one that
// other machines can reach with neither TLS nor --insecure, and for Unix
// sockets only where a file for the port is asked for.
absl::StatusOr<std::vector<ListenAddress>> CheckListen(
    const std::vector<std::string>& listen, const TlsFiles& tls, bool insecure,
    bool port_is_asked_for);

}  // namespace attention::server

#endif  // SERVER_WAYS_IN_H_
