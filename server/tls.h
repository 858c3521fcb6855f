// How the server proves who it is, and asks who calls.
#ifndef SERVER_TLS_H_
#define SERVER_TLS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace grpc {
class ServerCredentials;
}  // namespace grpc

namespace attention::server {

// Files, all PEM. `cert` and `key` go together; `client_ca` needs them.
struct TlsFiles {
  std::string cert;       // the server's certificate, then those up to its CA's
  std::string key;        // its private key
  std::string client_ca;  // empty: a client needs no certificate

  // Whether TLS is spoken.
  bool enabled() const { return !cert.empty(); }
};

// Plain text if TLS is not enabled. Files are read once, now; a warning is
// logged if the key is readable by everyone, the certificate expires soon, or
// callers are not asked who they are on an address that is not `loopback`.
// INVALID_ARGUMENT, naming the file that cannot be used and why.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> NewServerCredentials(
    const TlsFiles& files, bool loopback);

}  // namespace attention::server

#endif  // SERVER_TLS_H_
