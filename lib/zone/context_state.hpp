// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_ZONE_CONTEXT_STATE_HPP
#define HEADGATE_LIB_ZONE_CONTEXT_STATE_HPP

#include <boost/asio/execution_context.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <vector>

#include <headgate/impl/sync.hpp>
#include <headgate/impl/zone_core.hpp>

namespace headgate::detail {

/// The state that headgate keeps for one io_context: its zones, which are told when it is destroyed, and the number of
/// `clock_hold`s, which keep virtual time from passing. It may outlive the io_context.
class context_state {
public:
    [[nodiscard]] static std::shared_ptr<context_state> of(asio::execution_context& context);

    void add(zone_core& zone);
    /// The destructor of `zone` runs: it lets go of the io_context before that is destroyed, or that has done it.
    void remove(zone_core& zone) noexcept;
    /// The io_context is being destroyed.
    void shut_down() noexcept;

    void hold() noexcept { holds_.fetch_add(1); }
    void release() noexcept;
    [[nodiscard]] bool held() const noexcept { return holds_.load() != 0; }
    /// Waits until time is not held, or for `span`.
    void wait(std::chrono::milliseconds span);

private:
    detail::mutex mutex_;
    std::vector<zone_core*> zones_;
    std::vector<std::shared_ptr<zone_core>> alive_;  // for `shut_down`, which must not need memory

    atomic<std::uint32_t> holds_{0};
    detail::mutex holds_mutex_;
    std::condition_variable_any released_;
};

}  // namespace headgate::detail

#endif
