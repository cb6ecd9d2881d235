// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_HEDGE_RUN_HPP
#define HEADGATE_IMPL_HEDGE_RUN_HPP

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstdint>
#include <exception>
#include <list>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/impl/apart.hpp>
#include <headgate/impl/call.hpp>
#include <headgate/impl/hedge_core.hpp>
#include <headgate/impl/serial.hpp>
#include <headgate/result.hpp>
#include <headgate/retry_options.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate::detail {

/// The attempts of one call. Each has a reference to it, so that an operation outlives a call that another attempt has
/// won. All but `keep` and `on_due` is for the executor of the attempts, which is serial.
template <class Op, class... Args>
class hedge_race final : public hedge_timer, public std::enable_shared_from_this<hedge_race<Op, Args...>> {
    using shape = call_shape_of<std::tuple<>, Op, Args...>;

public:
    using result_type = typename shape::result_type;
    using executor_type = typename shape::executor_type;
    using value_type = typename result_type::value_type;
    using caller_type = apart<value_type, executor_type>;

    /// `throws`: as the caller's coroutine does when it is cancelled.
    hedge_race(std::shared_ptr<hedge_core> core, std::shared_ptr<caller_type> caller, const hedge_call_options& options,
               bool throws, Op&& op, std::tuple<Args...>&& args)
        : core_(std::move(core)),
          counted_(core_->zone_ptr()),
          caller_(std::move(caller)),
          executor_(caller_->own),
          idempotent_(options.idempotent),
          throws_(throws || !shape::with_context),
          timeout_(options.timeout),
          op_(std::move(op)),
          args_(std::move(args)) {}
    ~hedge_race() { core_->forget(*this); }

    /// Starts the first attempt.
    void begin() {
        if (canceled_) {
            finish({}, error(errc::canceled));
            return;
        }
        const time_point now = core_->zone().now();
        until_ = timeout_ == duration::max() ? time_point::max() : saturating_add(now, timeout_);
        core_->begin(now);
        if (idempotent_) {
            core_->wait(*this, 0, now);
        }
        start(first_, now);
    }

    /// The caller's cancellation.
    void cancel(boost::asio::cancellation_type type) {
        canceled_ = true;
        emit(type);
    }

private:
    struct attempt {
        call_deadline deadline;
        boost::asio::cancellation_signal signal;
        time_point began{};
        bool running = false;
    };

    /// What an attempt completes.
    class attempt_end {
    public:
        using executor_type = typename hedge_race::executor_type;
        using cancellation_slot_type = boost::asio::cancellation_slot;

        attempt_end(std::shared_ptr<hedge_race> race, attempt& of) noexcept : race_(std::move(race)), of_(&of) {}

        [[nodiscard]] executor_type get_executor() const noexcept { return race_->executor_; }
        [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return of_->signal.slot(); }
        void operator()(result_type r) {
            const auto race = std::move(race_);
            race->ended(*of_, std::move(r));
        }

    private:
        std::shared_ptr<hedge_race> race_;
        attempt* of_;
    };

    std::shared_ptr<hedge_timer> keep() noexcept override { return this->weak_from_this().lock(); }
    void on_due(std::uint32_t hedges) override {
        boost::asio::post(executor_, [race = this->shared_from_this(), hedges] {
            if (race->hedges_ == hedges) {
                race->hedge();
            }
        });
    }

    [[nodiscard]] bool open() const noexcept { return !over_ && !canceled_ && core_->zone().now() < until_; }

    // Begins another attempt, if the call may have one.
    bool hedge() {
        if (!open()) {
            return false;
        }
        try {
            more_.emplace_back();
        } catch (const std::bad_alloc&) {
            return false;
        }
        if (!core_->pay(hedges_)) {
            more_.pop_back();
            return false;
        }
        ++hedges_;
        const time_point now = core_->zone().now();
        core_->wait(*this, hedges_, now);
        start(more_.back(), now);
        return true;
    }

    void start(attempt& a, time_point now) {
        a.running = true;
        a.began = now;
        ++running_;
        try {
            a.deadline.set_until(until_);
            using end_type = apart_for<value_type, attempt_end, executor_type>;
            auto made = std::make_shared<end_type>(attempt_end(this->shared_from_this(), a), heed::all, executor_);
            const auto slot = made->slot();
            const std::shared_ptr<caller_type> state = std::move(made);
            start_with_deadline(state, slot, a.deadline, core_->zone(),
                                {primitive_kind::hedge, &core_->name(), &typeid(Op)}, as_result(operation(a)),
                                {.with_context = shape::with_context, .throws = throws_});
        } catch (...) {
            ended(a, error_of(std::current_exception()));
        }
    }

    auto operation(attempt& a) {
        return std::apply(
            [&](const Args&... args) { return call(op_, call_context(a.deadline, core_->zone()), Args(args)...); },
            args_);
    }

    void ended(attempt& a, result_type r) {
        a.running = false;
        --running_;
        if (over_) {
            return;
        }
        const time_point now = core_->zone().now();
        if (r) {
            win(a, now, std::move(r));
            return;
        }
        if (a.deadline.fired() || now >= until_) {
            r = result_type(error(errc::timed_out, r.error().cause, r.error().retry_after));
        }
        const retry_verdict verdict = verdict_of(r.error(), true);
        const bool at_once = idempotent_ && verdict.again && verdict.after <= duration::zero();
        if ((at_once && hedge()) || running_ != 0) {
            return;
        }
        finish({}, std::move(r));
    }

    // The other attempts are cancelled, and run to their ends.
    void win(const attempt& a, time_point now, result_type r) {
        hedge_end how{.won = &a != &first_};
        if (&a == &first_ || first_.running) {
            how.sample = saturating_sub(now, first_.began);
        }
        over_ = true;
        emit(boost::asio::cancellation_type::terminal);
        finish(how, std::move(r));
    }

    void emit(boost::asio::cancellation_type type) {
        const auto tell = [type](attempt& a) {
            if (a.running) {
                a.signal.emit(type);
            }
        };
        tell(first_);
        for (attempt& a : more_) {
            tell(a);
        }
    }

    void finish(const hedge_end& how, result_type r) {
        over_ = true;
        core_->end(*this, how);
        const auto caller = std::move(caller_);
        caller->value.emplace(std::move(r));
        caller->finish(caller, {});
    }

    std::shared_ptr<hedge_core> core_;
    counted_operation counted_;
    std::shared_ptr<caller_type> caller_;  // until it has its result
    executor_type executor_;
    bool idempotent_;
    bool throws_;
    bool over_ = false;
    bool canceled_ = false;
    duration timeout_;
    time_point until_ = time_point::max();
    Op op_;
    [[no_unique_address]] std::tuple<Args...> args_;
    std::uint32_t hedges_ = 0;
    std::uint32_t running_ = 0;
    attempt first_;
    std::list<attempt> more_;
};

/// A call of a hedge.
template <class Op, class... Args>
class hedged_call : public boost::asio::awaitable<protected_call<hedged_call<Op, Args...>, call_result<Op, Args...>>,
                                                  call_executor<Op, Args...>> {
    using race_type = hedge_race<Op, Args...>;

public:
    using value_type = typename race_type::result_type;
    using executor_type = typename race_type::executor_type;

    template <class O, class... A>
    hedged_call(std::shared_ptr<hedge_core> core, const hedge_call_options& options, O&& op, A&&... args)
        : core_(std::move(core)), options_(options), op_(std::forward<O>(op)), args_(std::forward<A>(args)...) {}

    // Only what has not begun is moved.
    hedged_call(hedged_call&& other) noexcept(std::is_nothrow_move_constructible_v<Op>)
        : hedged_call::awaitable(),
          core_(std::move(other.core_)),
          options_(other.options_),
          op_(std::move(other.op_)),
          args_(std::move(other.args_)) {}
    hedged_call& operator=(hedged_call&&) = delete;
    ~hedged_call() = default;

    /// The same call as an ordinary awaitable: for `&&`, `||`, storing, `co_spawn`.
    [[nodiscard]] boost::asio::awaitable<value_type, executor_type> as_awaitable() && {
        return later(std::move(*this));
    }

    // For the awaitable: ------------------------------------------------------------------------------------------

    /// False when it is refused.
    bool begin() {
        if (options_.timeout <= duration::zero()) {
            refusal_.emplace(errc::wait_timed_out);
        } else if (core_->zone().refusing()) {
            refusal_.emplace(errc::shut_down);
        }
        return !refusal_;
    }

    /// False when there is no memory for it.
    template <class Handle>
    bool suspend(Handle caller) {
        try {
            executor_type executor = executor_of(caller);
            if constexpr (!chosen_serial<executor_type>) {
                executor = make_serial(executor);
            }
            running_ = start(std::move(executor), throws_if_cancelled(caller));
        } catch (...) {
            refusal_.emplace(error_of(std::current_exception()));
            return false;
        }
        running_.await_suspend(caller);
        return true;
    }

    value_type finish() { return refusal_ ? value_type(std::move(*refusal_)) : running_.await_resume(); }

private:
    using state_type = typename race_type::caller_type;

    static boost::asio::awaitable<value_type, executor_type> later(hedged_call self) {
        co_return co_await std::move(self);
    }

    boost::asio::awaitable<value_type, executor_type> start(executor_type executor, bool throws) {
        boost::asio::use_awaitable_t<executor_type> token;
        return boost::asio::async_initiate<boost::asio::use_awaitable_t<executor_type>, void(value_type)>(
            [this, executor = std::move(executor), throws](auto handler) {
                using caller = apart_for<typename race_type::value_type, decltype(handler), executor_type>;
                std::shared_ptr<caller> made;
                try {
                    made = std::make_shared<caller>(std::move(handler), heed::all, executor);
                } catch (const std::bad_alloc&) {
                    return complete_without_memory<value_type>(executor, std::move(handler));
                }
                const auto slot = made->slot();
                this->begin_race(slot, std::move(made), throws);
            },
            token);
    }

    template <class Slot>
    void begin_race(Slot slot, std::shared_ptr<state_type> caller, bool throws) {
        try {
            const auto race =
                std::make_shared<race_type>(core_, caller, options_, throws, std::move(op_), std::move(args_));
            if (slot.is_connected()) {
                // A slot fires on the thread of whoever emits, and may do so when all is over.
                slot.assign([executor = caller->own, weak = std::weak_ptr(race)](boost::asio::cancellation_type type) {
                    if (auto shared = weak.lock()) {
                        wait_for_memory(
                            [&] { boost::asio::dispatch(executor, [shared, type] { shared->cancel(type); }); });
                    }
                });
            }
            // The caller's executor may run on many threads: then the attempts have another one.
            boost::asio::dispatch(caller->own, [race] { race->begin(); });
        } catch (...) {
            caller->value.emplace(error_of(std::current_exception()));
            caller->finish(caller, {});
        }
        caller->starting.store(false, std::memory_order_release);
    }

    std::shared_ptr<hedge_core> core_;
    hedge_call_options options_;
    Op op_;
    [[no_unique_address]] std::tuple<Args...> args_;
    std::optional<error> refusal_;
    boost::asio::awaitable<value_type, executor_type> running_;
};

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
