#include "server/ways_in.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace attention::server {

absl::Status CheckTls(const TlsFiles& tls, bool insecure) {
  if (tls.cert.empty() != tls.key.empty()) {
    const bool cert = tls.key.empty();
    return absl::InvalidArgumentError(
        absl::StrCat(cert ? "--tls-cert" : "--tls-key", " is given without ",
                     cert ? "--tls-key" : "--tls-cert", "; TLS takes both"));
  }
  if (!tls.enabled() && !tls.client_ca.empty()) {
    return absl::InvalidArgumentError(
        "--tls-client-ca is given without --tls-cert and --tls-key; clients "
        "show certificates over TLS only");
  }
  if (tls.enabled() && insecure) {
    return absl::InvalidArgumentError(
        "--insecure and --tls-cert contradict each other; leave one out");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ListenAddress>> CheckListen(
    const std::vector<std::string>& listen, const TlsFiles& tls, bool insecure,
    bool port_is_asked_for) {
  std::vector<ListenAddress> addresses;
  for (const std::string& text : listen) {
    absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
    if (!address.ok()) return address.status();
    if (!address->loopback() && !tls.enabled() && !insecure) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--listen ", text,
          " can be reached from other machines: give --tls-cert and --tls-key "
          "(and --tls-client-ca, or everyone may call), listen on loopback, or "
          "say --insecure where nobody else reaches that network"));
    }
    addresses.push_back(*std::move(address));
  }
  if (port_is_asked_for &&
      absl::c_all_of(addresses,
                     [](const ListenAddress& one) { return one.is_unix(); })) {
    return absl::InvalidArgumentError(
        "--port-file goes with a --listen that has a port; there are Unix "
        "sockets only");
  }
  return addresses;
}

}  // namespace attention::server
