// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_ALLOCATION_FAILING_HPP
#define HEADGATE_TEST_ALLOCATION_FAILING_HPP

#include <cstdint>
#include <functional>

// Fails the n-th allocation, for n = 1, 2, ... until a scenario needs no more of them; as SQLite tests itself
// (https://www.sqlite.org/malloc.html).

namespace headgate::allocation {

/// Whose allocations fail.
enum class threads : std::uint8_t { this_one, all };

/// While one lives, or until `stop`, the allocation that is to fail is looked for. One at a time.
class failing {
public:
    explicit failing(threads whose = threads::this_one);
    ~failing();
    failing(const failing&) = delete;
    failing& operator=(const failing&) = delete;

    void stop() noexcept;
};

/// Calls `scenario` with the first allocation inside of its `failing` scopes failing, then the second, and so on, until
/// none failed; gives how many there are. With `in_a_row`, so many fail, one after the other. Fails the doctest case
/// when a run leaks.
std::uint64_t every_allocation(const std::function<void()>& scenario, std::uint64_t in_a_row = 1);

/// The same where threads of the scenario may free something later than it ends: leaks are not looked for.
std::uint64_t every_allocation_of_threads(const std::function<void()>& scenario);

/// Fails only what is allocated where `where` is true; null: everywhere.
void fail_only(bool (*where)()) noexcept;

/// Counts an allocation that is not made with `new`: whether it is the one that is to fail. asio_memory.cpp asks so.
[[nodiscard]] bool fails_now() noexcept;

/// Whether an allocation has failed in this run.
[[nodiscard]] bool has_failed() noexcept;

}  // namespace headgate::allocation

#endif
