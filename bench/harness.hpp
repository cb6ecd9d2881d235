// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BENCH_HARNESS_HPP
#define HEADGATE_BENCH_HARNESS_HPP

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/zone.hpp>

namespace bench {

namespace asio = boost::asio;

/// Does its work `n` times.
using body = std::function<void(std::size_t n)>;

/// One line of the table: `run`, less `minus` where it is given, against `baseline`, all three in turn, pair by pair.
struct row {
    std::string name;
    body run;
    std::string baseline_name;
    body baseline;
    double target = 0;  ///< Largest ratio; 0 for none. Negative: the smallest ratio of throughputs.
    body minus{};
    std::size_t n = 200'000;
    /// Where it is given: a counter of what the row's name says, which `run` must move by `n`, give or take a
    /// hundredth. A row that did something else is an error.
    std::function<std::uint64_t()> count{};
};

/// A line that has no baseline: bytes, or the quantile of a delay.
struct value_row {
    std::string name;
    double value = 0;
    double target = 0;  ///< Largest value; 0 for none.
    std::string unit = "bytes";
};

/// Measures several lines at once. It runs when a filter is a part of its name.
struct study {
    std::string name;
    std::function<std::vector<value_row>()> run;
};

void add(row r);
void add(study s);

/// Heap allocations of this process so far.
std::size_t allocations() noexcept;
/// Bytes of heap in use now, by whichever function they were allocated.
std::size_t heap_bytes() noexcept;

/// Runs the coroutine on a single-threaded io_context until it is done.
void drive(asio::io_context& io, asio::awaitable<void> coroutine);

// Each concept adds its rows.
void add_baselines();
void add_deadlines();
void add_limiter();
void add_pool();
void add_breaker();
void add_guard();
void add_holds();

/// What a primitive of the zone has counted. Throws when there is no such counter.
std::uint64_t counter(const headgate::zone& zone, std::string_view primitive, std::string_view metric);

struct runs_of_calls {
    int runs = 7;
    int calls = 300'000;
};
/// The longest of many calls while `beside` runs on another thread until it is told to end, in the quietest of several
/// runs: what the locks do is in all of them, what the machine does is not.
double longest(const std::function<void()>& call, const std::function<void(std::atomic<bool>& done)>& beside,
               runs_of_calls how = {});
/// Keeps the other thread busy with nothing: what `longest` is without any work beside it.
void only_busy(std::atomic<bool>& done);

/// Half of the work by each of two threads at once.
body on_two_threads(body first, body second);

/// The bare things that rows are measured against.
body clock_now();
body co_await_awaitable();
body co_await_post();

}  // namespace bench

#endif
