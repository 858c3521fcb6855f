// Why a client with and a server without TLS, or two that do not trust each
// other, fail to meet.
#ifndef CLIENT_CPP_TLS_FAULT_H_
#define CLIENT_CPP_TLS_FAULT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace attention::client {

enum class TlsFault {
  kNone,
  kServerIsPlain,      // this end speaks TLS, the server does not
  kServerMayBeTls,     // the server hung up on plain text
  kServerUntrusted,    // unknown authority, or not valid now
  kServerName,         // the certificate is for another name
  kClientCertificate,  // the server hung up on this end's certificate or on
                       // none
};

// What a call's status tells about it; gRPC 1.51 has no other sign than the
// words of its message. `tls` is whether this end speaks TLS.
TlsFault FindTlsFault(const absl::Status& status, bool tls);

// The fault in words, for the end of a message; empty for kNone.
absl::string_view Describe(TlsFault fault);

}  // namespace attention::client

#endif  // CLIENT_CPP_TLS_FAULT_H_
