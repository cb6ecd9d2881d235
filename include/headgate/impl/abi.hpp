// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_ABI_HPP
#define HEADGATE_IMPL_ABI_HPP

// Makes sure that a program and the library agree about the types that they share. Macros of Asio and of the standard
// library change those, and a program that sets them otherwise than the library does would crash somewhere else.
//
// The library defines one symbol for each such macro, whose name says how the macro was when the library was built.
// Every translation unit that includes a header of headgate refers to the symbols that it needs. Where one is missing,
// the linker (or, for a plugin, the loader) says so, and its name is the sentence that says what differs:
//
//     undefined reference to `headgate_must_be_built_with_BOOST_ASIO_DISABLE_THREADS_like_this_program'
//
// Macros that change no type are left out: BOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING, _GLIBCXX_ASSERTIONS, NDEBUG.

// A header that is not there ends the compilation, before the sentence is lost among errors that follow from it.
#if !defined(__GNUC__)
#error "headgate needs g++ 12 or newer, or clang 16 or newer"
#include <headgate/needs/gcc_12_or_clang_16>
#elif defined(__clang__)
#if __clang_major__ < 16
#error "headgate needs clang 16 or newer: older ones do not compile its constraints with this standard library"
#include <headgate/needs/clang_16>
#endif
#elif __GNUC__ < 12
#error "headgate needs g++ 12 or newer: older ones do not compile its coroutines"
#include <headgate/needs/gcc_12>
#endif
#if __cplusplus < 202002L
#error "headgate needs C++20: compile with -std=c++20"
#include <headgate/needs/cxx_20>
#endif

#include <boost/asio/detail/config.hpp>
#include <boost/asio/detail/thread_info_base.hpp>
#include <boost/version.hpp>

#include <cstddef>  // for what the standard library says of itself

// `what` is not expanded, as an operand of ##.
#define HEADGATE_ABI_WITH(what) headgate_must_be_built_with_##what##_like_this_program
#define HEADGATE_ABI_WITHOUT(what) headgate_must_be_built_without_##what##_like_this_program

#define HEADGATE_ABI_BOOST_OF(version) HEADGATE_ABI_WITH(BOOST_VERSION_##version)
#define HEADGATE_ABI_BOOST_EXPANDED(version) HEADGATE_ABI_BOOST_OF(version)
#define HEADGATE_ABI_BOOST HEADGATE_ABI_BOOST_EXPANDED(BOOST_VERSION)

#define HEADGATE_ABI_CACHE_OF(size) HEADGATE_ABI_WITH(BOOST_ASIO_RECYCLING_ALLOCATOR_CACHE_SIZE_##size)
#define HEADGATE_ABI_CACHE_EXPANDED(size) HEADGATE_ABI_CACHE_OF(size)
#define HEADGATE_ABI_CACHE HEADGATE_ABI_CACHE_EXPANDED(BOOST_ASIO_RECYCLING_ALLOCATOR_CACHE_SIZE)

// What Asio has made of BOOST_ASIO_DISABLE_THREADS, BOOST_DISABLE_THREADS and the platform.
#if defined(BOOST_ASIO_HAS_THREADS)
#define HEADGATE_ABI_THREADS HEADGATE_ABI_WITHOUT(BOOST_ASIO_DISABLE_THREADS)
#else
#define HEADGATE_ABI_THREADS HEADGATE_ABI_WITH(BOOST_ASIO_DISABLE_THREADS)
#endif

#if defined(BOOST_ASIO_CUSTOM_HANDLER_TRACKING)
#define HEADGATE_ABI_TRACKING HEADGATE_ABI_WITH(BOOST_ASIO_CUSTOM_HANDLER_TRACKING)
#elif defined(BOOST_ASIO_ENABLE_HANDLER_TRACKING)
#define HEADGATE_ABI_TRACKING HEADGATE_ABI_WITH(BOOST_ASIO_ENABLE_HANDLER_TRACKING)
#else
#define HEADGATE_ABI_TRACKING HEADGATE_ABI_WITHOUT(BOOST_ASIO_ENABLE_HANDLER_TRACKING)
#endif

// The reactor inside of an io_context.
#if defined(BOOST_ASIO_HAS_EPOLL)
#define HEADGATE_ABI_EPOLL HEADGATE_ABI_WITHOUT(BOOST_ASIO_DISABLE_EPOLL)
#else
#define HEADGATE_ABI_EPOLL HEADGATE_ABI_WITH(BOOST_ASIO_DISABLE_EPOLL)
#endif
#if defined(BOOST_ASIO_HAS_EVENTFD)
#define HEADGATE_ABI_EVENTFD HEADGATE_ABI_WITHOUT(BOOST_ASIO_DISABLE_EVENTFD)
#else
#define HEADGATE_ABI_EVENTFD HEADGATE_ABI_WITH(BOOST_ASIO_DISABLE_EVENTFD)
#endif
#if defined(BOOST_ASIO_HAS_TIMERFD)
#define HEADGATE_ABI_TIMERFD HEADGATE_ABI_WITH(BOOST_ASIO_HAS_TIMERFD)
#else
#define HEADGATE_ABI_TIMERFD HEADGATE_ABI_WITHOUT(BOOST_ASIO_HAS_TIMERFD)
#endif
#if defined(BOOST_ASIO_HAS_IO_URING_AS_DEFAULT)
#define HEADGATE_ABI_IO_URING HEADGATE_ABI_WITH(BOOST_ASIO_HAS_IO_URING_AS_DEFAULT)
#elif defined(BOOST_ASIO_HAS_IO_URING)
#define HEADGATE_ABI_IO_URING HEADGATE_ABI_WITH(BOOST_ASIO_HAS_IO_URING)
#else
#define HEADGATE_ABI_IO_URING HEADGATE_ABI_WITHOUT(BOOST_ASIO_HAS_IO_URING)
#endif

// What any_io_executor is.
#if defined(BOOST_ASIO_USE_TS_EXECUTOR_AS_DEFAULT)
#define HEADGATE_ABI_EXECUTOR HEADGATE_ABI_WITH(BOOST_ASIO_USE_TS_EXECUTOR_AS_DEFAULT)
#else
#define HEADGATE_ABI_EXECUTOR HEADGATE_ABI_WITHOUT(BOOST_ASIO_USE_TS_EXECUTOR_AS_DEFAULT)
#endif

#if defined(_GLIBCXX_DEBUG)
#define HEADGATE_ABI_DEBUG HEADGATE_ABI_WITH(_GLIBCXX_DEBUG)
#else
#define HEADGATE_ABI_DEBUG HEADGATE_ABI_WITHOUT(_GLIBCXX_DEBUG)
#endif
#if defined(_LIBCPP_VERSION)
#define HEADGATE_ABI_STRINGS HEADGATE_ABI_WITH(libcxx)
#elif defined(_GLIBCXX_USE_CXX11_ABI) && !_GLIBCXX_USE_CXX11_ABI
#define HEADGATE_ABI_STRINGS HEADGATE_ABI_WITHOUT(_GLIBCXX_USE_CXX11_ABI)
#else
#define HEADGATE_ABI_STRINGS HEADGATE_ABI_WITH(_GLIBCXX_USE_CXX11_ABI)
#endif

// headgate's own: locks and atomics that a scheduler steps through.
#if defined(HEADGATE_EXPLORE)
#define HEADGATE_ABI_EXPLORE HEADGATE_ABI_WITH(HEADGATE_EXPLORE)
#else
#define HEADGATE_ABI_EXPLORE HEADGATE_ABI_WITHOUT(HEADGATE_EXPLORE)
#endif

// All of them, for the library, which defines them, and for those who need them.
#define HEADGATE_ABI_SYMBOLS(X) \
    X(HEADGATE_ABI_BOOST)       \
    X(HEADGATE_ABI_CACHE)       \
    X(HEADGATE_ABI_THREADS)     \
    X(HEADGATE_ABI_TRACKING)    \
    X(HEADGATE_ABI_EPOLL)       \
    X(HEADGATE_ABI_EVENTFD)     \
    X(HEADGATE_ABI_TIMERFD)     \
    X(HEADGATE_ABI_IO_URING)    \
    X(HEADGATE_ABI_EXECUTOR)    \
    X(HEADGATE_ABI_DEBUG)       \
    X(HEADGATE_ABI_STRINGS)     \
    X(HEADGATE_ABI_EXPLORE)

extern "C" {
// NOLINTNEXTLINE(bugprone-macro-parentheses): a name to declare cannot have any
#define HEADGATE_ABI_DECLARE(symbol) [[gnu::visibility("default")]] extern const char symbol;
HEADGATE_ABI_SYMBOLS(HEADGATE_ABI_DECLARE)
#undef HEADGATE_ABI_DECLARE
}

namespace headgate::detail {
namespace {

// One in each translation unit, which may have its macros otherwise than the next. Kept by compiler and linker, though
// nobody reads it.
// NOLINTNEXTLINE(bugprone-macro-parentheses): an element of a list
#define HEADGATE_ABI_ADDRESS(symbol) &symbol,
[[gnu::used, gnu::retain]] const char* const needed_of_the_library[] = {HEADGATE_ABI_SYMBOLS(HEADGATE_ABI_ADDRESS)};
#undef HEADGATE_ABI_ADDRESS

}  // namespace
}  // namespace headgate::detail

#endif
