// How the command line meets a server that speaks TLS.
#ifndef CLIENT_CPP_CLI_TLS_FLAGS_H_
#define CLIENT_CPP_CLI_TLS_FLAGS_H_

#include <string>

#include "absl/status/statusor.h"
#include "attention/client.h"
#include "attention/tls.h"
#include "command_line/cli_fwd.h"

namespace attention::client {

struct TlsFlags {
  bool on = false;
  TlsOptions files;
  std::string server_name;

  // Whether TLS is spoken: each of the flags means it.
  bool enabled() const;
};

// Adds --tls, --tls-ca, --tls-cert, --tls-key and --tls-server-name. Each has
// an environment variable; those of certificate and key say CLIENT, since an
// attention-server in the same environment has its own. REQUIRES: `flags`
// outlives `app`.
void AddTlsFlags(CLI::App& app, TlsFlags& flags);

// Options for a client as the flags say; a usage error, naming the file, if one
// cannot be used.
absl::StatusOr<ClientOptions> ToClientOptions(const TlsFlags& flags);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_TLS_FLAGS_H_
