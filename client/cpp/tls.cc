#include "attention/tls.h"

#include <utility>

#include "absl/status/status.h"
#include "grpcpp/security/credentials.h"
#include "tls/certificate_files.h"

namespace attention::client {

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> TlsCredentials(
    const TlsOptions& options) {
  grpc::SslCredentialsOptions pem;
  if (!options.ca_file.empty()) {
    absl::StatusOr<std::string> authorities =
        tls::ReadAuthorities(options.ca_file);
    if (!authorities.ok()) return authorities.status();
    pem.pem_root_certs = *std::move(authorities);
  }
  if (options.cert_file.empty() != options.key_file.empty()) {
    return absl::InvalidArgumentError(
        options.key_file.empty()
            ? "a TLS certificate file is given without its key file"
            : "a TLS key file is given without its certificate file");
  }
  if (!options.cert_file.empty()) {
    absl::StatusOr<tls::Identity> identity =
        tls::ReadIdentity(options.cert_file, options.key_file);
    if (!identity.ok()) return identity.status();
    pem.pem_private_key = std::move(identity->key);
    pem.pem_cert_chain = std::move(identity->certificates);
  }
  return grpc::SslCredentials(pem);
}

}  // namespace attention::client
