// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_OPERATION_HPP
#define HEADGATE_OPERATION_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <new>
#include <utility>

#include <headgate/error.hpp>

namespace headgate {

/// Tags our specialisation of `boost::asio::awaitable`; never a value.
template <class Operation, class Result>
struct eager;

}  // namespace headgate

/// @cond
/// What `co_await` makes of a headgate operation: decided in `await_ready`, and answered without a coroutine frame when
/// the answer is there at once. Else it is the ordinary awaitable of the operation with `use_awaitable`.
///
/// It refers to the operation, which lives until the end of the co_await expression that names it.
template <class Operation, class Result, class Executor>
class boost::asio::awaitable<headgate::eager<Operation, Result>, Executor> {
public:
    using value_type = Result;
    using executor_type = Executor;

    awaitable() noexcept = default;  // as the empty base of the operation
    awaitable(Operation&& operation) noexcept : operation_(&operation) {}

    bool await_ready() {
        try {
            return operation_->decide();
        } catch (const std::bad_alloc&) {
            operation_ = nullptr;
            return true;
        }
    }

    // False when there is no memory to wait.
    template <class Handle>
    bool await_suspend(Handle caller) {
        try {
            // The operation outlives the wait, so the frame of the wait refers to it and stays small.
            use_awaitable_t<Executor> token;
            waiting_ = async_initiate<use_awaitable_t<Executor>, void(Result)>(
                [request = &operation_->request()](auto handler) { request->initiate(std::move(handler)); }, token);
        } catch (const std::bad_alloc&) {
            operation_ = nullptr;
            return false;
        }
        waiting_.await_suspend(caller);
        return true;
    }

    value_type await_resume() {
        if (waiting_.valid()) {
            return waiting_.await_resume();
        }
        if (operation_ == nullptr) [[unlikely]] {
            return value_type(headgate::error(headgate::errc::out_of_memory));
        }
        return std::move(*operation_).answer();
    }

private:
    Operation* operation_ = nullptr;  // null when there was no memory
    awaitable<value_type, Executor> waiting_;
};
/// @endcond

namespace headgate {

/// The base of what `limiter.acquire(key)` and its like return without a completion token: an eager awaitable.
///
/// Await it in the expression that makes it, inside a coroutine on `any_io_executor`, `io_context::executor_type`, or a
/// strand of the latter. `as_awaitable()` gives an ordinary awaitable for everything else: `&&`, `||`, storing,
/// `co_spawn`.
///
/// `Operation` brings `decide()`, true when the answer is there; `answer()`, the result then; `request()`, a copyable
/// object whose `initiate(handler)` starts it as an asynchronous operation, without memory with `out_of_memory`; and
/// `owner()`, what that object refers to.
template <class Operation, class Result>
class operation : public boost::asio::awaitable<eager<Operation, Result>, boost::asio::any_io_executor>,
                  public boost::asio::awaitable<eager<Operation, Result>, boost::asio::io_context::executor_type>,
                  public boost::asio::awaitable<eager<Operation, Result>,
                                                boost::asio::strand<boost::asio::io_context::executor_type>> {
public:
    /// What awaiting it gives.
    using value_type = Result;

    /// Starts it with a completion token.
    template <class Token>
    auto start(Token&& token) && {
        auto& self = static_cast<Operation&>(*this);
        return boost::asio::async_initiate<Token, void(Result)>(
            [](auto handler, auto owner, auto request) {
                request.initiate(std::move(handler));
                static_cast<void>(owner);  // held until here, which may be later: deferred
            },
            token, self.owner(), self.request());
    }

    /// The same operation as an ordinary awaitable; it completes through its executor, never at once.
    template <class Executor = boost::asio::any_io_executor>
    [[nodiscard]] boost::asio::awaitable<Result, Executor> as_awaitable() && {
        return static_cast<Operation&&>(*this).start(boost::asio::use_awaitable_t<Executor>{});
    }

protected:
    operation() = default;
    ~operation() = default;
};

}  // namespace headgate

#endif
