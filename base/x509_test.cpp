#include "base/x509.h"

#include "base/hex.h"
#include "base/join_token.h"

#include <gtest/gtest.h>

namespace base {
namespace {

using Kind = CertificateTemplate::Kind;
using std::chrono::hours;
using std::chrono::seconds;

constexpr Nanoseconds kNow = seconds(1'700'000'000);

struct Authority {
  PrivateKey key = PrivateKey::generate().value();
  Certificate certificate = sign_certificate(
                                {.common_name = "authority",
                                 .not_before = kNow - hours(1),
                                 .not_after = kNow + hours(100),
                                 .kind = Kind::kAuthority},
                                key.get(), nullptr, key)
                                .value();

  Certificate sign(CertificateTemplate what, const PrivateKey& subject) const {
    return sign_certificate(what, subject.get(), &certificate, key).value();
  }
};

CertificateTemplate client(Nanoseconds not_after = kNow + hours(1)) {
  return {
      .common_name = "agent",
      .uris = {"spiffe://sonde.local/agent/1", "urn:a,DNS:evil"},
      .not_before = kNow - hours(1),
      .not_after = not_after,
      .kind = Kind::kClient};
}

TEST(PrivateKey, SurvivesItsTextForm) {
  PrivateKey key = PrivateKey::generate().value();

  PrivateKey again = PrivateKey::from_pem(key.to_pem()).value();

  EXPECT_EQ(again.to_pem(), key.to_pem());
  EXPECT_EQ(PrivateKey::from_pem("garbage").error().reason, "INVALID_KEY");
  EXPECT_EQ(PrivateKey::from_pem("").error().reason, "INVALID_KEY");
}

TEST(CertificateRequest, ProvesPossessionOfItsKey) {
  PrivateKey key = PrivateKey::generate().value();
  std::string request = key.certificate_request().value();

  RequestedKey requested = read_certificate_request(request).value();
  Certificate certificate = Authority().sign(client(), key);

  EXPECT_EQ(requested.sha256, certificate.public_key_sha256());
}

TEST(CertificateRequest, IsRefusedWhenChanged) {
  std::string request = PrivateKey::generate().value().certificate_request().value();
  std::string changed = request;
  changed.back() = static_cast<char>(changed.back() ^ 1);

  EXPECT_EQ(read_certificate_request(changed).error().reason, "INVALID_CERTIFICATE_REQUEST");
  EXPECT_EQ(read_certificate_request("").error().reason, "INVALID_CERTIFICATE_REQUEST");
  EXPECT_EQ(
      read_certificate_request(std::string(100'000, 'x')).error().reason,
      "INVALID_CERTIFICATE_REQUEST");
  for (size_t size = 0; size < request.size(); ++size)
    EXPECT_FALSE(read_certificate_request(request.substr(0, size)).ok()) << size;
}

TEST(Certificate, CarriesWhatTheTemplateSays) {
  PrivateKey key = PrivateKey::generate().value();

  Certificate certificate = Certificate::from_pem(Authority().sign(client(), key).to_pem()).value();

  EXPECT_EQ(
      certificate.uris(),
      (std::vector<std::string>{"spiffe://sonde.local/agent/1", "urn:a,DNS:evil"}));
  EXPECT_EQ(certificate.not_after(), kNow + hours(1));
  EXPECT_EQ(certificate.not_before(), kNow - hours(1));
  EXPECT_EQ(certificate.serial().size(), 32u);
  EXPECT_TRUE(certificate.belongs_to(key));
  EXPECT_FALSE(certificate.belongs_to(PrivateKey::generate().value()));
}

TEST(Certificate, IsVerifiedAgainstAuthorityTimeAndUse) {
  Authority authority;
  Authority forger;
  PrivateKey key = PrivateKey::generate().value();
  using Use = Certificate::Use;
  auto reason = [&](const Certificate& certificate, Nanoseconds now, Use use) {
    auto result = certificate.verify(authority.certificate, now, use);
    return result.ok() ? "" : std::string(result.error().reason);
  };
  Certificate good = authority.sign(client(), key);

  EXPECT_EQ(reason(good, kNow, Use::kClient), "");
  EXPECT_EQ(reason(good, kNow, Use::kServer), "CERTIFICATE_UNTRUSTED");
  EXPECT_EQ(reason(good, kNow + hours(2), Use::kClient), "CERTIFICATE_EXPIRED");
  EXPECT_EQ(reason(good, kNow - hours(2), Use::kClient), "CERTIFICATE_NOT_YET_VALID");
  EXPECT_EQ(reason(forger.sign(client(), key), kNow, Use::kClient), "CERTIFICATE_UNTRUSTED");
  EXPECT_EQ(
      reason(sign_certificate(client(), key.get(), nullptr, key).value(), kNow, Use::kClient),
      "CERTIFICATE_UNTRUSTED");
}

TEST(JoinToken, SurvivesItsTextForm) {
  JoinToken token = JoinToken::generate(sha256("authority"));

  JoinToken again = JoinToken::parse("  " + token.to_text() + "\n").value();

  EXPECT_EQ(again.authority_sha256, sha256("authority"));
  EXPECT_EQ(again.secret, token.secret);
  EXPECT_EQ(again.secret_sha256(), sha256(token.secret));
}

TEST(JoinToken, RefusesEverythingElseWithoutQuotingIt) {
  std::string text = JoinToken::generate(sha256("authority")).to_text();
  std::string other_prefix = "sonde2" + text.substr(6);
  std::string no_hex = text.substr(0, text.size() - 1) + "g";

  for (const std::string& bad :
       {std::string(), std::string("sonde1."), text + "0", text.substr(1), other_prefix, no_hex}) {
    auto token = JoinToken::parse(bad);
    ASSERT_FALSE(token.ok()) << bad;
    EXPECT_EQ(token.error().reason, "INVALID_JOIN_TOKEN");
    if (bad.size() > 20) {
      EXPECT_EQ(token.error().message.find(bad.substr(80)), std::string::npos);
    }
  }
}

} // namespace
} // namespace base
