// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_INITIATION_HPP
#define HEADGATE_IMPL_INITIATION_HPP

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/config.hpp>

#include <memory>
#include <new>
#include <utility>

#include <headgate/error.hpp>

namespace headgate::detail {

/// Out of line, where g++ cannot see that there is no value, and warn that it is read uninitialised.
template <class Result>
BOOST_NOINLINE Result without_memory() {
    return Result(error(errc::out_of_memory));
}

/// Completes `handler` with `out_of_memory`: posted, or called here when there is no memory for that either.
template <class Result, class Executor, class Handler>
void complete_without_memory(const Executor& fallback, Handler handler) {
    std::shared_ptr<Handler> kept;
    try {
        kept = std::make_shared<Handler>(std::move(handler));
        boost::asio::post(boost::asio::get_associated_executor(*kept, fallback), [kept]() mutable {
            Handler then(std::move(*kept));
            kept.reset();
            std::move(then)(without_memory<Result>());
        });
        return;
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): called below
    }
    if (kept) {
        Handler then(std::move(*kept));
        kept.reset();
        std::move(then)(without_memory<Result>());
    } else {
        std::move(handler)(without_memory<Result>());
    }
}

/// Starts an operation with `create(std::move(handler))`, which throws before it has taken the handler, or not at all.
///
/// Without memory for it the operation ends with `out_of_memory`. An exception here would leave through
/// `io_context::run` where a coroutine awaits the operation, and destroy that coroutine.
template <class Result, class Executor, class Handler, class Create>
void initiate(const Executor& fallback, Handler handler, const Create& create) {
    try {
        create(std::move(handler));
        return;
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it has its handler still
    }
    complete_without_memory<Result>(fallback, std::move(handler));
}

}  // namespace headgate::detail

#endif
