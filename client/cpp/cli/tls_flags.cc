#include "client/cpp/cli/tls_flags.h"

#include "CLI/CLI.hpp"
#include "client/cpp/cli/cli_status.h"

namespace attention::client {

bool TlsFlags::enabled() const {
  return on || !files.ca_file.empty() || !files.cert_file.empty() ||
         !files.key_file.empty() || !server_name.empty();
}

void AddTlsFlags(CLI::App& app, TlsFlags& flags) {
  app.add_flag("--tls", flags.on,
               "speak TLS, trusting this system's authorities; the other --tls "
               "flags mean it too")
      ->envname("ATTENTION_TLS");
  app.add_option("--tls-ca", flags.files.ca_file,
                 "trust the authorities in this file (PEM) instead")
      ->envname("ATTENTION_TLS_CA")
      ->type_name("FILE");
  app.add_option("--tls-cert", flags.files.cert_file,
                 "certificate (PEM) for a server that asks for one")
      ->envname("ATTENTION_TLS_CLIENT_CERT")
      ->type_name("FILE");
  app.add_option("--tls-key", flags.files.key_file,
                 "the private key of --tls-cert (PEM)")
      ->envname("ATTENTION_TLS_CLIENT_KEY")
      ->type_name("FILE");
  app.add_option("--tls-server-name", flags.server_name,
                 "the name that the server's certificate is for, where it is "
                 "not the host of --target")
      ->envname("ATTENTION_TLS_SERVER_NAME")
      ->type_name("NAME");
}

absl::StatusOr<ClientOptions> ToClientOptions(const TlsFlags& flags) {
  ClientOptions options;
  if (!flags.enabled()) return options;
  auto credentials = TlsCredentials(flags.files);
  if (!credentials.ok()) return UsageError(credentials.status().message());
  options.credentials = *std::move(credentials);
  options.tls_server_name = flags.server_name;
  return options;
}

}  // namespace attention::client
