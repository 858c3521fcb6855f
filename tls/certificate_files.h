// Files of certificates and keys (PEM), read and checked before gRPC sees them:
// gRPC refuses a wrong one without naming it, or when the first peer calls.
#ifndef TLS_CERTIFICATE_FILES_H_
#define TLS_CERTIFICATE_FILES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace attention::tls {

// What one end shows the other.
struct Identity {
  std::string certificates;  // its own, then those up to its authority's; PEM
  std::string key;           // the private key of the first; PEM
  absl::Time valid_until;
  // Whether every user of this machine may read the key.
  bool key_is_world_readable = false;
};

// INVALID_ARGUMENT, naming the file: it cannot be read, holds nothing of the
// kind, a certificate is not valid now, the key is encrypted, is not that of
// the first certificate, or is too weak for this system's OpenSSL.
absl::StatusOr<Identity> ReadIdentity(const std::string& certificate_file,
                                      const std::string& key_file);

// The certificates of the authorities that the other end's certificate may come
// from; PEM. INVALID_ARGUMENT, naming the file: it cannot be read, holds no
// certificate, or none that is valid now.
absl::StatusOr<std::string> ReadAuthorities(const std::string& file);

}  // namespace attention::tls

#endif  // TLS_CERTIFICATE_FILES_H_
