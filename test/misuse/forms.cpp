// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Mistakes that must not compile, each with a sentence that must be in the first error. Form 0 is right.

#include <headgate/headgate.hpp>

#include <memory>
#include <string>

namespace {

namespace asio = boost::asio;

struct parts {
    asio::io_context io;
    headgate::zone zone{io, "zone"};
    headgate::rate_limiter limiter =
        headgate::rate_limiter::create(zone, "l", headgate::quota::per(1, std::chrono::seconds(1)).value()).value();
    headgate::circuit_breaker breaker = headgate::circuit_breaker::create(zone, "b").value();
    headgate::bulkhead places = headgate::bulkhead::create(zone, "p").value();
    headgate::retry again = headgate::retry::create(zone, "r").value();
    headgate::hedge twice = headgate::hedge::create(zone, "h", {.retry = "r"}).value();
    headgate::coalescer<int> reads = headgate::coalescer<int>::create(zone, "c").value();
};

struct backend {
    asio::awaitable<int> connect() { co_return 1; }
};

asio::awaitable<int> right(int& resource) {
    co_return resource;
}

void use(parts& p, headgate::resource_pool<int>& pool) {
#if FORM == 0
    static_cast<void>(pool.with(right));
    static_cast<void>(headgate::guard(p.limiter, p.breaker, pool).run("key", {.cost = 2}, right));
    static_cast<void>(headgate::guard(p.again, pool).run("key", {.idempotent = true}, right));
#elif FORM == 1   // says: the operation must return an awaitable
    static_cast<void>(p.breaker.run([] { return 1; }));
#elif FORM == 2   // says: the operation must return an awaitable
    const auto op = [](int& resource) { return resource; };
    static_cast<void>(headgate::guard(p.limiter, pool).run("key", {.cost = 2}, op));
#elif FORM == 3   // says: the operation cannot be called with these arguments
    const auto op = [](std::string& resource) -> asio::awaitable<std::size_t> { co_return resource.size(); };
    static_cast<void>(pool.with(op));
#elif FORM == 4   // says: the operation cannot be called with these arguments
    static_cast<void>(headgate::guard(p.limiter, pool).run("key", right, 5));
#elif FORM == 5   // says: a guard has at most one rate_limiter
    headgate::guard twice(p.limiter, p.limiter);
#elif FORM == 6   // says: a guard has one resource_pool or one bulkhead
    headgate::guard two_places(pool, p.places);
#elif FORM == 7   // says: a guard has at least one part
    headgate::guard none(headgate::guard_options{});
#elif FORM == 8   // says: a judge captures nothing, or references
    const auto judge = [text = std::string("gone")](const headgate::result<int>& r) {
        return r || text.empty() ? headgate::call_outcome::success : headgate::call_outcome::failure;
    };
    const headgate::call_options<decltype(judge)> how{.judge = judge};
    const auto op = []() -> asio::awaitable<int> { co_return 1; };
    static_cast<void>(p.breaker.run(how, op));
#elif FORM == 9   // says: the operation must return an awaitable
    static_cast<void>(headgate::with_timeout(p.zone, std::chrono::seconds(1), [] {}));
#elif FORM == 10  // says: the arguments of a retried operation are kept for further attempts
    auto only = std::make_unique<int>(1);
    const auto op = [](std::unique_ptr<int> n) -> asio::awaitable<int> { co_return *n; };
    static_cast<void>(p.again.run(op, headgate::take(only)));
#elif FORM == 11  // says: a guard has at most one retry
    headgate::guard twice(p.again, p.limiter, p.again);
#elif FORM == 12  // says: a judge captures nothing, or references
    const auto judge = [text = std::string("gone")](const headgate::result<int>&) { return text.empty(); };
    const headgate::retry_call_options<decltype(judge)> how{.judge = judge};
    const auto op = []() -> asio::awaitable<int> { co_return 1; };
    static_cast<void>(p.again.run(how, op));
#elif FORM == 13  // says: the arguments of a hedged operation are kept for further attempts
    auto only = std::make_unique<int>(1);
    const auto op = [](std::unique_ptr<int> n) -> asio::awaitable<int> { co_return *n; };
    static_cast<void>(p.twice.run(op, headgate::take(only)));
#elif FORM == 14  // says: the operation of a coalescer<T> must return awaitable<result<T>> or awaitable<T>
    const auto op = []() -> asio::awaitable<long> { co_return 1; };
    static_cast<void>(p.reads.run("key", op));
#elif FORM == 15  // says: each caller of a coalescer gets a copy of the result
    static_cast<void>(headgate::coalescer<std::unique_ptr<int>>::create(p.zone, "u"));
#endif
}

}  // namespace

int main() {
    parts p;
    auto pool = headgate::resource_pool<int>::create(p.zone, "pool", {}, backend{}).value();
    use(p, pool);
}
