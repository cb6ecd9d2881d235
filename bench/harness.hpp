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

#include <headgate/result.hpp>
#include <headgate/zone.hpp>

namespace bench {

namespace asio = boost::asio;

/// Does its work `n` times.
using body = std::function<void(std::size_t n)>;

/// One line of the table: the time of `run`, less that of `minus` if given, against that of `baseline`. The three run
/// in turn, pair by pair.
struct row {
    std::string name;
    body run;
    std::string baseline_name;
    body baseline;
    double target = 0;  ///< Largest ratio; 0 for none. Negative: the smallest ratio of throughputs.
    body minus{};
    std::size_t n = 200'000;
    /// If given: a counter of the operation in the row's name. `run` must raise it by `n`, give or take one percent.
    /// Any other count is an error.
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
/// Bytes of heap in use now, whichever function allocated them.
std::size_t heap_bytes() noexcept;

/// Runs the coroutine on a single-threaded io_context until it is done.
void drive(asio::io_context& io, asio::awaitable<void> coroutine);

// Each concept adds its rows.
void add_baselines();
void add_deadlines();
void add_limiter();
void add_pool();
void add_breaker();
void add_bulkhead();
void add_retry();
void add_hedge();
void add_coalescer();
void add_guard();
void add_holds();

/// The value of a counter of a primitive in the zone. Throws if there is no such counter.
std::uint64_t counter(const headgate::zone& zone, std::string_view primitive, std::string_view metric);

struct runs_of_calls {
    int runs = 7;
    int calls = 300'000;
};
/// The longest of many calls while `beside` runs on another thread until `done` is set. Returns the smallest value of
/// several runs: delays by locks are in all runs, delays by the machine are not.
double longest(const std::function<void()>& call, const std::function<void(std::atomic<bool>& done)>& beside,
               runs_of_calls how = {});
/// Keeps the other thread busy without work: `longest` beside it is the value to compare with.
void only_busy(std::atomic<bool>& done);

/// Two threads at once do half of the work each.
body on_two_threads(body first, body second);

/// The bare operations that are the baselines of rows.
body clock_now();
body co_await_awaitable();
body co_await_result();

/// The operation of `co_await_result`, for what protects it.
asio::awaitable<headgate::result<int>> result_at_once();
body co_await_post();

}  // namespace bench

#endif
