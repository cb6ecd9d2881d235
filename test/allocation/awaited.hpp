// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_ALLOCATION_AWAITED_HPP
#define HEADGATE_TEST_ALLOCATION_AWAITED_HPP

#include <doctest/doctest.h>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <functional>
#include <new>

#include <headgate/result.hpp>

#include "failing.hpp"

namespace headgate::allocation {

template <class T>
using awaited = std::function<boost::asio::awaitable<result<T>>()>;

template <class T>
boost::asio::awaitable<result<T>> short_of_memory(awaited<T> operation) {
    const failing scope(threads::all);
    try {
        co_return co_await operation();
    } catch (const std::bad_alloc&) {
        co_return error(errc::out_of_memory);
    }
}

/// Fails each allocation of an operation once, on any thread. Returns the number of allocations. `finish` runs an
/// awaitable to its end. Each round calls `before`, then runs the operation, then calls `after` with whether the
/// operation succeeded. When it did not, `tells` must accept its error.
template <class T, class Finish>
std::uint64_t every_allocation_of(const Finish& finish, bool (*tells)(const error&),
                                  const std::function<void()>& before, const awaited<T>& operation,
                                  const std::function<void(bool)>& after) {
    const auto allocations = every_allocation_of_threads([&] {
        before();
        const result<T> r = finish(short_of_memory<T>(operation));
        const bool told = r || tells(r.error());
        CHECK_MESSAGE(told, r.error().message());
        CHECK((r || has_failed()));
        after(r.has_value());
    });
    CHECK(allocations > 1);
    return allocations;
}

}  // namespace headgate::allocation

#endif
