// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/strand.hpp>

#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "fixture.hpp"

namespace headgate::test {
namespace {

using task = asio::awaitable<result<void>>;

// The end may be a millisecond late, or a 64th of the time since the deadline. Nobody notices that.
bool about(duration elapsed, duration expected, duration since_the_deadline = 1ms) {
    return elapsed >= expected && elapsed <= expected + std::max<duration>(2ms, since_the_deadline / 32);
}

TEST_CASE_FIXTURE(call_fixture, "deadline: what is bound to the context's slot after it ends at once") {
    for (const bool kept : {false, true}) {
        for (const bool one_thread : {false, true}) {
            CAPTURE(kept);
            call_fixture f(one_thread ? 1 : -1);
            const auto r = f.run(1s, [&](call_context context) -> task {
                const auto slot = context.slot();
                (void)co_await f.z.sleep_for(2s);  // not bound to the slot
                co_return co_await f.z.sleep_for(1h, bound(kept ? slot : context.slot()));
            });
            CHECK(r.error() == errc::timed_out);
            CHECK(f.elapsed() == 2s);
        }
    }
}

TEST_CASE_FIXTURE(call_fixture, "deadline: every further wait ends at once, however many there are") {
    int waits = 0;
    const auto r = run(1s, [&](call_context context) -> task {
        for (; waits < 1000; ++waits) {
            (void)co_await z.sleep_for(1h, bound(context.slot()));
        }
        co_return error(errc::canceled);
    });
    CHECK(r.error() == errc::timed_out);
    CHECK(waits == 1000);
    CHECK(elapsed() == 1s);
}

TEST_CASE_FIXTURE(call_fixture, "deadline: a kept slot that is bound again and again ends each wait soon") {
    int waits = 0;
    const auto r = run(1s, [&](call_context context) -> task {
        const auto slot = context.slot();
        for (; waits < 50; ++waits) {
            (void)co_await z.sleep_for(1h, bound(slot));
        }
        co_return error(errc::canceled);
    });
    CHECK(r.error() == errc::timed_out);
    CHECK(about(elapsed(), 1s, 1s));
}

TEST_CASE_FIXTURE(call_fixture,
                  "deadline: it reaches an operation that is between two waits, or whose wait has just ended") {
    std::mt19937 random(20261126);
    for (int i = 0; i < 600; ++i) {
        const bool kept = i % 2 == 0;
        const auto step = duration(1ms) * (1 + random() % 7);
        const time_point began = clock.now();
        const auto r = run(20ms, [&](call_context context) -> task {
            const auto slot = context.slot();
            while (z.now() - began < 1h) {
                (void)co_await z.sleep_for(
                    step, random() % 2 == 0 ? bound(kept ? slot : context.slot()) : bound(asio::cancellation_slot{}));
                co_await asio::post(asio::use_awaitable);
                if (auto slept = co_await z.sleep_for(step, bound(kept ? slot : context.slot())); !slept) {
                    co_return slept;
                }
            }
            co_return success();
        });
        CHECK(r.error() == errc::timed_out);
        CHECK(clock.now() - began < 20ms + 2 * step + 5ms);
    }
}

TEST_CASE_FIXTURE(call_fixture,
                  "deadline: without a context it reaches a coroutine that has reset its cancellation state") {
    const auto r = run(1s, [&]() -> task {
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        CHECK(co_await z.sleep_for(2s));
        co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
        co_return co_await z.sleep_for(1h);
    });
    CHECK(r.error() == errc::timed_out);
    CHECK(about(elapsed(), 2s, 1s));
}

TEST_CASE_FIXTURE(call_fixture, "deadline: without a context it ends every wait of a coroutine that does not throw") {
    int waits = 0;
    const auto r = run(1s, [&]() -> task {
        co_await asio::this_coro::throw_if_cancelled(false);
        for (; waits < 30; ++waits) {
            CHECK_FALSE(co_await z.sleep_for(1h));
        }
        co_return error(errc::canceled);
    });
    CHECK(r.error() == errc::timed_out);
    CHECK(waits == 30);
    CHECK(about(elapsed(), 1s, 1s));
}

// Starts one wait after another, whatever happens to the wait before.
task patient(zone& z, int waits) {
    co_await asio::this_coro::throw_if_cancelled(false);
    for (int i = 0; i < waits; ++i) {
        (void)co_await z.sleep_for(1h);
    }
    co_return error(errc::canceled);
}

asio::awaitable<void> patient_void(zone& z, int waits) {
    (void)co_await patient(z, waits);
}

TEST_CASE_FIXTURE(call_fixture, "deadline: it reaches coroutines that the operation has spawned, in both forms") {
    using namespace asio::experimental::awaitable_operators;
    const auto with_context = run(1s, [&](call_context context) -> task {
        const auto executor = co_await asio::this_coro::executor;
        co_await asio::co_spawn(executor, patient_void(z, 5), bound(context.slot()));
        co_return error(errc::canceled);
    });
    CHECK(with_context.error() == errc::timed_out);
    CHECK(about(elapsed(), 1s));
    const time_point before = clock.now();
    const auto without = run(1s, [&]() -> task {
        co_await asio::this_coro::throw_if_cancelled(false);
        // A group passes one cancellation on: its two waits end. The next group needs a new cancellation.
        for (int i = 0; i < 5; ++i) {
            co_await (patient_void(z, 1) && patient_void(z, 1));
        }
        co_return error(errc::canceled);
    });
    CHECK(without.error() == errc::timed_out);
    CHECK(about(clock.now() - before, 1s, 1s));
}

TEST_CASE_FIXTURE(call_fixture, "deadline: an operation that ignores it is told of once, and costs little") {
    std::vector<event> events;
    const auto sub = z.on_event([&](const event& e) { events.push_back(e); });
    for (const bool bound_all_the_time : {true, false}) {
        events.clear();
        std::size_t handlers = 0;
        std::optional<result<void>> got;
        // The handler in the slot ignores the cancellation.
        auto op = [&](call_context context) -> task {
            if (bound_all_the_time) {
                context.slot().assign([](asio::cancellation_type) {});
            }
            (void)co_await z.sleep_for(1h);
            co_return success();
        };
        spawn(io, body(z, 1s, op), [&](result<void> r) { got = std::move(r); });
        clock.run_for(io, 2s - 1ns);
        CHECK(events.empty());
        clock.run_for(io, 1ns);
        CHECK(events.size() == 1);
        for (; !got && handlers < 100'000; ++handlers) {
            clock.run_for(io, 1min);
        }
        REQUIRE(got);
        CHECK(got->has_value());  // it has succeeded after all
        CHECK(events.size() == 1);
    }
}

TEST_CASE_FIXTURE(call_fixture, "deadline: after it a call is timed_out unless it has succeeded") {
    const auto later = [&](bool good) {
        return [this, good]() -> asio::awaitable<result<int>> {
            co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
            (void)co_await z.sleep_for(2s);
            if (!good) {
                throw std::runtime_error("too late");
            }
            co_return 7;
        };
    };
    CHECK(run(1s, later(true)).value() == 7);
    const auto failed = run(1s, later(false));
    CHECK(failed.error() == errc::timed_out);
    REQUIRE(failed.error().cause);
    CHECK(failed.error().message().find("too late") != std::string::npos);
    // Exactly at the deadline, whether the operation or the deadline is first.
    const auto at = run(1s, [this](call_context) -> task {
        (void)co_await z.sleep_for(1s);
        co_return errc::operation_failed;
    });
    CHECK(at.error() == errc::timed_out);
}

TEST_CASE_FIXTURE(call_fixture,
                  "deadline: no time left means that the operation does not run; the longest duration is none") {
    bool ran = false;
    const auto op = [&]() -> asio::awaitable<result<int>> {
        ran = true;
        co_return 1;
    };
    auto breaker = circuit_breaker::create(z, "b").value();
    const guard g(breaker);
    const auto finish = [&](auto call) { return test::finish(clock, io, std::move(call)); };
    for (const duration none : {duration::zero(), duration(-1ns), duration(-1ms), duration::min()}) {
        CHECK(run(none, op).error() == errc::wait_timed_out);
        CHECK(finish(breaker.run({.timeout = none}, op)).error() == errc::wait_timed_out);
        CHECK(finish(g.run("k", {.timeout = none}, op)).error() == errc::wait_timed_out);
        CHECK(finish(guard(breaker, guard_options{.timeout = none}).run("k", op)).error() == errc::wait_timed_out);
    }
    CHECK_FALSE(ran);
    CHECK(breaker.snapshot().admitted == 0);
    for (const duration limit : {duration(1ns), duration::max(), duration::max() - 1ns}) {
        CHECK(run(limit, op).value() == 1);
        CHECK(finish(breaker.run({.timeout = limit}, op)).value() == 1);
        CHECK(finish(g.run("k", {.timeout = limit}, op)).value() == 1);
    }
    CHECK(elapsed() == 0s);
    const auto left = [](call_context c) -> asio::awaitable<duration> { co_return c.time_left(); };
    CHECK(run(duration::max(), left).value() == duration::max());
}

template <class Throw>
auto thrower(Throw thrown) {
    return [thrown]() -> asio::awaitable<result<int>> {
        throw thrown;
        co_return 1;
    };
}

TEST_CASE_FIXTURE(call_fixture, "cancelled is one predicate, for results and exceptions of every kind, in both forms") {
    const auto aborted = make_error_code(boost::asio::error::operation_aborted);
    const auto generic = boost::system::errc::make_error_code(boost::system::errc::operation_canceled);
    const auto standard = std::make_error_code(std::errc::operation_canceled);
    for (const duration limit : {duration::max(), duration(1h)}) {
        for (const auto& code :
             {aborted, generic, boost::system::error_code(standard), make_error_code(errc::canceled)}) {
            CAPTURE(code.message());
            const auto given = run(limit, [code]() -> asio::awaitable<result<int>> { co_return error(code); });
            CHECK(is_canceled(given.error()));
            CHECK(outcome_of(given.error()) == call_outcome::neutral);
            CHECK(run(limit, thrower(boost::system::system_error(code))).error() == errc::canceled);
            CHECK(run(limit, thrower(headgate::system_error(error(code)))).error() == errc::canceled);
        }
        CHECK(run(limit, thrower(std::system_error(standard))).error() == errc::canceled);
        CHECK(run(limit, thrower(std::bad_alloc())).error() == errc::out_of_memory);
        CHECK(run(limit, thrower(std::system_error(std::make_error_code(std::errc::io_error)))).error() ==
              errc::operation_failed);
        CHECK(run(limit, thrower(7)).error() == errc::operation_failed);
    }
    error wrapped(errc::operation_failed, std::make_exception_ptr(std::system_error(standard)));
    CHECK(outcome_of(wrapped) == call_outcome::neutral);
    wrapped.cause = std::make_exception_ptr(std::runtime_error("no"));
    CHECK(outcome_of(wrapped) == call_outcome::failure);
}

TEST_CASE("cancellation: all three types of the caller reach the operation, in every form") {
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
        for (int form = 0; form < 6; ++form) {
            CAPTURE(form);
            call_fixture f;
            asio::cancellation_signal signal;
            std::optional<result<void>> got;
            const auto plain = [&]() -> task { co_return co_await f.z.sleep_for(1h); };
            const auto context = [&](call_context) -> task { co_return co_await f.z.sleep_for(1h); };
            const auto token = [&] {
                return asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { got = std::move(r); });
            };
            auto breaker = circuit_breaker::create(f.z, "b").value();
            const guard g(breaker, guard_options{.timeout = 2h});
            const call_options<> limit{.timeout = 2h};
            const auto listening = [&](auto call) -> task {
                co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
                co_await asio::this_coro::throw_if_cancelled(false);
                co_return co_await std::move(call);
            };
            switch (form) {
                case 0: spawn(f.io, listening(with_timeout(f.z, 2h, plain)), token()); break;
                case 1: spawn(f.io, listening(with_timeout(f.z, 2h, context)), token()); break;
                case 2: breaker.async_run(token(), limit, plain); break;
                case 3: breaker.async_run(token(), limit, context); break;
                case 4: g.async_run(token(), "k", plain); break;
                default: g.async_run(token(), "k", context); break;
            }
            f.clock.run_for(f.io, 1s);
            CHECK_FALSE(got);
            signal.emit(type);
            f.clock.run_for(f.io, 0s);
            REQUIRE(got);
            CHECK(got->error() == errc::canceled);
            f.clock.run(f.io);
            CHECK(f.elapsed() == 1s);
            CHECK(breaker.snapshot().failures == 0);
        }
    }
}

TEST_CASE(
    "a call that is destroyed unfinished touches no slot whose signal has gone, and leaves nothing in one that lives") {
    for (const bool signal_goes_first : {true, false}) {
        for (int form = 0; form < 4; ++form) {
            auto token = std::make_shared<int>(0);
            std::optional<asio::cancellation_signal> outliving;
            outliving.emplace();
            {
                virtual_clock clock;
                asio::io_context io;
                zone z(io, "test", {.clock = &clock});
                std::optional<asio::cancellation_signal> inner;
                inner.emplace();
                auto& signal = signal_goes_first ? *inner : *outliving;
                const auto plain = [&z](std::shared_ptr<int>) -> task { co_return co_await z.sleep_for(1h); };
                const auto context = [&z](call_context c, std::shared_ptr<int>) -> task {
                    co_return co_await z.sleep_for(1h, bound(c.slot()));
                };
                // With `spawn`: the handler that `co_spawn` leaves in a slot must not run after the io_context is gone.
                const auto body = [](zone& zn, auto op, std::shared_ptr<int> t) -> task {
                    co_return co_await with_timeout(zn, 2h, op, t);
                };
                const auto detached = [&] { return asio::bind_cancellation_slot(signal.slot(), asio::detached); };
                switch (form) {
                    case 0: spawn(io, body(z, plain, token), detached()); break;
                    case 1: spawn(io, body(z, context, token), detached()); break;
                    case 2: spawn(asio::make_strand(io), body(z, context, token), detached()); break;
                    default:
                        z.sleep_for(1h, asio::bind_cancellation_slot(signal.slot(), [token](const result<void>&) {}));
                }
                clock.run_for(io, 1s);
                CHECK(token.use_count() > 1);
            }
            CHECK(token.use_count() == 1);
            outliving->emit(asio::cancellation_type::terminal);  // after the end it does nothing
        }
    }
}

TEST_CASE("deadline, cancellation, end and destruction in every order") {
    enum class what { end, fire, cancel, destroy };
    const what events[] = {what::end, what::fire, what::cancel, what::destroy};
    for (int form = 0; form < 3; ++form) {
        for (int order = 0; order < 64; ++order) {
            CAPTURE(form);
            CAPTURE(order);
            virtual_clock clock;
            auto token = std::make_shared<int>(0);
            asio::cancellation_signal signal;
            std::optional<asio::io_context> io(std::in_place, form == 2 ? 1 : -1);
            std::optional<zone> z(std::in_place, *io, "test", zone_options{.clock = &clock});
            zone other(*io, "other", {.clock = &clock});
            asio::cancellation_signal finish;  // ends what the operation waits for
            int ended = 0;
            const auto plain = [&other, &finish](std::shared_ptr<int>) -> task {
                auto done = co_await other.sleep_for(10h, bound(finish.slot()));
                co_return done ? done : result<void>(success());
            };
            const auto context = [&other, &finish](call_context, std::shared_ptr<int>) -> task {
                auto done = co_await other.sleep_for(10h, bound(finish.slot()));
                co_return done ? done : result<void>(success());
            };
            const auto listen = [&](auto op) {
                spawn(*io, call_fixture::body(*z, 1s, op, token),
                      asio::bind_cancellation_slot(signal.slot(), [&](const result<void>&) { ++ended; }));
            };
            form == 0 ? listen(plain) : listen(context);
            io->poll();
            // Three of the four events, one after the other. In between either no handler runs, or all ready ones.
            const bool at_once = order % 2 == 0;
            int index = order / 2;
            bool gone = false;
            for (int step = 0; step < 3 && !gone; ++step, index /= 3) {
                switch (events[(index + step) % 4]) {
                    case what::end: finish.emit(asio::cancellation_type::terminal); break;
                    case what::fire:
                        clock.set(clock.now() + 1s);
                        z->core()->wake();
                        break;
                    case what::cancel: signal.emit(asio::cancellation_type::terminal); break;
                    case what::destroy: gone = true; break;
                }
                if (!at_once && !gone) {
                    io->restart();
                    io->poll();
                }
            }
            if (gone) {
                z.reset();
                io.reset();
            } else {
                io->restart();
                io->poll();
                finish.emit(asio::cancellation_type::terminal);
                clock.run_for(*io, 1s);
                CHECK(ended == 1);
            }
            CHECK(ended <= 1);
            CHECK(token.use_count() == 1);
            if (!gone) {
                other.close();
            }
        }
    }
}

TEST_CASE("serial: an operation with a deadline runs on a strand, unless its io_context is for one thread") {
    for (const int threads : {-1, 1, 2}) {
        call_fixture f(threads);
        for (const bool limited : {true, false}) {
            asio::any_io_executor plain, context;
            const duration limit = limited ? duration(1h) : duration::max();
            (void)f.run(limit, [&]() -> task {
                plain = co_await asio::this_coro::executor;
                co_return success();
            });
            (void)f.run(limit, [&](call_context) -> task {
                context = co_await asio::this_coro::executor;
                co_return success();
            });
            const bool strand = threads != 1 && limited;
            CHECK((plain.target<asio::io_context::executor_type>() == nullptr) == strand);
            CHECK((context.target<asio::io_context::executor_type>() == nullptr) == strand);
            CHECK(detail::is_serial(plain) == (strand || threads == 1));
        }
    }
}

TEST_CASE("serial: an io_context at the address of one that was for one thread is asked anew") {
    std::optional<asio::io_context> io;
    for (const int threads : {1, -1, 1, 2}) {
        io.emplace(threads);
        CHECK(detail::is_serial(io->get_executor()) == (threads == 1));
        CHECK(detail::is_serial(asio::make_strand(*io)));
        CHECK(detail::is_serial(detail::make_serial(io->get_executor())));
        CHECK(detail::is_serial(asio::make_strand(asio::any_io_executor(io->get_executor()))));
    }
}

TEST_CASE_FIXTURE(call_fixture, "spawn: in a zone, a coroutine of any kind runs on a strand of its own") {
    asio::any_io_executor first, second;
    int completed = 0;
    const auto note = [&](asio::any_io_executor& out) -> asio::awaitable<void> {
        out = co_await asio::this_coro::executor;
    };
    spawn(z, note(first), [&](const result<void>& r) { completed += r.has_value(); });
    spawn(z, note(second), asio::detached);
    const auto number = []() -> asio::awaitable<int> { co_return 7; };
    spawn(z, number(), [&](const result<int>& r) { completed += r.value() == 7; });
    const auto failing = []() -> asio::awaitable<int> {
        throw std::runtime_error("no");
        co_return 1;
    };
    spawn(z, failing(), [&](const result<int>& r) { completed += r.error() == errc::operation_failed; });
    using strand = asio::strand<asio::io_context::executor_type>;
    const auto typed = []() -> asio::awaitable<result<int>, strand> { co_return 8; };
    spawn(z, typed(), [&](const result<int>& r) { completed += r.value() == 8; });
    auto breaker = circuit_breaker::create(z, "b").value();
    spawn(z, breaker.run(number), [&](const result<int>& r) { completed += r.value() == 7; });
    clock.run(io);
    CHECK(completed == 5);
    REQUIRE(first.target<strand>() != nullptr);
    CHECK(detail::is_serial(first));
    CHECK(first != second);
}

}  // namespace
}  // namespace headgate::test
