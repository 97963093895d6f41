// Durations, sizes, times and words, as people type and read them. Pure.
#pragma once

#include "base/result.h"

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// "5m", "1h30m", "250ms", "0.1s", "300" (seconds). USAGE when it is none of these.
base::Result<std::chrono::nanoseconds> parse_duration(std::string_view text);
google::protobuf::Duration to_proto(std::chrono::nanoseconds duration);
std::chrono::nanoseconds from_proto(const google::protobuf::Duration& duration);
// Since 1970-01-01 UTC.
std::chrono::nanoseconds from_proto(const google::protobuf::Timestamp& time);

// Three digits that matter: "870 ns", "12.4 µs", "8.07 ms", "1.25 s", "3m20s".
std::string format_duration(std::chrono::nanoseconds duration);
// "45.2 MiB".
std::string format_bytes(uint64_t bytes);
// How long ago, "12s ago", "3m ago", "2d ago"; "in 4m" for the future; "-" for an unset time.
std::string format_age(const google::protobuf::Timestamp& time, std::chrono::nanoseconds now);
// "14:03:07.123" in UTC.
std::string format_clock_time(const google::protobuf::Timestamp& time);
// Columns on a terminal: code points, with control characters taken for nothing.
size_t columns_of(std::string_view utf8);
// The same text without control characters, at most `columns` wide, with "…" where it was cut. What
// comes from traced programs must not steer a terminal.
std::string fit(std::string_view utf8, size_t columns);

// What a span is called in front of people: an HTTP span that is named by its method alone says
// where it went, a server's "GET /cart", a client's "GET shop:8080/cart"; any other keeps its name.
// `path` is url.path, `url` is url.full; either may be empty. A query is left out.
std::string span_title(std::string_view name, std::string_view path, std::string_view url);

// The word of `known` that was probably meant, or "".
std::string nearest(std::string_view word, const std::vector<std::string>& known);

} // namespace cli
