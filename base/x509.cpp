#include "base/x509.h"

#include "base/check.h"
#include "base/hex.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <ctime>

namespace base {
namespace {

template <auto Free> struct Deleter {
  template <class T> void operator()(T* object) const { Free(object); }
};
template <class T, auto Free> using Owned = std::unique_ptr<T, Deleter<Free>>;
using Bio = Owned<BIO, BIO_free_all>;
using Request = Owned<X509_REQ, X509_REQ_free>;

constexpr size_t kCertificateRequestBytesMax = 16 * 1024;
constexpr int kSerialBits = 127; // positive in DER, 16 bytes

std::string openssl_error() {
  char text[256];
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "no detail";
  ERR_error_string_n(code, text, sizeof(text));
  return text;
}

Bio read_only(std::string_view bytes) {
  return Bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

std::string contents(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

bool on_p256(EVP_PKEY* key) {
  char group[32] = {};
  size_t size = 0;
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group, sizeof(group), &size) == 1 &&
         std::string_view(group) == SN_X9_62_prime256v1;
}

std::string hash_of_public_key(X509_PUBKEY* key) {
  unsigned char* der = nullptr;
  int size = i2d_X509_PUBKEY(key, &der);
  CHECK(size > 0);
  std::string hash = sha256({reinterpret_cast<char*>(der), static_cast<size_t>(size)});
  OPENSSL_free(der);
  return hash;
}

Nanoseconds to_wall_time(const ASN1_TIME* time) {
  std::tm broken_down{};
  CHECK(ASN1_TIME_to_tm(time, &broken_down) == 1);
  return std::chrono::seconds(timegm(&broken_down));
}

std::time_t whole_seconds(Nanoseconds wall_time) {
  return std::chrono::duration_cast<std::chrono::seconds>(wall_time).count();
}

Result<> add_extension(X509* certificate, X509V3_CTX* context, int nid, const std::string& value) {
  Owned<X509_EXTENSION, X509_EXTENSION_free> extension(
      X509V3_EXT_conf_nid(nullptr, context, nid, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1)
    return internal("certificate extension " + value + ": " + openssl_error());
  return {};
}

GENERAL_NAME* make_name(int type, const std::string& text) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  if (type == GEN_IPADD) {
    GENERAL_NAME_set0_value(name, type, a2i_IPADDRESS(text.c_str()));
  } else {
    ASN1_IA5STRING* value = ASN1_IA5STRING_new();
    ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
    GENERAL_NAME_set0_value(name, type, value);
  }
  return name;
}

bool is_ip_address(const std::string& text) {
  unsigned char address[16];
  return inet_pton(AF_INET, text.c_str(), address) == 1 ||
         inet_pton(AF_INET6, text.c_str(), address) == 1;
}

// Built by value, not through OpenSSL's configuration syntax, where a comma in a name would add
// another.
Result<> add_alternative_names(X509* certificate, const CertificateTemplate& what) {
  if (what.uris.empty() && what.dns_names.empty()) return {};
  Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(GENERAL_NAMES_new());
  for (const std::string& uri : what.uris)
    sk_GENERAL_NAME_push(names.get(), make_name(GEN_URI, uri));
  for (const std::string& name : what.dns_names)
    sk_GENERAL_NAME_push(names.get(), make_name(is_ip_address(name) ? GEN_IPADD : GEN_DNS, name));
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) != 1)
    return internal("subject alternative names: " + openssl_error());
  return {};
}

Result<> add_extensions(X509* certificate, X509* issuer, const CertificateTemplate& what) {
  using Kind = CertificateTemplate::Kind;
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  bool authority = what.kind == Kind::kAuthority;
  TRY(add_extension(
      certificate, &context, NID_basic_constraints,
      authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE"));
  TRY(add_extension(
      certificate, &context, NID_key_usage,
      authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature"));
  if (!authority)
    TRY(add_extension(
        certificate, &context, NID_ext_key_usage,
        what.kind == Kind::kServer ? "serverAuth" : "clientAuth"));
  TRY(add_extension(certificate, &context, NID_subject_key_identifier, "hash"));
  if (!authority)
    TRY(add_extension(certificate, &context, NID_authority_key_identifier, "keyid:always"));
  return add_alternative_names(certificate, what);
}

Error verification_error(int code) {
  std::string text = X509_verify_cert_error_string(code);
  if (code == X509_V_ERR_CERT_HAS_EXPIRED)
    return {Code::kUnauthenticated, "CERTIFICATE_EXPIRED", "the certificate has expired", {}};
  if (code == X509_V_ERR_CERT_NOT_YET_VALID)
    return {
        Code::kUnauthenticated,
        "CERTIFICATE_NOT_YET_VALID",
        "the certificate is not valid yet: compare the clocks of both hosts",
        {}};
  return {
      Code::kUnauthenticated,
      "CERTIFICATE_UNTRUSTED",
      "the certificate was not issued by this authority: " + text,
      {}};
}

} // namespace

Result<PrivateKey> PrivateKey::generate() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  if (!key) return internal("generate a key: " + openssl_error());
  return PrivateKey(std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  Bio bio = read_only(pem);
  // An empty password instead of a prompt on the terminal.
  EVP_PKEY* key = PEM_read_bio_PrivateKey(
      bio.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr);
  if (!key) return invalid_argument("INVALID_KEY", "not a private key in PEM: " + openssl_error());
  std::shared_ptr<EVP_PKEY> owned(key, EVP_PKEY_free);
  if (!on_p256(key)) return invalid_argument("INVALID_KEY", "the private key is not on P-256");
  return PrivateKey(std::move(owned));
}

std::string PrivateKey::to_pem() const {
  Bio bio(BIO_new(BIO_s_mem()));
  CHECK(
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr));
  return contents(bio.get());
}

Result<std::string> PrivateKey::certificate_request() const {
  Request request(X509_REQ_new());
  if (!request || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key_.get()) != 1 ||
      X509_REQ_sign(request.get(), key_.get(), EVP_sha256()) == 0)
    return internal("certificate request: " + openssl_error());
  unsigned char* der = nullptr;
  int size = i2d_X509_REQ(request.get(), &der);
  if (size <= 0) return internal("certificate request: " + openssl_error());
  std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

Result<RequestedKey> read_certificate_request(std::string_view der) {
  auto refuse = [](std::string why) {
    return invalid_argument("INVALID_CERTIFICATE_REQUEST", std::move(why)).at("certificateRequest");
  };
  if (der.size() > kCertificateRequestBytesMax)
    return refuse("the certificate request is larger than 16 KiB");
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
  Request request(d2i_X509_REQ(nullptr, &bytes, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!request) return refuse("the certificate request is not PKCS#10 in DER");
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (!key || !on_p256(key)) return refuse("the key of the certificate request is not on P-256");
  if (X509_REQ_verify(request.get(), key) != 1) {
    ERR_clear_error();
    return refuse("the certificate request is not signed by its own key");
  }
  EVP_PKEY_up_ref(key);
  return RequestedKey{
      std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free),
      hash_of_public_key(X509_REQ_get_X509_PUBKEY(request.get()))};
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  Bio bio = read_only(pem);
  X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr);
  if (!certificate)
    return invalid_argument("INVALID_CERTIFICATE", "not a certificate in PEM: " + openssl_error());
  return adopt(certificate);
}

Certificate Certificate::adopt(x509_st* certificate) {
  CHECK(certificate != nullptr);
  return Certificate(std::shared_ptr<X509>(certificate, X509_free));
}

std::string Certificate::to_pem() const {
  Bio bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_X509(bio.get(), certificate_.get()) == 1);
  return contents(bio.get());
}

std::string Certificate::sha256() const {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK(X509_digest(certificate_.get(), EVP_sha256(), digest, &size) == 1);
  return std::string(reinterpret_cast<char*>(digest), size);
}

std::string Certificate::public_key_sha256() const {
  return hash_of_public_key(X509_get_X509_PUBKEY(certificate_.get()));
}

std::string Certificate::serial() const {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(certificate_.get());
  return to_hex(
      {reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
       static_cast<size_t>(ASN1_STRING_length(serial))});
}

Nanoseconds Certificate::not_before() const {
  return to_wall_time(X509_get0_notBefore(certificate_.get()));
}

Nanoseconds Certificate::not_after() const {
  return to_wall_time(X509_get0_notAfter(certificate_.get()));
}

std::vector<std::string> Certificate::uris() const {
  std::vector<std::string> uris;
  Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate_.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int type = 0;
    void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type);
    if (type != GEN_URI) continue;
    auto* text = static_cast<ASN1_IA5STRING*>(value);
    uris.emplace_back(
        reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
        static_cast<size_t>(ASN1_STRING_length(text)));
  }
  return uris;
}

bool Certificate::belongs_to(const PrivateKey& key) const {
  bool same = X509_check_private_key(certificate_.get(), key.get()) == 1;
  ERR_clear_error();
  return same;
}

Result<> Certificate::verify(const Certificate& authority, Nanoseconds now, Use use) const {
  Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  Owned<X509_STORE_CTX, X509_STORE_CTX_free> context(X509_STORE_CTX_new());
  if (X509_STORE_add_cert(store.get(), authority.get()) != 1 ||
      X509_STORE_CTX_init(context.get(), store.get(), certificate_.get(), nullptr) != 1)
    return internal("verify a certificate: " + openssl_error());
  X509_STORE_CTX_set_time(context.get(), 0, whole_seconds(now));
  X509_STORE_CTX_set_purpose(
      context.get(), use == Use::kServer ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  bool verified = X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  if (!verified) return verification_error(X509_STORE_CTX_get_error(context.get()));
  return {};
}

Result<Certificate> sign_certificate(
    const CertificateTemplate& what, evp_pkey_st* subject_key, const Certificate* issuer,
    const PrivateKey& issuer_key) {
  Owned<X509, X509_free> certificate(X509_new());
  Owned<BIGNUM, BN_free> serial(BN_new());
  if (!certificate || !serial ||
      BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1 ||
      !BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())))
    return internal("certificate serial: " + openssl_error());
  X509* self = certificate.get();
  X509_NAME* name = X509_get_subject_name(self);
  X509_set_version(self, X509_VERSION_3);
  X509_NAME_add_entry_by_txt(
      name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(what.common_name.c_str()),
      -1, -1, 0);
  X509* signer = issuer ? issuer->get() : self;
  if (X509_set_issuer_name(self, X509_get_subject_name(signer)) != 1 ||
      X509_set_pubkey(self, subject_key) != 1 ||
      !ASN1_TIME_set(X509_getm_notBefore(self), whole_seconds(what.not_before)) ||
      !ASN1_TIME_set(X509_getm_notAfter(self), whole_seconds(what.not_after)))
    return internal("certificate: " + openssl_error());
  TRY(add_extensions(self, signer, what));
  if (X509_sign(self, issuer_key.get(), EVP_sha256()) == 0)
    return internal("sign a certificate: " + openssl_error());
  return Certificate::adopt(certificate.release());
}

} // namespace base
