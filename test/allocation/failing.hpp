// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_ALLOCATION_FAILING_HPP
#define HEADGATE_TEST_ALLOCATION_FAILING_HPP

#include <cstdint>
#include <functional>

// Fails the n-th allocation, for n = 1, 2, ... until a scenario has fewer than n. SQLite tests itself in this way
// (https://www.sqlite.org/malloc.html).

namespace headgate::allocation {

/// The threads whose allocations fail.
enum class threads : std::uint8_t { this_one, all };

/// While this object lives, or until `stop`, allocations are counted and the chosen one fails. One object at a time.
class failing {
public:
    explicit failing(threads whose = threads::this_one);
    ~failing();
    failing(const failing&) = delete;
    failing& operator=(const failing&) = delete;

    void stop() noexcept;
};

/// Calls `scenario` again and again. In the first run the first allocation inside of its `failing` scopes fails, in the
/// next the second, and so on, until none failed. Returns the number of allocations. `in_a_row` is how many consecutive
/// allocations fail. Fails the doctest case when a run leaks.
std::uint64_t every_allocation(const std::function<void()>& scenario, std::uint64_t in_a_row = 1);

/// The same without a check for leaks: threads of the scenario may free memory after it has ended.
std::uint64_t every_allocation_of_threads(const std::function<void()>& scenario);

/// Fails only allocations at which `where()` is true. Null: all allocations.
void fail_only(bool (*where)()) noexcept;

/// Counts an allocation that does not use `new`. True when it must fail. asio_memory.cpp calls this.
[[nodiscard]] bool fails_now() noexcept;

/// Whether an allocation has failed in this run.
[[nodiscard]] bool has_failed() noexcept;

}  // namespace headgate::allocation

#endif
