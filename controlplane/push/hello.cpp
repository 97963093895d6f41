#include "controlplane/push/hello.h"

#include "controlplane/push/limits.h"

namespace controlplane::push {
namespace {

constexpr size_t kTextBytesMax = 256;

void cut(std::string* text) { cut_text(kTextBytesMax, text); }

void cut(google::protobuf::RepeatedPtrField<std::string>* texts) {
  while (texts->size() > kCapabilitiesMax) texts->RemoveLast();
  for (std::string& text : *texts) cut(&text);
}

} // namespace

void cut_text(size_t bytes_max, std::string* text) {
  if (text->size() <= bytes_max) return;
  // Bytes 10xxxxxx continue a character of UTF-8.
  while (bytes_max > 0 && (static_cast<unsigned char>((*text)[bytes_max]) & 0xc0) == 0x80)
    --bytes_max;
  text->resize(bytes_max);
}

base::Result<> check_hello(sonde::v1::Hello& hello) {
  auto refuse = [](std::string why) {
    return base::invalid_argument("INVALID_MESSAGE", std::move(why));
  };
  if (hello.held_size() > kHeldAssignmentsMax) return refuse("Hello: too many held assignments");
  if (hello.reported_labels().size() > kReportedLabelsMax)
    return refuse("Hello: too many reported labels");
  for (const auto& [key, value] : hello.reported_labels())
    if (key.empty() || key.size() > kLabelBytesMax || value.size() > kLabelBytesMax)
      return refuse("Hello: a reported label is empty or too long");
  cut(hello.mutable_hostname());
  cut(hello.mutable_boot_id());
  cut(hello.mutable_version());
  cut(hello.mutable_kernel());
  cut(hello.mutable_architecture());
  cut(hello.mutable_capabilities());
  cut(hello.mutable_limitations());
  return {};
}

} // namespace controlplane::push
