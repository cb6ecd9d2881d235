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

/// A completion handler with the same type for all operations with a result of type `T`. So a test compiles `co_spawn`
/// once per result type and not once per operation.
template <class T>
struct keep_result {
    std::shared_ptr<std::optional<result<T>>> kept = std::make_shared<std::optional<result<T>>>();

    void operator()(result<T> r) const { kept->emplace(std::move(r)); }
};

/// Starts an operation on the bare io_context. The returned optional gets the result later.
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
