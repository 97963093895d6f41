// The contract with its comments: the descriptor set that the build made of api/proto, carried in
// the program.
#pragma once

#include <string_view>

namespace controlplane::edge {

// A serialized google.protobuf.FileDescriptorSet with imports and source info.
std::string_view descriptor_set();

} // namespace controlplane::edge
