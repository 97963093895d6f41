// What the kernel could not read, since it was not in memory, is read from the process while that
// lives: constants of the program, which are still where they were.
#pragma once

#include "agent/event/record.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace agent::event {

// Copies memory of the process whose record it is; false when not all of it could be copied.
using ReadMemory = std::function<bool(uint64_t address, void* out, size_t bytes)>;

// Fills in what the record leaves open; what cannot be read stays as the kernel told it. The text
// that the record's message points to is kept in `text`.
void read_unread(Panic& panic, const ReadMemory& read, std::string& text);
void read_unread(CallError& error, const ReadMemory& read, std::string& text);
void read_unread(DialError& error, const ReadMemory& read, std::string& text);

} // namespace agent::event
