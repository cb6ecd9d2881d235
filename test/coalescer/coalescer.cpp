// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/circuit_breaker.hpp>
#include <headgate/coalescer.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/start.hpp"
#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

const error io_error = error(boost::system::errc::make_error_code(boost::system::errc::io_error));

/// What runs, and how each run ends.
struct backend {
    zone* z = nullptr;
    duration takes = 1s;
    std::optional<error> fails{};
    int begun = 0;
    int ended = 0;
    int cancelled = 0;
};

asio::awaitable<result<int>> ask(call_context context, backend* b) {
    const int mine = ++b->begun;
    const auto slept =
        co_await b->z->sleep_for(b->takes, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable_t<>{}));
    ++b->ended;
    if (!slept) {
        ++b->cancelled;
        co_return slept.error();
    }
    if (b->fails) {
        co_return *b->fails;
    }
    co_return mine;
}
asio::awaitable<int> plainly(backend* b) {
    const int mine = ++b->begun;
    (void)co_await b->z->sleep_for(b->takes);
    ++b->ended;
    co_return mine;
}
asio::awaitable<int> throws(backend* b) {
    ++b->begun;
    (void)co_await b->z->sleep_for(b->takes);
    throw std::runtime_error("broken");
}

/// A caller in its own coroutine, whose end is known, and which can be cancelled.
template <class T>
struct caller {
    asio::cancellation_signal signal;
    std::optional<result<T>> end{};
    time_point ended{};
    int times = 0;
};

struct fixture : headgate::test::zone_fixture {
    backend b{.z = &*z};
    std::deque<caller<int>> callers;

    coalescer<int> make(const coalescer_options& options = {}, std::string name = "reads") {
        return coalescer<int>::create(*z, std::move(name), options).value();
    }
    /// Starts `call`; it cannot be cancelled, so that its operation runs in place.
    template <class Call>
    caller<int>& begin(Call call) {
        auto& c = callers.emplace_back();
        spawn(io.get_executor(), std::move(call), [this, &c](result<int> r) { note(c, std::move(r)); });
        poll();
        return c;
    }
    /// The same with a slot.
    template <class Call>
    caller<int>& begin_cancellable(Call call) {
        auto& c = callers.emplace_back();
        spawn(io.get_executor(), cancellable(std::move(call).as_awaitable()),
              asio::bind_cancellation_slot(c.signal.slot(), [this, &c](result<int> r) { note(c, std::move(r)); }));
        poll();
        return c;
    }
    void note(caller<int>& c, result<int> r) {
        ++c.times;
        c.end.emplace(std::move(r));
        c.ended = clock.now();
    }
    static asio::awaitable<result<int>> cancellable(asio::awaitable<result<int>> call) {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await asio::this_coro::throw_if_cancelled(false);
        co_return co_await std::move(call);
    }
    void poll() {
        io.restart();
        io.poll();
    }
    void pass(duration span) { clock.run_for(io, span); }
    void finish() {
        clock.run(io);
        for (const auto& c : callers) {
            CHECK(c.times == 1);
        }
        CHECK(z->snapshot().operations == 0);
    }
};

TEST_CASE_FIXTURE(fixture, "coalescer: create and find; a name taken, a name unknown, options that are wrong") {
    auto reads = make();
    CHECK(reads.name() == "reads");
    CHECK(coalescer<int>::create(*z, "reads").error() == errc::name_taken);
    CHECK(coalescer<int>::create(*z, "").error() == errc::invalid_argument);
    const auto wrong = coalescer<int>::create(*z, "x", {.keep_for = -1s, .max_kept = 0}).error();
    CHECK(wrong == errc::invalid_argument);
    CHECK(wrong.message().find("keep_for") != std::string::npos);
    CHECK(wrong.message().find("max_kept") != std::string::npos);
    CHECK(coalescer<int>::find(*z, "x").error() == errc::unknown_name);
    CHECK(coalescer<int>::find(*z, "reads").value().core() == reads.core());
    const auto other = coalescer<std::string>::find(*z, "reads").error();
    CHECK(other == errc::unknown_name);
    CHECK(other.message().find("of type int") != std::string::npos);
    CHECK(reads.reconfigure({.max_kept = 0}).error() == errc::invalid_argument);
    CHECK(to_string(z->snapshot().primitives.at(0).kind) == "coalescer");
    z->close();
    CHECK(coalescer<int>::create(*z, "y").error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "coalescer: of many who ask at once, one has its operation run, and all get its result") {
    auto reads = make();
    bool in_place = false;
    SUBCASE("the first one's coroutine runs it") {
        in_place = true;
    }
    SUBCASE("it runs apart") {}
    auto& first = in_place ? begin(reads.run("k", ask, &b)) : begin_cancellable(reads.run("k", ask, &b));
    for (int i = 0; i < 5; ++i) {
        begin(reads.run("k", ask, &b));
        begin_cancellable(reads.run("k", {.timeout = 10s}, ask, &b));
    }
    auto& other = begin(reads.run("other", ask, &b));
    CHECK(b.begun == 2);
    CHECK(reads.snapshot().running == 2);
    CHECK(reads.snapshot().waiting == (in_place ? 10 : 11));
    finish();
    CHECK(first.end->value() == 1);
    CHECK(other.end->value() == 2);
    for (const auto& c : callers) {
        CHECK(c.end->value() == (&c == &other ? 2 : 1));
        CHECK(c.ended == start + 1s);
    }
    const coalescer_snapshot s = reads.snapshot();
    CHECK(s.led == 2);
    CHECK(s.joined == 10);
    CHECK(s.running == 0);
    CHECK(s.waiting == 0);
    CHECK(s.left == 0);
}

TEST_CASE_FIXTURE(fixture, "coalescer: an error is shared, and so is an exception; the next caller asks again") {
    auto reads = make();
    SUBCASE("an error") {
        b.fails = io_error;
        begin(reads.run("k", ask, &b));
        begin(reads.run("k", ask, &b));
        finish();
        CHECK(callers[0].end->error().code == io_error.code);
        CHECK(callers[1].end->error().code == io_error.code);
    }
    SUBCASE("an exception in the first one's coroutine") {
        begin(reads.run("k", throws, &b));
        begin(reads.run("k", throws, &b));
        finish();
        CHECK(callers[0].end->error() == errc::operation_failed);
        CHECK(callers[1].end->error() == errc::operation_failed);
        CHECK_THROWS_AS(std::rethrow_exception(callers[1].end->error().cause), std::runtime_error);
    }
    SUBCASE("an exception apart") {
        begin(reads.run("k", {.timeout = 1min}, throws, &b));
        begin(reads.run("k", throws, &b));
        finish();
        CHECK(callers[0].end->error() == errc::operation_failed);
        CHECK(callers[1].end->error() == errc::operation_failed);
    }
    SUBCASE("an exception before there is a coroutine") {
        const auto at_once = [](backend* of) -> asio::awaitable<int> {
            ++of->begun;
            throw std::runtime_error("at once");
        };
        const auto no_coroutine = [](backend* of) {
            ++of->begun;
            throw std::runtime_error("at once");
            return plainly(of);
        };
        begin(reads.run("k", at_once, &b));
        begin(reads.run("k", {.timeout = 1min}, no_coroutine, &b));
        begin(reads.run("k", no_coroutine, &b));
        finish();
        for (const auto& c : callers) {
            CHECK(c.end->error() == errc::operation_failed);
        }
    }
    CHECK(reads.snapshot().running == 0);
    b.fails.reset();
    b.begun = 0;
    auto& next = begin(reads.run("k", ask, &b));
    finish();
    CHECK(next.end->value() == 1);
}

TEST_CASE_FIXTURE(fixture, "coalescer: a caller that leaves does not end the operation, the last one does") {
    auto reads = make();
    b.takes = 10s;
    auto& first = begin_cancellable(reads.run("k", ask, &b));
    auto& second = begin_cancellable(reads.run("k", ask, &b));
    auto& third = begin(reads.run("k", {.timeout = 3s}, ask, &b));
    first.signal.emit(asio::cancellation_type::terminal);
    poll();
    CHECK(first.end->error() == errc::canceled);
    CHECK(b.ended == 0);
    pass(3s);
    CHECK(third.end->error() == errc::timed_out);
    CHECK(third.ended == start + 3s);
    CHECK(b.ended == 0);
    SUBCASE("and the rest get the result") {
        finish();
        CHECK(second.end->value() == 1);
        CHECK(b.cancelled == 0);
        CHECK(reads.snapshot().left == 2);
        CHECK(reads.snapshot().given_up == 0);
    }
    SUBCASE("the last one leaves") {
        SUBCASE("terminal") {
            second.signal.emit(asio::cancellation_type::terminal);
        }
        SUBCASE("partial") {
            second.signal.emit(asio::cancellation_type::partial);
        }
        SUBCASE("total") {
            second.signal.emit(asio::cancellation_type::total);
        }
        poll();
        CHECK(second.end->error() == errc::canceled);
        CHECK(b.cancelled == 1);
        CHECK(reads.snapshot().left == 3);
        CHECK(reads.snapshot().given_up == 1);
        CHECK(reads.snapshot().running == 0);
        finish();
    }
}

// Ignores its cancellation.
asio::awaitable<int> stubborn(backend* b) {
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    const int mine = ++b->begun;
    (void)co_await b->z->sleep_for(b->takes);
    ++b->ended;
    co_return mine;
}

TEST_CASE_FIXTURE(fixture, "coalescer: nobody joins an operation that was given up, though it still runs") {
    auto reads = make({.keep_for = 1h});
    b.takes = 10s;
    begin_cancellable(reads.run("k", stubborn, &b)).signal.emit(asio::cancellation_type::terminal);
    poll();
    CHECK(callers[0].end->error() == errc::canceled);
    CHECK(reads.snapshot().running == 1);
    CHECK(z->snapshot().operations == 2);  // it, and its sleep
    pass(1s);
    auto& next = begin(reads.run("k", stubborn, &b));
    CHECK(b.begun == 2);
    pass(9s);  // the first one ends, and is not kept
    CHECK(reads.snapshot().kept == 0);
    CHECK_FALSE(next.end);
    pass(1s);
    CHECK(next.end->value() == 2);
    CHECK(reads.snapshot().kept == 1);
    finish();
}

TEST_CASE_FIXTURE(fixture, "coalescer: a time-out that is not positive takes what is kept, and nothing else") {
    auto reads = make({.keep_for = 1min});
    begin(reads.run("k", {.timeout = 0s}, ask, &b));
    CHECK(callers.back().end->error() == errc::wait_timed_out);
    begin(reads.run("k", ask, &b));
    begin(reads.run("k", {.timeout = -1s}, ask, &b));
    CHECK(callers.back().end->error() == errc::wait_timed_out);
    pass(1s);
    begin(reads.run("k", {.timeout = 0s}, ask, &b));
    CHECK(callers.back().end->value() == 1);
    CHECK(b.begun == 1);
    CHECK(reads.snapshot().joined == 0);
    finish();
}

TEST_CASE_FIXTURE(fixture, "coalescer: values and failures are kept for their own times") {
    auto reads = make({.keep_for = 10s, .keep_errors_for = 2s});
    b.takes = 0s;
    CHECK(begin(reads.run("k", ask, &b)).end->value() == 1);
    pass(10s - 1ns);
    CHECK(begin(reads.run("k", ask, &b)).end->value() == 1);
    pass(1ns);
    CHECK(begin(reads.run("k", ask, &b)).end->value() == 2);
    CHECK(reads.snapshot().kept_hits == 1);

    b.fails = io_error;
    CHECK(begin(reads.run("e", ask, &b)).end->error().code == io_error.code);
    CHECK(begin(reads.run("e", ask, &b)).end->error().code == io_error.code);
    CHECK(b.begun == 3);
    pass(2s);
    CHECK(begin(reads.run("e", ask, &b)).end->error().code == io_error.code);
    CHECK(b.begun == 4);

    // A refusal for load says nothing about the key.
    b.fails = error(errc::rate_limited, duration(1s));
    begin(reads.run("r", ask, &b));
    begin(reads.run("r", ask, &b));
    CHECK(b.begun == 6);
    finish();
}

TEST_CASE_FIXTURE(fixture, "coalescer: what is kept is bounded, and the next to go makes room") {
    auto reads = make({.keep_for = 1min, .keep_errors_for = 5s, .max_kept = 3});
    b.takes = 0s;
    b.fails = io_error;
    begin(reads.run("error", ask, &b));
    b.fails.reset();
    for (const int k : {1, 2, 3}) {
        pass(1s);
        begin(reads.run(k, ask, &b));
    }
    CHECK(reads.snapshot().kept == 3);
    CHECK(b.begun == 4);
    for (const int k : {1, 2, 3}) {
        begin(reads.run(k, ask, &b));
    }
    CHECK(b.begun == 4);
    begin(reads.run(4, ask, &b));  // displaces 1
    begin(reads.run(1, ask, &b));  // displaces 2
    CHECK(b.begun == 6);
    begin(reads.run(3, ask, &b));
    CHECK(b.begun == 6);
    CHECK(reads.reconfigure({.keep_for = 1min, .max_kept = 1}));
    CHECK(reads.snapshot().kept == 1);
    CHECK(reads.reconfigure({}));
    CHECK(reads.snapshot().kept == 0);
    finish();
}

TEST_CASE_FIXTURE(fixture, "coalescer: forget has the next caller ask again") {
    auto reads = make({.keep_for = 1min});
    auto& before = begin(reads.run("k", ask, &b));
    auto& with = begin(reads.run("k", ask, &b));
    reads.forget("k");
    auto& after = begin(reads.run("k", ask, &b));
    CHECK(b.begun == 2);
    pass(1s);
    CHECK(before.end->value() == 1);
    CHECK(with.end->value() == 1);
    CHECK(after.end->value() == 2);
    CHECK(reads.snapshot().kept == 1);  // of those two, the second
    CHECK(begin(reads.run("k", ask, &b)).end->value() == 2);
    reads.forget("k");
    reads.forget("never there");
    CHECK(reads.snapshot().kept == 0);
    auto& again = begin(reads.run("k", ask, &b));
    finish();
    CHECK(again.end->value() == 3);
}

TEST_CASE_FIXTURE(fixture, "coalescer: a zone that closes ends those who wait, and gives up what they waited for") {
    auto reads = make();
    auto& apart = begin_cancellable(reads.run("a", ask, &b));
    auto& in_place = begin(reads.run("b", ask, &b));
    auto& joined = begin(reads.run("b", ask, &b));
    auto& forgotten = begin(reads.run("c", {.timeout = 1h}, ask, &b));
    reads.forget("c");
    z->close();
    poll();
    CHECK(apart.end->error() == errc::shut_down);
    CHECK(joined.end->error() == errc::shut_down);
    CHECK(forgotten.end->error() == errc::shut_down);
    CHECK(reads.snapshot().waiting == 0);
    CHECK(begin(reads.run("d", ask, &b)).end->error() == errc::shut_down);
    CHECK(b.begun == 3);
    finish();
    CHECK(b.ended == 3);
    CHECK(in_place.end);
    CHECK(reads.snapshot().running == 0);
}

TEST_CASE_FIXTURE(fixture, "coalescer: drain waits for the operations that run") {
    auto reads = make();
    begin(reads.run("k", ask, &b));
    begin(reads.run("k", ask, &b));
    const auto drained = test::start(io, z->drain(10s, asio::use_awaitable));
    poll();
    CHECK_FALSE(drained->has_value());
    CHECK(begin(reads.run("k", ask, &b)).end->error() == errc::shut_down);
    pass(1s);
    CHECK(drained->value());
    CHECK(callers[1].end->value() == 1);
    finish();
}

TEST_CASE_FIXTURE(fixture, "coalescer: an io_context that goes takes those who wait with it") {
    auto reads = std::make_shared<coalescer<int>>(make({.keep_for = 1h}));
    begin(reads->run("a", ask, &b));
    begin(reads->run("a", ask, &b));
    begin(reads->run("b", {.timeout = 1h}, ask, &b));
    begin(reads->run("c", {.timeout = 1h}, stubborn, &b));
    reads->forget("c");
    z.reset();
    callers.clear();
}

TEST_CASE_FIXTURE(fixture, "coalescer: those who joined an operation that is destroyed with its coroutine are told") {
    auto reads = make();
    auto other = std::make_unique<asio::io_context>(1);
    const auto hang = []() -> asio::awaitable<int> {
        asio::steady_timer never(co_await asio::this_coro::executor, 1h);
        co_await never.async_wait(asio::use_awaitable);
        co_return 1;
    };
    asio::co_spawn(*other, [&]() -> asio::awaitable<void> { (void)co_await reads.run("k", hang); }, asio::detached);
    other->poll();
    auto& joined = begin(reads.run("k", ask, &b));
    CHECK(reads.snapshot().joined == 1);
    other.reset();
    poll();
    CHECK(joined.end->error() == errc::shut_down);
    CHECK(reads.snapshot().running == 0);
    finish();
}

TEST_CASE_FIXTURE(fixture, "coalescer: a caller that its own operation cancels at once leaves") {
    auto reads = make();
    caller<int>* me = nullptr;
    const auto op = [](caller<int>** who, backend* of) {
        (*who)->signal.emit(asio::cancellation_type::total);
        return plainly(of);
    };
    me = &callers.emplace_back();
    spawn(io.get_executor(), cancellable(reads.run("k", op, &me, &b).as_awaitable()),
          asio::bind_cancellation_slot(me->signal.slot(), [&](result<int> r) { note(*me, std::move(r)); }));
    poll();
    CHECK(me->end->error() == errc::canceled);
    CHECK(reads.snapshot().left == 1);
    finish();
}

TEST_CASE_FIXTURE(fixture, "coalescer: a clock that is set back does not keep a result for longer") {
    auto reads = make({.keep_for = 10s});
    b.takes = 0s;
    clock.set(start + 100s);
    CHECK(begin(reads.run("k", ask, &b)).end->value() == 1);
    clock.set(start);
    CHECK(begin(reads.run("k", ask, &b)).end->value() == 1);
    clock.set(start + 10s);
    CHECK(begin(reads.run("k", ask, &b)).end->value() == 2);
    finish();
}

TEST_CASE_FIXTURE(fixture, "coalescer: one object is shared where its type says so") {
    using shared = std::shared_ptr<const std::string>;
    auto reads = coalescer<shared>::create(*z, "texts", {.keep_for = 1min}).value();
    const auto read = [](zone* of) -> asio::awaitable<result<shared>> {
        (void)co_await of->sleep_for(1s);
        co_return std::make_shared<const std::string>("text");
    };
    const auto one = test::start(io, reads.run("k", read, &*z));
    const auto two = test::start(io, reads.run("k", read, &*z));
    clock.run(io);
    const auto three = test::start(io, reads.run("k", read, &*z));
    clock.run(io);
    CHECK(*one->value().value() == "text");
    CHECK(one->value().value() == two->value().value());
    CHECK(one->value().value() == three->value().value());
    CHECK(one->value().value().use_count() == 4);
    reads.forget("k");
    CHECK(one->value().value().use_count() == 3);
}

TEST_CASE_FIXTURE(fixture, "coalescer: what gives nothing is coalesced too") {
    auto refresh = coalescer<void>::create(*z, "refresh").value();
    const auto op = [](backend* of) -> asio::awaitable<void> {
        ++of->begun;
        (void)co_await of->z->sleep_for(1s);
    };
    const auto one = test::start(io, refresh.run(1, op, &b));
    const auto two = test::start(io, refresh.run(1, op, &b));
    clock.run(io);
    CHECK(one->value());
    CHECK(two->value());
    CHECK(b.begun == 1);
}

TEST_CASE_FIXTURE(fixture, "coalescer: a breaker in front of what it runs sees one call") {
    auto reads = make();
    auto breaker = circuit_breaker::create(*z, "b").value();
    const auto guarded = [](circuit_breaker* through, backend* of) -> asio::awaitable<result<int>> {
        co_return co_await through->run(ask, of);
    };
    for (int i = 0; i < 4; ++i) {
        begin(reads.run("k", guarded, &breaker, &b));
    }
    finish();
    CHECK(z->snapshot().primitives.at(0)["successes"] == 1);
}

// Random callers, ends, leaves, forgets and changes of options, against a model that knows only what a user knows.
TEST_CASE_FIXTURE(fixture, "coalescer: agrees with a slow model in random histories") {
    struct running {
        int id = 0;
        time_point ends{};
        bool joinable = true;
        int callers = 0;
    };
    struct kept {
        int id = 0;
        time_point until{};
    };
    struct expected {
        caller<int>* who = nullptr;
        running* of = nullptr;
        int value = 0;  // or an error
        errc why{};
        bool gone = false;
    };
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const duration keep = 5s;
    auto reads = make({.keep_for = keep, .max_kept = 1'000});
    b.takes = 3s;
    std::map<int, kept> known;
    std::deque<running> flights;
    std::map<int, running*> current;
    std::deque<expected> all;
    const auto settle = [&] {
        for (running& f : flights) {
            if (f.callers != 0 && f.ends <= clock.now()) {
                for (expected& e : all) {
                    if (e.of == &f && !e.gone) {
                        e.gone = true;
                        e.value = f.id;
                    }
                }
                f.callers = 0;
            }
        }
        for (auto it = current.begin(); it != current.end();) {
            running& f = *it->second;
            if (f.ends <= clock.now() && f.joinable) {
                known[it->first] = {f.id, f.ends + keep};
            }
            it = f.ends <= clock.now() || !f.joinable ? current.erase(it) : std::next(it);
        }
    };
    for (int turn = 0; turn < 3'000; ++turn) {
        const int k = static_cast<int>(random() % 4);
        switch (random() % 8) {
            case 0:
            case 1:
            case 2:
            case 3: {
                expected& e = all.emplace_back();
                const auto found = known.find(k);
                if (found != known.end() && clock.now() < found->second.until) {
                    e.value = found->second.id;
                    e.gone = true;
                } else {
                    running*& f = current[k];
                    if (f == nullptr) {
                        f = &flights.emplace_back(running{b.begun + 1, clock.now() + b.takes});
                    }
                    ++f->callers;
                    e.of = f;
                }
                e.who = &begin_cancellable(reads.run(k, ask, &b));
                break;
            }
            case 4: {
                std::vector<expected*> there;
                for (expected& e : all) {
                    if (!e.gone) {
                        there.push_back(&e);
                    }
                }
                if (!there.empty()) {
                    expected& e = *there[random() % there.size()];
                    e.gone = true;
                    e.why = errc::canceled;
                    if (--e.of->callers == 0) {
                        e.of->joinable = false;
                        std::erase_if(current, [&](const auto& c) { return c.second == e.of; });
                    }
                    e.who->signal.emit(asio::cancellation_type::terminal);
                    poll();
                }
                break;
            }
            case 5:
                if (random() % 4 == 0) {
                    reads.forget(k);
                    known.erase(k);
                    current.erase(k);
                }
                break;
            default: pass(duration(500ms) * (random() % 4)); break;
        }
        settle();
        for (expected& e : all) {
            REQUIRE(e.who->end.has_value() == e.gone);
            if (e.gone) {
                REQUIRE(e.who->times == 1);
                REQUIRE((e.why == errc{} ? e.who->end->has_value() && e.who->end->value() == e.value
                                         : e.who->end->has_error() && e.who->end->error() == e.why));
            }
        }
        while (!all.empty() && all.front().gone) {
            all.pop_front();
        }
    }
    finish();
}

}  // namespace
}  // namespace headgate
