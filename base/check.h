// CHECK: an invariant that, broken, must not go on to touch a production process. Never on input.
#pragma once

namespace base {
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
} // namespace base

#define CHECK(expression)                                                                          \
  (__builtin_expect(static_cast<bool>(expression), 1)                                              \
       ? static_cast<void>(0)                                                                      \
       : ::base::check_failed(#expression, __FILE__, __LINE__))
