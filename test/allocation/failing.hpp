// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_ALLOCATION_FAILING_HPP
#define HEADGATE_TEST_ALLOCATION_FAILING_HPP

#include <functional>

// Fails the n-th allocation, for n = 1, 2, ... until a scenario needs no more of them; as SQLite tests itself
// (https://www.sqlite.org/malloc.html).

namespace headgate::allocation {

/// While one lives, the allocation that is to fail is looked for, on this thread.
class failing {
public:
    failing();
    ~failing();
    failing(const failing&) = delete;
    failing& operator=(const failing&) = delete;
};

/// Calls `scenario` with the first allocation inside of its `failing` scopes failing, then the second, and so on, until
/// none failed. Fails the doctest case when a run leaks.
void every_allocation(const std::function<void()>& scenario);

/// Fails only what is allocated where `where` is true; null: everywhere.
void fail_only(bool (*where)()) noexcept;

/// Counts an allocation that is not made with `new`: whether it is the one that is to fail.
[[nodiscard]] bool fails_now() noexcept;

/// Whether the allocation that was to fail has failed in this run.
[[nodiscard]] bool has_failed() noexcept;

}  // namespace headgate::allocation

#endif
