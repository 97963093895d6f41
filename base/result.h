// A value or an Error; ignoring one does not compile.
#pragma once

#include "base/error.h"

#include <tl/expected.hpp>

#include <type_traits>
#include <utility>

namespace base {

// tl::expected until the compilers of the oldest supported distribution carry std::expected.
template <class T = void> class [[nodiscard]] Result : public tl::expected<T, Error> {
  using Base = tl::expected<T, Error>;

 public:
  using Base::Base;
  Result(Base base) : Base(std::move(base)) {}
  Result(Error error) : Base(tl::unexpect, std::move(error)) {}

  bool ok() const { return this->has_value(); }
  T take() && {
    if constexpr (!std::is_void_v<T>) return *std::move(*this);
  }
  // Adds what the caller was doing to the error, if there is one.
  Result context(std::string_view doing) && {
    if (!this->has_value()) this->error() = std::move(this->error()).context(doing);
    return std::move(*this);
  }
};

} // namespace base

// Unwraps a Result or returns its Error from the enclosing function:
//   auto plan = TRY(make_plan(spec));
#define TRY(expression)                                                                            \
  __extension__({                                                                                  \
    auto try_result = (expression);                                                                \
    if (!try_result) [[unlikely]]                                                                  \
      return std::move(try_result).error();                                                        \
    std::move(try_result).take();                                                                  \
  })
