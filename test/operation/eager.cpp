// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/operation.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include <optional>

#include <headgate/zone.hpp>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

/// Answers with `value` at once, or after a second of the zone's time.
class answer_operation : public operation<answer_operation, result<int>> {
public:
    answer_operation(zone& z, int value, bool at_once) : zone_(z), value_(value), at_once_(at_once) {}

    bool decide() noexcept { return at_once_; }
    result<int> answer() && { return value_; }

    struct later {
        zone* z;
        int value;

        template <class Handler>
        void initiate(Handler handler) {
            z->sleep_for(1s, [handler = std::move(handler), answer = value](result<void>) mutable {
                std::move(handler)(result<int>(answer));
            });
        }
    };
    later& request() noexcept { return request_; }
    std::shared_ptr<void> owner() const { return zone_.core(); }

private:
    zone& zone_;
    int value_;
    bool at_once_;
    later request_{&zone_, value_};
};

answer_operation answer(zone& z, int value, bool at_once) {
    return {z, value, at_once};
}

template <class Executor>
asio::awaitable<void, Executor> sum(zone& z, int& out) {
    const result<int> at_once = co_await answer(z, 1, true);
    const result<int> later = co_await answer(z, 20, false);
    auto named = answer(z, 300, false);
    const result<int> of_named = co_await std::move(named);
    const result<int> ordinary = co_await answer(z, 4000, false).template as_awaitable<Executor>();
    out = at_once.value() + later.value() + of_named.value() + ordinary.value();
}

TEST_CASE("an eager awaitable answers at once or waits, on every supported executor") {
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "test", {.clock = &clock});
    int any = 0, plain = 0, stranded = 0;
    asio::co_spawn(io, sum<asio::any_io_executor>(z, any), asio::detached);
    asio::co_spawn(io.get_executor(), sum<asio::io_context::executor_type>(z, plain), asio::detached);
    asio::co_spawn(asio::make_strand(io), sum<asio::strand<asio::io_context::executor_type>>(z, stranded),
                   asio::detached);
    clock.run(io);
    CHECK(any == 4321);
    CHECK(plain == 4321);
    CHECK(stranded == 4321);
}

TEST_CASE("a million answers at once in a row neither recurse nor suspend") {
    asio::io_context io;
    zone z(io, "test");
    std::int64_t total = 0;
    asio::co_spawn(
        io,
        [](zone& zn, std::int64_t& out) -> asio::awaitable<void> {
            for (int i = 0; i < 1'000'000; ++i) {
                out += (co_await answer(zn, 1, true)).value();
            }
        }(z, total),
        asio::detached);
    CHECK(io.poll() < 10);
    CHECK(total == 1'000'000);
}

TEST_CASE("as_awaitable combines with && and ||") {
    using namespace asio::experimental::awaitable_operators;
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "test", {.clock = &clock});
    int total = 0;
    asio::co_spawn(
        io,
        [](zone& zn, int& out) -> asio::awaitable<void> {
            auto [a, b] = co_await (answer(zn, 1, false).as_awaitable() && answer(zn, 2, true).as_awaitable());
            out = a.value() + b.value();
        }(z, total),
        asio::detached);
    clock.run(io);
    CHECK(total == 3);
}

TEST_CASE("a coroutine that was cancelled throws operation_aborted at its next co_await, unless told otherwise") {
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "test", {.clock = &clock});
    for (const bool throws : {true, false}) {
        asio::cancellation_signal signal;
        std::exception_ptr thrown;
        bool second = false;
        asio::co_spawn(
            io,
            [](zone& zn, bool t, bool& done) -> asio::awaitable<void> {
                co_await asio::this_coro::throw_if_cancelled(t);
                auto r = co_await zn.sleep_for(1h);
                CHECK(r.error() == errc::canceled);
                (void)co_await answer(zn, 1, true);
                done = true;
            }(z, throws, second),
            asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr e) { thrown = e; }));
        io.restart();
        io.poll();
        signal.emit(asio::cancellation_type::terminal);
        clock.run(io);
        CHECK(second == !throws);
        CHECK((thrown != nullptr) == throws);
    }
}

}  // namespace
}  // namespace headgate
