// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_BREAKER_RUN_HPP
#define HEADGATE_IMPL_BREAKER_RUN_HPP

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <headgate/call_outcome.hpp>
#include <headgate/impl/breaker_core.hpp>
#include <headgate/impl/invoke.hpp>
#include <headgate/spawn.hpp>

namespace headgate {

/// Tags our specialisation of `boost::asio::awaitable`; never a value.
template <class Call, class Result>
struct protected_call;

}  // namespace headgate

/// What `co_await` makes of a protected call: it is admitted in `await_ready`, forwards to the operation's own
/// awaitable, and is settled in `await_resume`: no frame stands between the caller's and the operation's.
///
/// It refers to the call, which lives until the end of the co_await expression that names it.
template <class Call, class Result, class Executor>
class boost::asio::awaitable<headgate::protected_call<Call, Result>, Executor> {
public:
    using value_type = Result;
    using executor_type = Executor;

    awaitable() noexcept = default;  // as the empty base of the call
    awaitable(Call&& call) noexcept : call_(&call) {}

    bool await_ready() { return !call_->begin(); }

    template <class Handle>
    void await_suspend(Handle caller) {
        call_->suspend(caller);
    }

    value_type await_resume() { return call_->finish(); }

private:
    Call* call_ = nullptr;
};

namespace headgate::detail {

template <class T>
inline constexpr bool is_call_options_v = false;
template <class Judge>
inline constexpr bool is_call_options_v<call_options<Judge>> = true;
template <class T>
inline constexpr bool is_call_options = is_call_options_v<std::remove_cvref_t<T>>;

/// A call that a breaker protects: the operation, its arguments, the permit, and the operation's awaitable.
template <class Judge, class Op, class... Args>
class breaker_call
    : public boost::asio::awaitable<protected_call<breaker_call<Judge, Op, Args...>, call_result<Op, Args...>>,
                                    call_executor<Op, Args...>> {
public:
    using value_type = call_result<Op, Args...>;
    using executor_type = call_executor<Op, Args...>;

    template <class O, class... A>
    breaker_call(const std::shared_ptr<breaker_core>& core, const call_options<Judge>& options, O&& op, A&&... args)
        : core_(core), options_(options), op_(std::forward<O>(op)), args_(std::forward<A>(args)...) {}

    // Only what has not begun is moved.
    breaker_call(breaker_call&& other) noexcept(std::is_nothrow_move_constructible_v<Op>)
        : breaker_call::awaitable(),
          core_(std::move(other.core_)),
          options_(other.options_),
          op_(std::move(other.op_)),
          args_(std::move(other.args_)) {}
    breaker_call& operator=(breaker_call&&) = delete;

    ~breaker_call() {
        // The operation first: what it holds may end by using this breaker. Moved out, because the
        // assignment of an awaitable may forget what it held (Boost 1.81).
        {
            const auto plain = std::move(plain_);
        }
        {
            const auto timed = std::move(timed_);
        }
        end(call_outcome::neutral);
    }

    /// The same call as an ordinary awaitable: for `&&`, `||`, storing, `co_spawn`.
    [[nodiscard]] boost::asio::awaitable<value_type, executor_type> as_awaitable() && {
        return later(std::move(*this));
    }

    [[nodiscard]] const std::shared_ptr<breaker_core>& core() const noexcept { return core_; }

    // For the awaitable: ------------------------------------------------------------------------------------------

    /// False when the result is there without suspending: refused, or the operation threw before it was a coroutine.
    bool begin() {
        const breaker_decision decision = core_->begin();
        if (!decision.admission.admitted) [[unlikely]] {
            early_.emplace(decision.why(), decision.admission.retry_after);
            return false;
        }
        ticket_ = decision.admission.ticket;
        running_ = true;
        try {
            std::apply([this](Args&... args) { make(args...); }, args_);
        } catch (...) {
            early_.emplace(error_of(std::current_exception()));
            return false;
        }
        return true;
    }

    template <class Handle>
    void suspend(Handle caller) {
        timed_.valid() ? timed_.await_suspend(caller) : plain_.await_suspend(caller);
    }

    value_type finish() {
        if (!early_) {
            try {
                value_type result = take();
                end(options_.judge(std::as_const(result)));
                return result;
            } catch (...) {
                early_.emplace(error_of(std::current_exception()));
            }
        }
        if (running_) {
            end(outcome_of(*early_));
        }
        return std::move(*early_);
    }

private:
    using operation_awaitable =
        decltype(call(std::declval<Op&>(), std::declval<call_context>(), std::declval<Args>()...));

    static boost::asio::awaitable<value_type, executor_type> later(breaker_call self) {
        co_return co_await std::move(self);
    }

    void make(Args&... args) {
        if (options_.timeout == duration::max()) {
            plain_ = call(op_, call_context{}, std::move(args)...);
        } else {
            const time_point when = saturating_add(core_->zone().now(), options_.timeout);
            timed_ = run_until(core_->zone_ptr(), when, op_, std::move(args)...);
        }
    }

    value_type take() {
        if (timed_.valid()) {
            return timed_.await_resume();
        }
        if constexpr (std::is_same_v<operation_awaitable, boost::asio::awaitable<void, executor_type>>) {
            plain_.await_resume();
            return headgate::success();
        } else {
            return plain_.await_resume();
        }
    }

    void end(const call_verdict& verdict) noexcept {
        if (std::exchange(running_, false)) {
            core_->end(ticket_, verdict.outcome, verdict.trip_for);
        }
    }

    std::shared_ptr<breaker_core> core_;
    [[no_unique_address]] call_options<Judge> options_;
    Op op_;
    [[no_unique_address]] std::tuple<Args...> args_;
    breaker_ticket ticket_{};
    bool running_ = false;
    std::optional<error> early_;
    operation_awaitable plain_;
    boost::asio::awaitable<value_type, executor_type> timed_;
};

/// Counts an operation of the zone while it lives.
class counted_operation {
public:
    explicit counted_operation(std::shared_ptr<zone_core> zone) noexcept : zone_(std::move(zone)) {
        zone_->operation_started();
    }
    counted_operation(counted_operation&&) noexcept = default;
    counted_operation& operator=(counted_operation&&) = delete;
    ~counted_operation() {
        if (zone_) {
            zone_->operation_finished();
        }
    }

private:
    std::shared_ptr<zone_core> zone_;
};

template <class Call>
boost::asio::awaitable<typename Call::value_type, typename Call::executor_type> counted_call(counted_operation,
                                                                                             Call call) {
    co_return co_await std::move(call);
}

/// Runs a protected call as a coroutine of its own, for any completion token.
template <class Token, class Call>
auto start_breaker_call(Token&& token, Call call) {
    return boost::asio::async_initiate<Token, void(typename Call::value_type)>(
        [](auto handler, Call protected_one) {
            const std::shared_ptr<zone_core> zone = protected_one.core()->zone_ptr();
            const auto executor = boost::asio::get_associated_executor(handler, zone->executor());
            spawn(executor, counted_call(counted_operation(zone), std::move(protected_one)), std::move(handler));
        },
        token, std::move(call));
}

}  // namespace headgate::detail

#endif
