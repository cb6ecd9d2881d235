// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_ZONE_WAITERS_HPP
#define HEADGATE_IMPL_ZONE_WAITERS_HPP

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <headgate/impl/initiation.hpp>
#include <headgate/impl/waiter.hpp>
#include <headgate/result.hpp>

namespace headgate::detail {

/// Waits for a time; `zone::sleep_for`.
class HEADGATE_DECL sleep_waiter : public waiter, public named_deadline {
public:
    explicit sleep_waiter(zone_core& zone) noexcept : zone_(zone) {}

    errc outcome{};  // none: it slept as long as it should

    [[nodiscard]] result<void> take() const {
        return outcome == errc{} ? result<void>(headgate::success()) : result<void>(outcome);
    }

    void on_cancel() noexcept override;
    [[nodiscard]] std::string whose() const override { return "zone::sleep_for"; }

protected:
    ~sleep_waiter() = default;

private:
    void on_deadline() noexcept override;

    zone_core& zone_;
};

/// Completes `handler` after `span` on the zone's clock, as `zone::sleep_for` says.
template <class Handler>
void start_sleep(const std::shared_ptr<zone_core>& zone, Handler handler, duration span) {
    using operation = waiter_operation<sleep_waiter, Handler>;
    initiate<result<void>>(zone->executor(), std::move(handler), [&](Handler&& then) {
        zone->enqueue(operation::create(zone, std::move(then), *zone), span);
    });
}

/// Waits until nothing of the zone is left; `zone::close` and `zone::drain`.
class HEADGATE_DECL idle_waiter : public waiter, public named_deadline {
public:
    explicit idle_waiter(zone_core& zone) noexcept : zone_(zone) {}

    idle_wait waits_for = idle_wait::close;
    std::uint64_t number = 0;  // counts up as they join
    errc outcome{};
    std::uint64_t left = 0;

    void time_out(std::uint64_t what_is_left) noexcept {
        outcome = errc::wait_timed_out;
        left = what_is_left;
    }

    [[nodiscard]] result<void> take() const {
        if (outcome == errc{}) {
            return headgate::success();
        }
        if (outcome == errc::wait_timed_out) {
            return error(outcome, std::to_string(left) + " operations, leases and permits are left");
        }
        return outcome;
    }

    void on_cancel() noexcept override;
    [[nodiscard]] std::string whose() const override { return "zone::drain"; }

protected:
    ~idle_waiter() = default;

private:
    void on_deadline() noexcept override;

    zone_core& zone_;
};

}  // namespace headgate::detail

#endif
