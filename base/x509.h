// Keys and certificates, as both ends of mutual TLS need them: EC P-256, PEM and DER. Values;
// thread-safe.
#pragma once

#include "base/clock.h"
#include "base/result.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

// OpenSSL's own names, so that its headers stay in the body.
struct evp_pkey_st;
struct x509_st;

namespace base {

// An EC P-256 key pair.
class PrivateKey {
 public:
  static Result<PrivateKey> generate();
  // INVALID_KEY when the text is not a private key on P-256.
  static Result<PrivateKey> from_pem(std::string_view pem);

  std::string to_pem() const; // PKCS#8, unencrypted: for files of mode 0600
  // PKCS#10 in DER, signed with this key. It asks for nothing: who the key belongs to is the
  // signer's word.
  Result<std::string> certificate_request() const;
  evp_pkey_st* get() const { return key_.get(); }

 private:
  explicit PrivateKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

// The public key of a certificate request whose signature was verified.
struct RequestedKey {
  std::shared_ptr<evp_pkey_st> key;
  std::string sha256; // of the SubjectPublicKeyInfo, 32 raw bytes
};
// INVALID_CERTIFICATE_REQUEST unless `der` is PKCS#10, signed by its own key, on P-256.
Result<RequestedKey> read_certificate_request(std::string_view der);

class Certificate {
 public:
  // The first certificate of a PEM text. INVALID_CERTIFICATE when there is none.
  static Result<Certificate> from_pem(std::string_view pem);
  // Takes over one reference.
  static Certificate adopt(x509_st* certificate);

  std::string to_pem() const;
  std::string sha256() const;            // of the DER form, 32 raw bytes
  std::string public_key_sha256() const; // of the SubjectPublicKeyInfo, 32 raw bytes
  std::string serial() const;            // hexadecimal, lower case
  Nanoseconds not_before() const;        // wall time
  Nanoseconds not_after() const;         // wall time
  std::vector<std::string> uris() const; // URI subject alternative names
  bool belongs_to(const PrivateKey& key) const;
  // That `authority` signed it, and that it is valid at `now` for `use`. CERTIFICATE_EXPIRED,
  // CERTIFICATE_NOT_YET_VALID or CERTIFICATE_UNTRUSTED (UNAUTHENTICATED) otherwise.
  enum class Use { kClient, kServer };
  Result<> verify(const Certificate& authority, Nanoseconds now, Use use) const;
  x509_st* get() const { return certificate_.get(); }

 private:
  explicit Certificate(std::shared_ptr<x509_st> certificate)
      : certificate_(std::move(certificate)) {}
  std::shared_ptr<x509_st> certificate_;
};

struct CertificateTemplate {
  std::string common_name;
  std::vector<std::string> uris;      // URI subject alternative names
  std::vector<std::string> dns_names; // host names; what reads as an IP address becomes an IP name
  Nanoseconds not_before{};           // wall time; X.509 counts whole seconds
  Nanoseconds not_after{};
  enum class Kind { kAuthority, kServer, kClient } kind = Kind::kClient;
};
// Signs a certificate with a random 128-bit serial. `issuer` is null for one that signs itself.
Result<Certificate> sign_certificate(
    const CertificateTemplate& what, evp_pkey_st* subject_key, const Certificate* issuer,
    const PrivateKey& issuer_key);

} // namespace base
