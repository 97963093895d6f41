// Resources that people wrote down, in YAML or JSON.
#pragma once

#include "base/result.h"

#include <google/protobuf/message.h>

#include <string>
#include <vector>

namespace cli {

// "-" reads standard input. FILE_UNREADABLE or FILE_TOO_LARGE.
base::Result<std::string> read_input(const std::string& path);
// All documents of `text` (YAML, of which JSON is a part), field by field after the descriptor of
// `prototype`. Durations may be written like "5m". FILE_INVALID names file, line and field, and a
// field that was probably meant. Pure.
base::Result<std::vector<std::unique_ptr<google::protobuf::Message>>> parse_messages(
    const std::string& name, const std::string& text, const google::protobuf::Message& prototype);

} // namespace cli
