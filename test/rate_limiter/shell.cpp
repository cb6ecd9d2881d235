// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/rate_limiter.hpp>

#include <doctest/doctest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include <headgate/spawn.hpp>

#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct fixture : headgate::test::zone_fixture {
    rate_limiter make(std::uint64_t permits, duration period, std::uint64_t burst, std::uint32_t max_waiters = 1024) {
        return rate_limiter::create(
                   *z, "limiter",
                   rate_limiter_options{.tiers = {{"default", {quota::per(permits, period, burst).value()}}},
                                        .max_waiters = max_waiters})
            .value();
    }
};

TEST_CASE_FIXTURE(fixture,
                  "15 updates of one user at 10 a minute give 10 grants and 5 refusals; another user is untouched") {
    auto limiter = rate_limiter::create(*z, "config_update", quota::per(10, 1min).value()).value();
    int granted = 0;
    for (int i = 0; i < 15; ++i) {
        const auto r = limiter.try_acquire("alice");
        if (r) {
            ++granted;
            CHECK(r.value().limit() == 10);
            CHECK(r.value().remaining() == static_cast<std::uint64_t>(9 - i));
        } else {
            CHECK(r.error() == errc::rate_limited);
            CHECK(r.error().retry_after == 6s);
        }
    }
    CHECK(granted == 10);
    CHECK(limiter.try_acquire("bob"));
    CHECK(limiter.snapshot().granted == 11);
    CHECK(limiter.snapshot().refused == 5);
}

TEST_CASE_FIXTURE(fixture, "acquire is granted at once in a coroutine, or waits exactly as long as it must") {
    auto limiter = make(1, 1s, 1);
    std::vector<duration> at;
    spawn(
        io,
        [](fixture& f, rate_limiter l, std::vector<duration>& out) -> asio::awaitable<result<void>> {
            for (int i = 0; i < 4; ++i) {
                BOOST_OUTCOME_CO_TRY(auto granted, co_await l.acquire("k", {.max_wait = 1min}));
                (void)granted;
                out.push_back(f.elapsed());
            }
            co_return success();
        }(*this, limiter, at),
        [](result<void> r) { CHECK(r); });
    clock.run(io);
    CHECK(at == std::vector<duration>{0s, 1s, 2s, 3s});
    CHECK(limiter.snapshot().refused == 0);
    CHECK(limiter.snapshot().granted == 4);
}

TEST_CASE_FIXTURE(fixture, "acquire with no max_wait refuses at once, plainly and with a token") {
    auto limiter = make(1, 1s, 1);
    CHECK(limiter.try_acquire("k"));
    std::optional<result<grant>> plain, token;
    spawn(
        io, [](rate_limiter l) -> asio::awaitable<result<grant>> { co_return co_await l.acquire("k"); }(limiter),
        [&](result<grant> r) { plain = r; });
    limiter.acquire("k", [&](result<grant> r) { token = r; });
    CHECK_FALSE(token);
    clock.run(io);
    CHECK(plain->error() == errc::rate_limited);
    CHECK(token->error() == errc::rate_limited);
    CHECK(token->error().retry_after == 1s);
    CHECK(elapsed() == 0s);
    CHECK(limiter.snapshot().refused == 2);
}

TEST_CASE_FIXTURE(fixture, "waiters of a key are served in FIFO order, and other keys pass by") {
    auto limiter = make(1, 1s, 1);
    std::vector<int> order;
    CHECK(limiter.try_acquire("k"));
    for (int i = 0; i < 5; ++i) {
        limiter.acquire("k", {.max_wait = 1min}, [&, i](result<grant> r) {
            CHECK(r);
            CHECK(elapsed() == (i + 1) * 1s);
            order.push_back(i);
        });
    }
    CHECK(limiter.try_acquire("other"));
    CHECK(limiter.snapshot().waiting == 5);
    clock.run(io);
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
    CHECK(limiter.snapshot().waiting == 0);
}

TEST_CASE_FIXTURE(fixture, "while a key has waiters try_acquire refuses, with a retry_after that counts them") {
    auto limiter = make(1, 1s, 2);
    CHECK(limiter.try_acquire("k", {.cost = 2}));
    int granted = 0;
    for (int i = 0; i < 3; ++i) {
        limiter.acquire("k", {.max_wait = 1min}, [&](result<grant> r) { granted += r.has_value(); });
    }
    const auto refused = limiter.try_acquire("k");
    CHECK(refused.error() == errc::rate_limited);
    CHECK(refused.error().retry_after == 4s);
    clock.run_for(io, 3s);
    CHECK(granted == 3);
    CHECK(limiter.try_acquire("k").error().retry_after == 1s);
    clock.run_for(io, 1s);
    CHECK(limiter.try_acquire("k"));
}

TEST_CASE_FIXTURE(fixture, "keys beside one that has waiters are decided as ever, in the smallest table too") {
    auto limiter =
        rate_limiter::create(
            *z, "limiter", rate_limiter_options{.tiers = {{"default", {quota::per(1, 1s).value()}}}, .max_keys = 4096})
            .value();
    CHECK(limiter.try_acquire(-1));
    limiter.acquire(-1, {.max_wait = 1min}, [](result<grant> r) { CHECK(r); });
    for (int other = 0; other < 1000; ++other) {
        CHECK(limiter.try_acquire(other));
        CHECK(limiter.try_acquire(other).error().retry_after == 1s);
    }
    clock.run(io);
}

TEST_CASE_FIXTURE(fixture, "a big-cost head is not starved by small-cost followers") {
    auto limiter = make(1, 1s, 5);
    CHECK(limiter.try_acquire("k", {.cost = 5}));
    std::vector<std::pair<int, duration>> log;
    limiter.acquire("k", {.cost = 5, .max_wait = 1min}, [&](result<grant>) { log.emplace_back(5, elapsed()); });
    limiter.acquire("k", {.cost = 1, .max_wait = 1min}, [&](result<grant>) { log.emplace_back(1, elapsed()); });
    clock.run(io);
    CHECK(log == std::vector<std::pair<int, duration>>{{5, 5s}, {1, 6s}});
}

TEST_CASE_FIXTURE(fixture, "cancellation in the queue, of each type, moves the followers up and costs nothing") {
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
        auto limiter = rate_limiter::create(*z, "limiter" + std::to_string(static_cast<unsigned>(type)),
                                            quota::per(1, 1s, 5).value())
                           .value();
        const auto began = clock.now();
        CHECK(limiter.try_acquire("k", {.cost = 5}));
        asio::cancellation_signal signal;
        std::optional<result<grant>> cancelled;
        std::optional<duration> follower;
        limiter.acquire("k", {.cost = 5, .max_wait = 1min},
                        asio::bind_cancellation_slot(signal.slot(), [&](result<grant> r) { cancelled = r; }));
        limiter.acquire("k", {.max_wait = 1min}, [&](result<grant> r) {
            CHECK(r);
            follower = clock.now() - began;
        });
        clock.run_for(io, 2s);
        CHECK_FALSE(follower);
        signal.emit(type);
        clock.run_for(io, 0s);
        CHECK(cancelled->error() == errc::canceled);
        CHECK(follower == 2s);
        CHECK(limiter.inspect("k").tightest.remaining == 1);
    }
}

TEST_CASE_FIXTURE(fixture, "a deadline sooner than any possible grant is refused at once as rate_limited") {
    auto limiter = make(1, 10s, 1);
    CHECK(limiter.try_acquire("k"));
    std::optional<result<grant>> got;
    limiter.acquire("k", {.max_wait = 9s}, [&](result<grant> r) { got = r; });
    clock.run(io);
    CHECK(got->error() == errc::rate_limited);
    CHECK(got->error().retry_after == 10s);
    CHECK(elapsed() == 0s);
}

TEST_CASE_FIXTURE(
    fixture,
    "a waiter whose deadline passes gets wait_timed_out at that moment, one whose turn comes then is granted") {
    auto limiter = make(1, 10s, 1);
    CHECK(limiter.try_acquire("k"));
    std::optional<result<grant>> first, second;
    std::optional<duration> second_at;
    limiter.acquire("k", {.max_wait = 10s}, [&](result<grant> r) { first = r; });
    limiter.acquire("k", {.max_wait = 15s}, [&](result<grant> r) {
        second = r;
        second_at = elapsed();
    });
    clock.run(io);
    CHECK(first->has_value());
    CHECK(second->error() == errc::wait_timed_out);
    CHECK(second_at == 15s);
}

TEST_CASE_FIXTURE(fixture, "max_waiters bounds the queue of a key with queue_full and a retry_after") {
    auto limiter = make(1, 1s, 1, 2);
    CHECK(limiter.try_acquire("k"));
    std::vector<errc> refused;
    duration retry_after{};
    for (int i = 0; i < 3; ++i) {
        limiter.acquire("k", {.max_wait = 1min}, [&](result<grant> r) {
            if (!r) {
                CHECK(r.error() == errc::queue_full);
                retry_after = r.error().retry_after;
                refused.push_back(errc::queue_full);
            }
        });
    }
    clock.run(io);
    CHECK(refused.size() == 1);
    CHECK(retry_after == 3s);
}

TEST_CASE_FIXTURE(fixture, "a cost of zero, a cost above the burst and an unknown tier are errors at once") {
    auto limiter = make(1, 1s, 3);
    CHECK(limiter.try_acquire("k", {.cost = 0}).error() == errc::invalid_argument);
    CHECK(limiter.try_acquire("k", {.cost = 4}).error() == errc::cost_exceeds_limit);
    CHECK(limiter.try_acquire("k", {.tier = "gold"}).error().message().find("gold") != std::string::npos);
    int called = 0;
    for (const acquire_options& o :
         {acquire_options{.cost = 0, .max_wait = 1s}, acquire_options{.cost = 4, .max_wait = 1s},
          acquire_options{.max_wait = 1s, .tier = "gold"}}) {
        limiter.acquire("k", o, [&](result<grant> r) {
            CHECK((r.error() == errc::invalid_argument || r.error() == errc::cost_exceeds_limit));
            ++called;
        });
    }
    clock.run(io);
    CHECK(called == 3);
    CHECK(elapsed() == 0s);
}

TEST_CASE_FIXTURE(fixture, "quota::none refuses always, with cost_exceeds_limit") {
    auto limiter = rate_limiter::create(*z, "none", quota::none()).value();
    CHECK(limiter.try_acquire("k").error() == errc::cost_exceeds_limit);
}

TEST_CASE_FIXTURE(fixture, "a call may name a tier of its limiter; the state converts") {
    auto limiter = rate_limiter::create(*z, "tiers",
                                        rate_limiter_options{.tiers = {{"free", {quota::per(10, 10s).value()}},
                                                                       {"gold", {quota::per(100, 10s).value()}}}})
                       .value();
    CHECK(limiter.try_acquire("k", {.cost = 5}));
    const auto gold = limiter.try_acquire("k", {.tier = "gold"});
    CHECK(gold.value().remaining() == 94);
    CHECK(limiter.inspect("k").tier == "gold");
}

TEST_CASE_FIXTURE(fixture, "inspect tells what is used and changes nothing; reset makes the next call the first") {
    auto limiter = rate_limiter::create(
                       *z, "limiter",
                       rate_limiter_options{.tiers = {{"default", {quota::per(10, 10s).value()}}}, .track_keys = true})
                       .value();
    CHECK_FALSE(limiter.inspect("k").known);
    CHECK(limiter.inspect("k").tightest.remaining == 10);
    CHECK_FALSE(limiter.forget("k"));
    CHECK(limiter.try_acquire("k", {.cost = 10}));
    CHECK_FALSE(limiter.try_acquire("k"));
    const auto info = limiter.inspect("k");
    CHECK(info.known);
    CHECK(info.tightest.used == 10);
    CHECK(info.tightest.reset_after == 10s);
    CHECK(info.created == start);
    CHECK(info.refused == 1);
    CHECK(limiter.forget("k"));
    CHECK(limiter.try_acquire("k", {.cost = 10}));
}

TEST_CASE_FIXTURE(fixture, "reset serves those who wait for the key") {
    auto limiter = make(1, 1h, 1);
    CHECK(limiter.try_acquire("k"));
    std::optional<result<grant>> got;
    limiter.acquire("k", {.max_wait = 2h}, [&](result<grant> r) { got = r; });
    clock.run_for(io, 1s);
    CHECK_FALSE(got);
    CHECK(limiter.forget("k"));
    clock.run_for(io, 0s);
    REQUIRE(got);
    CHECK(got->has_value());
}

TEST_CASE_FIXTURE(fixture, "a live change of a quota serves those whom it lets pass, and keeps what was used") {
    auto limiter = make(1, 1h, 1);
    CHECK(limiter.try_acquire("k"));
    std::optional<duration> at;
    limiter.acquire("k", {.max_wait = 2h}, [&](result<grant> r) {
        CHECK(r);
        at = elapsed();
    });
    clock.run_for(io, 1s);
    CHECK(limiter.reconfigure({.tiers = {{"default", {quota::per(60, 1h, 1).value()}}}}));
    clock.run(io);
    REQUIRE(at);
    CHECK(*at > 50s);
    CHECK(*at <= 61s);
    CHECK(limiter.reconfigure({}).error() == errc::invalid_argument);
}

TEST_CASE_FIXTURE(fixture, "a live change of a limiter takes max_waiters, and says what must stay") {
    const rate_limiter_options made{.tiers = {{"default", {quota::per(1, 1h).value()}}}, .max_keys = 64};
    auto limiter = rate_limiter::create(*z, "small", made).value();
    const auto refusal = [&](const auto& change) {
        rate_limiter_options o = made;
        change(o);
        const auto r = limiter.reconfigure(o);
        return r ? std::string("accepted") : *r.error().detail;
    };
    CHECK(refusal([](auto& o) { o.max_keys = 65; }) ==
          "max_keys is 65; it must stay 64, which the limiter was made with");
    CHECK(refusal([](auto& o) { o.track_keys = true; }) ==
          "track_keys is true; it must stay false, which the limiter was made with");
    CHECK(refusal([](auto& o) { o.busiest = 3; }) == "busiest is 3; it must stay 0, which the limiter was made with");
    CHECK(limiter.try_acquire("k"));
    int refused = 0;
    const auto is_refused = [&] {
        const int before = refused;
        limiter.acquire("k", {.max_wait = 24h},
                        [&](result<grant> r) { refused += r.has_error() && r.error() == errc::queue_full ? 1 : 0; });
        clock.run_for(io, 0s);
        return refused > before;
    };
    CHECK_FALSE(is_refused());
    CHECK(refusal([](auto& o) { o.max_waiters = 1; }) == "accepted");
    CHECK(is_refused());
    CHECK(refusal([](auto& o) { o.max_waiters = 2; }) == "accepted");
    CHECK_FALSE(is_refused());
    z->close();
    clock.run(io);
}

TEST_CASE_FIXTURE(fixture, "names: taken, unknown, empty; two zones with the same names share nothing") {
    auto limiter = make(1, 1s, 1);
    CHECK(rate_limiter::create(*z, "limiter", quota::none()).error() == errc::name_taken);
    CHECK(rate_limiter::create(*z, "", quota::none()).error() == errc::invalid_argument);
    CHECK(rate_limiter::create(*z, "x", rate_limiter_options{}).error() == errc::invalid_argument);
    CHECK(rate_limiter::find(*z, "nobody").error() == errc::unknown_name);
    CHECK(rate_limiter::find(*z, "nobody").error().message().find("nobody") != std::string::npos);
    auto found = rate_limiter::find(*z, "limiter").value();
    CHECK(limiter.try_acquire("k"));
    CHECK_FALSE(found.try_acquire("k"));
    zone other(io, "test", {.clock = &clock});
    auto same = rate_limiter::create(other, "limiter", quota::per(1, 1s).value()).value();
    CHECK(same.try_acquire("k"));
    CHECK(z->snapshot().primitives.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "close ends the waiters with shut_down, and refuses what comes after") {
    auto limiter = make(1, 1h, 1);
    CHECK(limiter.try_acquire("k"));
    std::optional<result<grant>> got;
    limiter.acquire("k", {.max_wait = 2h}, [&](result<grant> r) { got = r; });
    clock.run_for(io, 1s);
    z->close();
    clock.run(io);
    CHECK(got->error() == errc::shut_down);
    CHECK(limiter.try_acquire("k").error() == errc::shut_down);
    std::optional<result<grant>> late;
    limiter.acquire("k", {.max_wait = 2h}, [&](result<grant> r) { late = r; });
    clock.run(io);
    CHECK(late->error() == errc::shut_down);
    CHECK(elapsed() == 1s);
}

TEST_CASE_FIXTURE(fixture, "every documented completion token works") {
    auto limiter = make(1'000'000, 1s, 1'000'000);
    int called = 0;
    limiter.acquire("k", [&](result<grant> r) { called += r.has_value(); });
    limiter.acquire("k", asio::detached);
    auto future = limiter.acquire("k", asio::use_future);
    limiter.acquire("k", asio::deferred)([&](result<grant> r) { called += r.has_value(); });
    limiter.acquire("k", asio::as_tuple([&](std::tuple<result<grant>> r) { called += std::get<0>(r).has_value(); }));
    asio::cancellation_signal signal;
    limiter.acquire("k",
                    asio::bind_cancellation_slot(signal.slot(), [&](result<grant> r) { called += r.has_value(); }));
    asio::co_spawn(
        io,
        [](rate_limiter l, int& count) -> asio::awaitable<void> {
            count += (co_await l.acquire("k", asio::use_awaitable)).has_value();
            count += (co_await l.acquire("k", asio::deferred)).has_value();
            auto [r] = co_await l.acquire("k", asio::as_tuple(asio::use_awaitable));
            count += r.has_value();
        }(limiter, called),
        asio::detached);
    CHECK(called == 0);
    clock.run(io);
    CHECK(called == 7);
    CHECK(future.get().has_value());
}

TEST_CASE_FIXTURE(fixture, "a completion runs on the handler's associated executor") {
    auto limiter = make(1, 1s, 1);
    asio::thread_pool pool(1);
    std::thread::id where;
    CHECK(limiter.try_acquire("k"));
    limiter.acquire("k", {.max_wait = 5s}, asio::bind_executor(pool.get_executor(), [&](result<grant>) {
                        where = std::this_thread::get_id();
                    }));
    clock.run(io);
    pool.join();
    CHECK(where != std::thread::id{});
    CHECK(where != std::this_thread::get_id());
}

TEST_CASE_FIXTURE(fixture,
                  "past max_keys new keys share one bucket and an event says so, once, and once when there is room") {
    auto limiter = rate_limiter::create(
                       *z, "limiter",
                       rate_limiter_options{.tiers = {{"default", {quota::per(1, 1min).value()}}}, .max_keys = 2048})
                       .value();
    std::vector<event_kind> events;
    const auto listening = z->on_event([&](const event& e) {
        CHECK(e.name == "limiter");
        events.push_back(e.kind);
    });
    int granted = 0;
    for (int i = 0; i < 5000; ++i) {
        granted += limiter.try_acquire(i).has_value();
    }
    CHECK(granted == 2049);
    CHECK(limiter.snapshot().keys <= 2048);
    io.poll();
    CHECK(events == std::vector<event_kind>{event_kind::keys_overflowed});
    clock.run(io);
    CHECK(events == std::vector<event_kind>{event_kind::keys_overflowed, event_kind::keys_recovered});
    CHECK(limiter.snapshot().keys < 1024);
}

TEST_CASE("destroying handle, zone and io_context in every order with waiters pending leaks nothing") {
    for (int order = 0; order < 6; ++order) {
        virtual_clock clock;
        auto token = std::make_shared<int>(0);
        std::optional<asio::io_context> io(std::in_place);
        std::optional<zone> z(std::in_place, *io, "test", zone_options{.clock = &clock});
        std::optional<rate_limiter> limiter(rate_limiter::create(*z, "l", quota::per(1, 1h).value()).value());
        CHECK(limiter->try_acquire("k"));
        limiter->acquire("k", {.max_wait = 2h}, [token](result<grant>) { FAIL("called"); });
        asio::co_spawn(
            *io,
            [](rate_limiter l, std::shared_ptr<int>) -> asio::awaitable<void> {
                (void)co_await l.acquire("k", {.max_wait = 2h});
            }(*limiter, token),
            asio::detached);
        io->poll();
        CHECK(token.use_count() == 3);
        const int sequences[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        for (const int step : sequences[order]) {
            switch (step) {
                case 0: limiter.reset(); break;
                case 1: z.reset(); break;
                default: io.reset(); break;
            }
        }
        CHECK(token.use_count() == 1);
    }
}

TEST_CASE_FIXTURE(fixture,
                  "state saved at stop and loaded at start gives the same answers; a foreign file changes nothing") {
    const std::string path = "/tmp/headgate-limiter-" + std::to_string(::getpid());
    auto limiter = make(10, 1min, 10);
    CHECK(limiter.try_acquire("k", {.cost = 7}));
    CHECK(limiter.save(path));
    struct stat info{};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    zone other(io, "other", {.clock = &clock});
    auto loaded = rate_limiter::create(other, "limiter", quota::per(10, 1min).value()).value();
    CHECK(loaded.load(path));
    CHECK(loaded.inspect("k").tightest.remaining == 3);
    std::ofstream(path) << "not ours";
    zone third(io, "third", {.clock = &clock});
    auto fresh = rate_limiter::create(third, "limiter", quota::per(10, 1min).value()).value();
    const auto refused = fresh.load(path);
    CHECK(refused.error() == errc::invalid_snapshot);
    CHECK(refused.error().message().find(path) != std::string::npos);
    CHECK(fresh.try_acquire("k", {.cost = 10}));
    ::unlink(path.c_str());
}

TEST_CASE_FIXTURE(fixture, "limiter: the busiest keys are told with their text, by every way to ask") {
    auto limiter =
        rate_limiter::create(*z, "limiter", {.tiers = {{"default", {quota::per(2, 1min).value()}}}, .busiest = 2})
            .value();
    for (int i = 0; i < 5; ++i) {
        (void)limiter.try_acquire(key("tenant", 7));
    }
    asio::co_spawn(
        io,
        [](rate_limiter l) -> asio::awaitable<void> {
            for (int i = 0; i < 3; ++i) {
                (void)co_await l.acquire("bob");
            }
        }(limiter),
        asio::detached);
    clock.run(io);
    const auto busy = limiter.snapshot().busiest;
    REQUIRE(busy.size() == 2);
    CHECK(busy[0].text == "tenant:7");
    CHECK(busy[0].count == 5);
    CHECK(busy[1].text == "bob");
    CHECK(busy[1].count == 3);
}

TEST_CASE_FIXTURE(fixture, "limiter: busiest is bounded") {
    const auto made =
        rate_limiter::create(*z, "limiter", {.tiers = {{"default", {quota::per(2, 1min).value()}}}, .busiest = 1001});
    REQUIRE_FALSE(made);
    CHECK(made.error() == errc::invalid_argument);
    CHECK(*made.error().detail == "busiest is 1001; it must be 0 to 1000");
}

}  // namespace
}  // namespace headgate
