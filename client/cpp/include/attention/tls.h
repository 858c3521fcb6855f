// TLS to a server, with or without a certificate of one's own.
//
//   attention::client::TlsOptions tls;
//   tls.ca_file = "authority.pem";
//   auto credentials = attention::client::TlsCredentials(tls);
//   if (!credentials.ok()) return credentials.status();
//   attention::client::ClientOptions options;
//   options.credentials = *credentials;
//   attention::client::Client client("attention.example:50051", options);
#ifndef ATTENTION_TLS_H_
#define ATTENTION_TLS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace grpc {
class ChannelCredentials;
}  // namespace grpc

namespace attention::client {

// Files, all PEM.
struct TlsOptions {
  // The authorities that the server's certificate may come from. Empty: those
  // that this system trusts.
  std::string ca_file;

  // The certificate to show a server that asks for one, followed by those up to
  // its authority's, and its private key. Both or neither.
  std::string cert_file;
  std::string key_file;
};

// For ClientOptions::credentials. Files are read once, now. INVALID_ARGUMENT,
// naming the file, if one cannot be read, holds nothing of the kind, is not
// valid now, or is not the key of the certificate.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> TlsCredentials(
    const TlsOptions& options = {});

}  // namespace attention::client

#endif  // ATTENTION_TLS_H_
