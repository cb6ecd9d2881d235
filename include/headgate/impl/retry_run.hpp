// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_RETRY_RUN_HPP
#define HEADGATE_IMPL_RETRY_RUN_HPP

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <headgate/impl/call.hpp>
#include <headgate/impl/retry_core.hpp>
#include <headgate/retry_options.hpp>

namespace headgate::detail {

template <class T>
inline constexpr bool is_retry_call_options_v = false;
template <class Judge>
inline constexpr bool is_retry_call_options_v<retry_call_options<Judge>> = true;
template <class T>
inline constexpr bool is_retry_call_options = is_retry_call_options_v<std::remove_cvref_t<T>>;

/// One call on its way through its attempts. Of no retry it does nothing.
template <class Judge>
class retry_course {
public:
    /// `core` outlives it.
    retry_course(retry_core* core, bool idempotent, const Judge& judge) noexcept
        : core_(core), idempotent_(idempotent), judge_(judge) {}
    retry_course(retry_course&& other) noexcept
        : core_(other.core_),
          idempotent_(other.idempotent_),
          judge_(other.judge_),
          began_(std::exchange(other.began_, false)),
          until_(other.until_),
          progress_(other.progress_) {}
    retry_course& operator=(retry_course&&) = delete;
    ~retry_course() { end(false); }

    [[nodiscard]] bool active() const noexcept { return core_ != nullptr; }

    [[nodiscard]] const std::shared_ptr<zone_core>& zone() const noexcept { return core_->zone_ptr(); }

    /// An attempt begins at `now`, and has `limit`; the first one begins the call, which must have ended at `until`.
    /// False when the zone takes no new work. `until` is the attempt's afterwards.
    [[nodiscard]] bool begin(time_point now, time_point& until, duration limit) noexcept {
        if (!began_) {
            if (core_->zone().refusing()) [[unlikely]] {
                return false;
            }
            began_ = true;
            until_ = until;
        }
        until = limit == duration::max() ? until_ : std::min(until_, saturating_add(now, limit));
        return true;
    }

    /// An attempt has ended: how long to pause before the next one. Nothing: there is none. May throw what the judge
    /// throws.
    template <class T>
    [[nodiscard]] std::optional<duration> next(const result<T>& r) {
        if (!began_) {
            return {};
        }
        if (std::is_same_v<Judge, default_retry_judge> && r) [[likely]] {
            end(true);
            return {};
        }
        const retry_verdict verdict = judged(r);
        if (!r || verdict.again) {
            const retry_decision decision = core_->next(progress_, verdict, until_);
            if (decision.step == retry_step::again) {
                return decision.pause;
            }
        }
        end(r && !verdict.again);
        return {};
    }

    /// The pause is over. False when there is no time for another attempt, or the zone takes no new work.
    [[nodiscard]] bool resume() noexcept { return core_->resume(progress_, until_); }

    /// The call is over; one that did not succeed was cancelled, unless it is known why there is no further attempt.
    void end(bool succeeded) noexcept {
        if (std::exchange(began_, false)) {
            core_->end(progress_, succeeded);
        }
    }

private:
    template <class T>
    [[nodiscard]] retry_verdict judged(const result<T>& r) {
        if (!r && is_canceled(r.error())) {
            return false;
        }
        if constexpr (std::is_same_v<Judge, default_retry_judge>) {
            return verdict_of(r.error(), idempotent_);
        } else {
            try {
                return judge_(r);
            } catch (...) {
                static_cast<void>(core_->next(progress_, false, until_));
                end(false);
                throw;
            }
        }
    }

    retry_core* core_;
    bool idempotent_;
    [[no_unique_address]] Judge judge_;
    bool began_ = false;  // and not ended
    time_point until_ = time_point::max();
    retry_progress progress_;
};

/// What `retry::run` puts around an operation.
template <class Judge>
class retry_policy {
public:
    retry_policy(const std::shared_ptr<retry_core>& core, const retry_call_options<Judge>& options) noexcept
        : core_(core), timeout_(options.timeout), course_(core.get(), options.idempotent, options.judge) {}

    admission admit(std::optional<error>& refusal) noexcept {
        if (timeout_ <= duration::zero()) {
            refusal.emplace(errc::wait_timed_out);
            return admission::refused;
        }
        const duration limit = core_->attempt_timeout();
        const bool timed = timeout_ != duration::max() || limit != duration::max();
        const time_point now = timed ? core_->zone().now() : time_point{};
        until_ = timeout_ == duration::max() ? time_point::max() : saturating_add(now, timeout_);
        if (!course_.begin(now, until_, limit)) {
            refusal.emplace(errc::shut_down);
            return admission::refused;
        }
        return admission::run;
    }

    [[nodiscard]] std::tuple<> leading() const noexcept { return {}; }
    [[nodiscard]] time_point until() const noexcept { return until_; }
    [[nodiscard]] zone_core& zone() const noexcept { return core_->zone(); }
    [[nodiscard]] call_owner owner() const noexcept { return {core_->kind(), &core_->name()}; }
    [[nodiscard]] retry_course<Judge>& course() noexcept { return course_; }

    template <class T>
    void settle(const result<T>& /*r*/) noexcept {}
    void settle(const error& /*e*/) noexcept {}
    void drop() noexcept {}

private:
    std::shared_ptr<retry_core> core_;
    duration timeout_;
    time_point until_ = time_point::max();
    retry_course<Judge> course_;
};

}  // namespace headgate::detail

#endif
