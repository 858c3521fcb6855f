#include "server/tls.h"

#include <grpcpp/security/server_credentials.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tls/certificate_files.h"

namespace attention::server {
namespace {

constexpr absl::Duration kSoon = absl::Hours(14 * 24);

void Warn(const TlsFiles& files, const tls::Identity& identity, bool loopback) {
  if (identity.key_is_world_readable) {
    spdlog::warn(
        "TLS key file {} can be read by every user of this machine; chmod 600 "
        "it",
        files.key);
  }
  const absl::Duration left = identity.valid_until - absl::Now();
  if (left < kSoon) {
    spdlog::warn(
        "TLS certificate file {} expires in {:.1f} days; it is read at start "
        "only, so start the server anew once it is renewed",
        files.cert, absl::FDivDuration(left, absl::Hours(24)));
  }
  if (files.client_ca.empty() && !loopback) {
    spdlog::warn(
        "whoever reaches this address may call; --tls-client-ca asks callers "
        "for certificates");
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> NewServerCredentials(
    const TlsFiles& files, bool loopback) {
  if (!files.enabled()) return grpc::InsecureServerCredentials();
  absl::StatusOr<tls::Identity> identity =
      tls::ReadIdentity(files.cert, files.key);
  if (!identity.ok()) return identity.status();
  grpc::SslServerCredentialsOptions options;
  if (!files.client_ca.empty()) {
    absl::StatusOr<std::string> authorities =
        tls::ReadAuthorities(files.client_ca);
    if (!authorities.ok()) return authorities.status();
    options.pem_root_certs = *std::move(authorities);
    options.client_certificate_request =
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  Warn(files, *identity, loopback);
  options.pem_key_cert_pairs.push_back(
      {std::move(identity->key), std::move(identity->certificates)});
  return grpc::SslServerCredentials(options);
}

}  // namespace attention::server
