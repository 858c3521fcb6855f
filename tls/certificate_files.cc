#include "tls/certificate_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace attention::tls {
namespace {

template <auto free_function>
struct FreeBy {
  template <typename T>
  void operator()(T* object) const {
    free_function(object);
  }
};
using File = std::unique_ptr<std::FILE, FreeBy<std::fclose>>;
using Memory = std::unique_ptr<BIO, FreeBy<BIO_free>>;
using Certificate = std::unique_ptr<X509, FreeBy<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using Context = std::unique_ptr<SSL_CTX, FreeBy<SSL_CTX_free>>;

// Above what any list of authorities has; a path may be a device without end.
constexpr size_t kLargestFile = size_t{4} << 20;

// "TLS certificate file a.pem <why>".
absl::Status Refuse(absl::string_view kind, const std::string& file,
                    absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("TLS ", kind, " file ", file, " ", why));
}

absl::StatusOr<std::string> ReadFile(absl::string_view kind,
                                     const std::string& path) {
  const auto cannot_be_read = [&](int error) {
    return Refuse(kind, path,
                  absl::StrCat("cannot be read: ", std::strerror(error)));
  };
  const File file(std::fopen(path.c_str(), "re"));
  if (file == nullptr) return cannot_be_read(errno);
  std::string text(kLargestFile + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) return cannot_be_read(errno);
  if (text.size() > kLargestFile) {
    return Refuse(kind, path, "has more than 4 MiB; expected PEM");
  }
  return text;
}

Memory Reader(const std::string& text) {
  return Memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Why OpenSSL refused what it was last asked.
std::string Reason() {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason == nullptr ? "unknown reason" : reason;
}

absl::StatusOr<std::vector<Certificate>> ParseCertificates(
    const std::string& file, const std::string& text) {
  const Memory reader = Reader(text);
  std::vector<Certificate> certificates;
  ERR_clear_error();
  while (X509* const next =
             PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(next);
  }
  // That there is no other is how a file ends.
  const bool whole =
      ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (certificates.empty() && whole) {
    return Refuse("certificate", file,
                  "has no certificate; expected -----BEGIN CERTIFICATE-----");
  }
  if (!whole) {
    return Refuse("certificate", file, absl::StrCat("is damaged: ", Reason()));
  }
  ERR_clear_error();
  return certificates;
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm parts{};
  ASN1_TIME_to_tm(time, &parts);
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string Text(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

absl::Status CheckValidNow(const std::string& file, const X509* certificate) {
  const ASN1_TIME* const first = X509_get0_notBefore(certificate);
  const ASN1_TIME* const last = X509_get0_notAfter(certificate);
  if (X509_cmp_current_time(last) <= 0) {
    return Refuse("certificate", file,
                  absl::StrCat("expired on ", Text(TimeOf(last))));
  }
  if (X509_cmp_current_time(first) > 0) {
    return Refuse("certificate", file,
                  absl::StrCat("is not valid before ", Text(TimeOf(first)),
                               "; is this machine's clock right?"));
  }
  return absl::OkStatus();
}

// Nobody is there to be asked for a passphrase.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

absl::StatusOr<Key> ParseKey(const std::string& file, const std::string& text) {
  bool is_encrypted = false;
  ERR_clear_error();
  Key key(PEM_read_bio_PrivateKey(Reader(text).get(), nullptr, NoPassphrase,
                                  &is_encrypted));
  if (key != nullptr) return key;
  const std::string reason = Reason();
  ERR_clear_error();
  if (is_encrypted) {
    return Refuse("key", file,
                  "is encrypted; expected a key without passphrase (openssl "
                  "pkey -in FILE -out FILE)");
  }
  return Refuse("key", file,
                absl::StrCat("has no private key that can be read: ", reason));
}

// What gRPC will ask of OpenSSL later, so that its answer can be told.
absl::Status CheckStrength(const std::string& file, X509* certificate) {
  const Context context(SSL_CTX_new(TLS_method()));
  if (SSL_CTX_use_certificate(context.get(), certificate) == 1) {
    return absl::OkStatus();
  }
  const std::string reason = Reason();
  ERR_clear_error();
  return Refuse("certificate", file,
                absl::StrCat("is refused by OpenSSL: ", reason));
}

}  // namespace

absl::StatusOr<Identity> ReadIdentity(const std::string& certificate_file,
                                      const std::string& key_file) {
  Identity identity;
  absl::StatusOr<std::string> text = ReadFile("certificate", certificate_file);
  if (!text.ok()) return text.status();
  identity.certificates = *std::move(text);
  auto certificates =
      ParseCertificates(certificate_file, identity.certificates);
  if (!certificates.ok()) return certificates.status();
  for (const Certificate& certificate : *certificates) {
    absl::Status valid = CheckValidNow(certificate_file, certificate.get());
    if (!valid.ok()) return valid;
  }
  X509* const own = certificates->front().get();
  identity.valid_until = TimeOf(X509_get0_notAfter(own));

  text = ReadFile("key", key_file);
  if (!text.ok()) return text.status();
  identity.key = *std::move(text);
  const absl::StatusOr<Key> key = ParseKey(key_file, identity.key);
  if (!key.ok()) return key.status();
  if (X509_check_private_key(own, key->get()) != 1) {
    ERR_clear_error();
    return Refuse("key", key_file,
                  absl::StrCat("does not belong to the certificate in ",
                               certificate_file));
  }
  struct stat state {};
  identity.key_is_world_readable =
      stat(key_file.c_str(), &state) == 0 && (state.st_mode & S_IROTH) != 0;
  absl::Status strong = CheckStrength(certificate_file, own);
  if (!strong.ok()) return strong;
  return identity;
}

absl::StatusOr<std::string> ReadAuthorities(const std::string& file) {
  absl::StatusOr<std::string> text = ReadFile("certificate", file);
  if (!text.ok()) return text.status();
  const auto certificates = ParseCertificates(file, *text);
  if (!certificates.ok()) return certificates.status();
  // A bundle may well have some that have had their time.
  if (std::none_of(certificates->begin(), certificates->end(),
                   [&](const Certificate& certificate) {
                     return CheckValidNow(file, certificate.get()).ok();
                   })) {
    return CheckValidNow(file, certificates->front().get());
  }
  return text;
}

}  // namespace attention::tls
