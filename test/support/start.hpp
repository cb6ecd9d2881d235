// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_SUPPORT_START_HPP
#define HEADGATE_TEST_SUPPORT_START_HPP

#include <headgate/spawn.hpp>
#include <headgate/virtual_clock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <memory>
#include <optional>
#include <utility>

namespace headgate::test {

/// A completion handler of one type for all operations with a result of type `T`, so that a test compiles `co_spawn`
/// once for each of its results, and not once for each of its operations.
template <class T>
struct keep_result {
    std::shared_ptr<std::optional<result<T>>> kept = std::make_shared<std::optional<result<T>>>();

    void operator()(result<T> r) const { kept->emplace(std::move(r)); }
};

/// Starts an operation on the bare io_context; what is returned has its result later.
template <class T, class Executor>
std::shared_ptr<std::optional<result<T>>> start(boost::asio::io_context& io,
                                                boost::asio::awaitable<result<T>, Executor> operation) {
    const keep_result<T> end;
    spawn(io.get_executor(), std::move(operation), end);
    return end.kept;
}
/// The same for a protected call.
template <class Call>
    requires requires(Call call) { std::move(call).as_awaitable(); }
auto start(boost::asio::io_context& io, Call call) {
    return start(io, std::move(call).as_awaitable());
}

/// Runs an operation to its end, in virtual time.
template <class Operation>
auto finish(virtual_clock& clock, boost::asio::io_context& io, Operation operation) {
    const auto out = start(io, std::move(operation));
    clock.run(io);
    return std::move(out->value());
}

}  // namespace headgate::test

#endif
