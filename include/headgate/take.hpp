// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TAKE_HPP
#define HEADGATE_TAKE_HPP

#include <memory>
#include <type_traits>
#include <utility>

namespace headgate {

namespace detail {

/// A promise to move from a named object; what `take` gives. Trivially destructible, so every compiler is safe with it.
template <class T>
struct taken {
    T* object;
};

template <class T>
inline constexpr bool is_taken_v = false;
template <class T>
inline constexpr bool is_taken_v<taken<T>> = true;

template <class T>
struct stored {
    using type = T;
};
template <class T>
struct stored<taken<T>> {
    using type = T;
};

/// How an operation or an extra argument given as `Arg&&` is stored: by value, and what was taken as itself.
template <class Arg>
using stored_t = typename stored<std::decay_t<Arg>>::type;

template <class Arg>
constexpr decltype(auto) unwrap(Arg&& arg) noexcept {
    if constexpr (is_taken_v<std::remove_cvref_t<Arg>>) {
        return std::move(*arg.object);
    } else {
        return std::forward<Arg>(arg);
    }
}

// g++ before 13 destroys some temporaries of a co_await expression twice, when they have a destructor that does
// something. A library cannot tell the harmless ones from those that corrupt the heap, so there all are refused.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
template <class Arg>
inline constexpr bool safe_in_co_await =
    std::is_lvalue_reference_v<Arg> || std::is_trivially_destructible_v<std::remove_reference_t<Arg>>;
#else
template <class Arg>
inline constexpr bool safe_in_co_await = true;
#endif

/// Fails to compile, and says what to write instead, when g++ before 13 would destroy one of the temporaries twice.
/// `Arg` are the deduced types of forwarding references.
template <class... Arg>
constexpr void check_temporaries() {
    static_assert(
        (safe_in_co_await<Arg> && ...),
        "headgate: g++ before 13 destroys this temporary of a co_await expression twice and corrupts the heap. "
        "Give it a name first and pass the name (it is copied), or headgate::take(name) (it is moved), or use a "
        "closure that captures nothing or only references, with lvalue arguments.");
}

}  // namespace detail

/// Passes the named `object` on by move: `co_await breaker.run(headgate::take(op))`. It must live until it was moved
/// from, which is when the call returns. For lvalues only: a temporary is what some compilers destroy twice.
template <class T>
    requires(!std::is_const_v<T>)
[[nodiscard]] constexpr detail::taken<T> take(T& object) noexcept {
    return {std::addressof(object)};
}

}  // namespace headgate

#endif
