// sonded, put together: the only place where everything meets.
#pragma once

#include "base/result.h"
#include "controlplane/app/settings.h"
#include "controlplane/identity/api_tokens.h"

#include <memory>
#include <string>

namespace controlplane::app {

// What had to be read while we were still root.
struct Secrets {
  std::unique_ptr<identity::ApiTokens> api_tokens; // null: those of the state directory
  std::string tls_certificate_pem;                 // empty: a certificate of our own authority
  std::string tls_key_pem;
};

// Lives on the main thread.
class ControlPlane {
 public:
  // Database, migrations, authority, and everything that serves; ready when it returns.
  static base::Result<std::unique_ptr<ControlPlane>>
  start(const Settings& settings, Secrets secrets);
  // stop(), and then the private PostgreSQL.
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  // Not ready any more, agents are sent away, calls under way get `drain` to end. Returns when all
  // is quiet.
  void stop();

 private:
  class Parts;
  explicit ControlPlane(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

} // namespace controlplane::app
