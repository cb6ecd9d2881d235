// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <benchmark/benchmark.h>

#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <boost/version.hpp>

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "harness.hpp"

namespace {

std::atomic<std::size_t> allocation_count{0};

}  // namespace

// Asio allocates its frames and handlers with aligned_alloc, not with operator new. So the benchmark counts both.
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
    ++allocation_count;
    return ::memalign(alignment, size);
}

void* operator new(std::size_t size) {
    void* p = std::malloc(size);
    if (p == nullptr) {
        throw std::bad_alloc();
    }
    ++allocation_count;
    return p;
}

void* operator new(std::size_t size, std::align_val_t alignment) {
    void* p = ::memalign(static_cast<std::size_t>(alignment), size);
    if (p == nullptr) {
        throw std::bad_alloc();
    }
    ++allocation_count;
    return p;
}

// Not inlined, so that g++ does not see free() release memory from an operator new.
[[gnu::noinline]] void operator delete(void* p) noexcept {
    std::free(p);
}

void operator delete(void* p, std::size_t) noexcept {
    operator delete(p);
}

void operator delete(void* p, std::align_val_t) noexcept {
    operator delete(p);
}

void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    operator delete(p);
}

namespace bench {

namespace {

std::vector<row>& rows() {
    static std::vector<row> all;
    return all;
}

std::vector<study>& studies() {
    static std::vector<study> all;
    return all;
}

constexpr int pairs = 15;

double nanoseconds(const body& b, std::size_t n) {
    const auto start = std::chrono::steady_clock::now();
    b(n);
    return static_cast<double>((std::chrono::steady_clock::now() - start).count()) / static_cast<double>(n);
}

double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

/// Throws if the row's operation did not happen `n` times: such a figure is worse than none.
void prove(const row& r, std::uint64_t counted) {
    if (std::abs(static_cast<double>(counted) - static_cast<double>(r.n)) > static_cast<double>(r.n) / 100) {
        throw std::runtime_error(r.name + " did what it measures " + std::to_string(counted) + " times, not " +
                                 std::to_string(r.n));
    }
}

nlohmann::json measure(const row& r) {
    r.run(r.n);
    r.baseline(r.n);
    std::vector<double> ns, base, ratio;
    const std::size_t before = allocations();
    const std::uint64_t counted = r.count ? r.count() : 0;
    r.run(r.n);
    if (r.count) {
        prove(r, r.count() - counted);
    }
    const double allocs = static_cast<double>(allocations() - before) / static_cast<double>(r.n);
    for (int i = 0; i < pairs; ++i) {
        const double baseline = nanoseconds(r.baseline, r.n);
        const double minus = r.minus ? nanoseconds(r.minus, r.n) : 0;
        ns.push_back(nanoseconds(r.run, r.n) - minus);
        base.push_back(baseline);
        ratio.push_back(r.target < 0 ? baseline / ns.back() : ns.back() / baseline);
    }
    const auto [low, high] = std::minmax_element(ns.begin(), ns.end());
    const double m = median(ratio);
    const bool met = r.target == 0 || (r.target < 0 ? m >= -r.target : m <= r.target);
    std::printf("%-52s %9.1f %7.1f..%-8.1f %7.4f %6.2f x %-40s %s\n", r.name.c_str(), median(ns), *low, *high, allocs,
                m, r.baseline_name.c_str(),
                r.target == 0 ? ""
                              : (std::string(r.target < 0 ? ">= " : "<= ") +
                                 std::to_string(std::abs(r.target)).substr(0, 4) + (met ? " met" : " MISSED"))
                                    .c_str());
    std::fflush(stdout);
    return {{"name", r.name},
            {"ns", median(ns)},
            {"spread", *high - *low},
            {"allocs", allocs},
            {"baseline", r.baseline_name},
            {"baseline_ns", median(base)},
            {"ratio", m},
            {"target", r.target},
            {"met", met}};
}

asio::awaitable<int> at_once() {
    co_return 1;
}

std::string processor() {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);) {
        if (line.starts_with("model name")) {
            return line.substr(line.find(':') + 2);
        }
    }
    return "unknown";
}

}  // namespace

void add(row r) {
    rows().push_back(std::move(r));
}

void add(study s) {
    studies().push_back(std::move(s));
}

std::size_t allocations() noexcept {
    return allocation_count;
}

std::size_t heap_bytes() noexcept {
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

std::uint64_t counter(const headgate::zone& zone, std::string_view primitive, std::string_view metric) {
    for (const auto& p : zone.snapshot().primitives) {
        for (const auto& m : p.metrics) {
            if (p.name == primitive && m.name == metric) {
                return static_cast<std::uint64_t>(m.value);
            }
        }
    }
    throw std::runtime_error("there is no " + std::string(metric) + " of " + std::string(primitive));
}

double longest(const std::function<void()>& call, const std::function<void(std::atomic<bool>& done)>& beside,
               runs_of_calls how) {
    double quietest = 1e18;
    for (int run = 0; run < how.runs; ++run) {
        std::atomic<bool> done{false};
        std::thread other([&] { beside(done); });
        double most = 0;
        for (int i = 0; i < how.calls; ++i) {
            most = std::max(most, nanoseconds([&](std::size_t) { call(); }, 1));
        }
        done = true;
        other.join();
        quietest = std::min(quietest, most);
    }
    return quietest;
}

void only_busy(std::atomic<bool>& done) {
    while (!done) {
        benchmark::DoNotOptimize(std::chrono::steady_clock::now());
    }
}

void drive(asio::io_context& io, asio::awaitable<void> coroutine) {
    asio::co_spawn(io, std::move(coroutine), asio::detached);
    io.restart();
    io.run();
}

body on_two_threads(body first, body second) {
    return [first, second](std::size_t n) {
        std::thread other([&] { second(n / 2); });
        first(n / 2);
        other.join();
    };
}

body clock_now() {
    return [](std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            benchmark::DoNotOptimize(std::chrono::steady_clock::now());
        }
    };
}

asio::awaitable<headgate::result<int>> result_at_once() {
    co_return 1;
}
body co_await_result() {
    return [](std::size_t n) {
        asio::io_context io(1);
        drive(io, [](std::size_t count) -> asio::awaitable<void> {
            for (std::size_t i = 0; i < count; ++i) {
                benchmark::DoNotOptimize(co_await result_at_once());
            }
        }(n));
    };
}

body co_await_awaitable() {
    return [](std::size_t n) {
        asio::io_context io(1);
        drive(io, [](std::size_t count) -> asio::awaitable<void> {
            for (std::size_t i = 0; i < count; ++i) {
                benchmark::DoNotOptimize(co_await at_once());
            }
        }(n));
    };
}

body co_await_post() {
    return [](std::size_t n) {
        asio::io_context io(1);
        drive(io, [](asio::io_context& context, std::size_t count) -> asio::awaitable<void> {
            for (std::size_t i = 0; i < count; ++i) {
                co_await asio::post(context, asio::deferred);
            }
        }(io, n));
    };
}

void add_baselines() {
    add(row{.name = "clock/now", .run = clock_now(), .baseline_name = "clock/now", .baseline = clock_now()});
    auto mutex = std::make_shared<std::mutex>();
    add(row{.name = "baseline/mutex",
            .run =
                [mutex](std::size_t n) {
                    for (std::size_t i = 0; i < n; ++i) {
                        const std::lock_guard guard(*mutex);
                        benchmark::ClobberMemory();
                    }
                },
            .baseline_name = "clock/now",
            .baseline = clock_now()});
    add(row{.name = "asio/co_await_awaitable",
            .run = co_await_awaitable(),
            .baseline_name = "clock/now",
            .baseline = clock_now()});
    add(row{
        .name = "asio/co_await_post", .run = co_await_post(), .baseline_name = "clock/now", .baseline = clock_now()});
}

}  // namespace bench

// headgate-bench [OUTPUT.json [FILTER]]: prints the table, and writes one object a row.
int main(int argc, char** argv) try {
    const std::string output = argc > 1 ? argv[1] : "bench.json";
    const std::string_view filter = argc > 2 ? argv[2] : "";
    std::printf("compiler %s, %s, Boost %d.%d, %s, %d interleaved pairs a row\n", __VERSION__, HEADGATE_BENCH_FLAGS,
                BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, bench::processor().c_str(), bench::pairs);
    bench::add_baselines();
    bench::add_deadlines();
    bench::add_limiter();
    bench::add_pool();
    bench::add_breaker();
    bench::add_bulkhead();
    bench::add_retry();
    bench::add_hedge();
    bench::add_coalescer();
    bench::add_guard();
    bench::add_holds();
    std::printf("%-52s %9s %17s %7s %s\n", "row", "ns", "spread", "allocs", "ratio to its baseline, target");
    auto all = nlohmann::json::array();
    for (const auto& r : bench::rows()) {
        if (r.name.find(filter) != std::string::npos) {
            all.push_back(bench::measure(r));
        }
    }
    for (const auto& s : bench::studies()) {
        if (s.name.find(filter) == std::string::npos) {
            continue;
        }
        for (const auto& r : s.run()) {
            const bool met = r.target == 0 || r.value <= r.target;
            std::printf("%-52s %9.1f %s%s\n", r.name.c_str(), r.value, r.unit.c_str(),
                        r.target == 0
                            ? ""
                            : (", <= " + std::to_string(std::lround(r.target)) + (met ? " met" : " MISSED")).c_str());
            all.push_back({{"name", r.name}, {r.unit, r.value}, {"target", r.target}, {"met", met}});
        }
    }
    std::ofstream(output) << all.dump(2) << '\n';
} catch (const std::exception& e) {
    std::fprintf(stderr, "headgate-bench: %s\n", e.what());
    return 1;
}
