// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// The forms that g++ before 13 miscompiles, one for each value of FORM; `refused.sh` compiles each.

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <string>

#include <headgate/circuit_breaker.hpp>

namespace {

using boost::asio::awaitable;

struct aggregate_functor {
    std::string text;
    awaitable<int> operator()() const { co_return static_cast<int>(text.size()); }
};

struct aggregate_argument {
    std::string text;
};

awaitable<int> length_of(const aggregate_argument& a) {
    co_return static_cast<int>(a.text.size());
}

[[maybe_unused]] awaitable<void> call(headgate::circuit_breaker breaker) {
    std::string s = "a text that is too long for the small buffer of a string";
#if FORM == 1  // a capturing closure
    (void)co_await breaker.run([s]() -> awaitable<int> { co_return static_cast<int>(s.size()); });
#elif FORM == 2  // a generic one
    (void)co_await breaker.run([s](auto n) -> awaitable<int> { co_return static_cast<int>(s.size()) + n; }, 1);
#elif FORM == 3  // std::function made in place
    (void)co_await breaker.run(
        std::function<awaitable<int>()>([s]() -> awaitable<int> { co_return static_cast<int>(s.size()); }));
#elif FORM == 4  // std::bind_front made in place
    (void)co_await breaker.run(
        std::bind_front([s](int n) -> awaitable<int> { co_return static_cast<int>(s.size()) + n; }, 1));
#elif FORM == 5  // an aggregate functor
    (void)co_await breaker.run(aggregate_functor{s});
#elif FORM == 6  // an aggregate as an extra argument
    (void)co_await breaker.run(length_of, aggregate_argument{s});
#elif FORM == 7  // a closure as an extra argument
    (void)co_await breaker.run([](auto f) -> awaitable<int> { co_return f(); },
                               [s] { return static_cast<int>(s.size()); });
#else            // the safe ones: they compile everywhere
    auto named = [s]() -> awaitable<int> { co_return static_cast<int>(s.size()); };
    (void)co_await breaker.run(named);
    (void)co_await breaker.run(headgate::take(named));
    (void)co_await breaker.run([&s]() -> awaitable<int> { co_return static_cast<int>(s.size()); });
    (void)co_await breaker.run(
        [](const std::string& text) -> awaitable<int> { co_return static_cast<int>(text.size()); }, s);
    (void)co_await breaker.run([](int a, int b) -> awaitable<int> { co_return a + b; }, 1, 2);
#endif
}

}  // namespace
