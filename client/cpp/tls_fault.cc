#include "client/cpp/tls_fault.h"

#include "absl/strings/match.h"

namespace attention::client {

TlsFault FindTlsFault(const absl::Status& status, bool tls) {
  const absl::string_view message = status.message();
  // Before a connection is there, a call can fail for no other reason than it.
  if (status.code() != absl::StatusCode::kUnavailable ||
      !absl::StrContains(message, "failed to connect")) {
    return TlsFault::kNone;
  }
  const bool hung_up = absl::StrContains(message, "Socket closed") ||
                       absl::StrContains(message, "Connection reset by peer");
  if (!tls) return hung_up ? TlsFault::kServerMayBeTls : TlsFault::kNone;
  if (hung_up) return TlsFault::kClientCertificate;
  if (absl::StrContains(message, "wrong version number")) {
    return TlsFault::kServerIsPlain;
  }
  if (absl::StrContains(message, "certificate verify failed")) {
    return TlsFault::kServerUntrusted;
  }
  if (absl::StrContains(message, "is not in peer certificate")) {
    return TlsFault::kServerName;
  }
  return TlsFault::kNone;
}

absl::string_view Describe(TlsFault fault) {
  switch (fault) {
    case TlsFault::kNone:
      return "";
    case TlsFault::kServerIsPlain:
      return "the server does not speak TLS, this client does";
    case TlsFault::kServerMayBeTls:
      return "the server hung up: does it speak TLS, which this client does "
             "not?";
    case TlsFault::kServerUntrusted:
      return "the server's certificate is not from an authority that this "
             "client trusts, or is not valid now";
    case TlsFault::kServerName:
      return "the server's certificate is for another name";
    case TlsFault::kClientCertificate:
      return "the server hung up: does it want a client certificate, or one "
             "from another authority?";
  }
  return "";
}

}  // namespace attention::client
