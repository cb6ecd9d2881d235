// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_WAITER_HPP
#define HEADGATE_IMPL_WAITER_HPP

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/is_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/asio/strand.hpp>

#include <boost/intrusive/list.hpp>

#include <memory>
#include <type_traits>
#include <utility>

#include <headgate/impl/zone_core.hpp>

namespace headgate::detail {

struct queue_tag;

/// One parked operation: a place in its primitive's queue, a deadline, and a way to its handler.
///
/// Whoever decides its fate (a grant, the deadline, a cancellation, a close) does so under the primitive's lock, once:
///   take it out of the queue; store the outcome; `if (w.settle(zone))` remember to call `w.complete()` after
///   unlocking.
/// `settle` is false when the driver holds its deadline: then `on_deadline()` finds it settled and completes it.
class waiter : public deadline,
               public boost::intrusive::list_base_hook<boost::intrusive::tag<queue_tag>,
                                                       boost::intrusive::link_mode<boost::intrusive::normal_link>> {
public:
    /// Arms the deadline, under the primitive's lock. `time_point::max()` means none.
    void arm(zone_core& zone, time_point when) noexcept {
        if (when != time_point::max()) {
            armed_ = true;
            zone.arm(*this, when);
        }
    }

    /// Marks the fate as decided, under the primitive's lock. True: the caller completes it after unlocking.
    [[nodiscard]] bool settle(zone_core& zone) noexcept {
        settled_ = true;
        return !armed_ || zone.disarm(*this);
    }

    /// For `on_deadline()`, under the primitive's lock: marks the fate as decided by the deadline. False when it was
    /// decided before; either way the caller completes it after unlocking.
    [[nodiscard]] bool settle_by_deadline() noexcept { return !std::exchange(settled_, true); }

    [[nodiscard]] bool settled() const noexcept { return settled_; }

    /// Posts the completion to the handler's executor. Called once, under no lock; afterwards it is gone.
    virtual void complete() noexcept = 0;

    /// Destroys the operation and its handler without calling it. Called under no lock.
    virtual void abandon() noexcept = 0;

    /// The caller cancelled. Called where the cancellation signal is emitted.
    virtual void on_cancel() noexcept = 0;

protected:
    ~waiter() = default;

private:
    bool armed_ = false;
    bool settled_ = false;
};

/// A FIFO of the waiters of one type.
template <class Waiter>
using waiter_list = boost::intrusive::list<
    Waiter, boost::intrusive::base_hook<boost::intrusive::list_base_hook<
                boost::intrusive::tag<queue_tag>, boost::intrusive::link_mode<boost::intrusive::normal_link>>>>;

/// What keeps the handler's executor busy meanwhile: Asio's work guard, but for a strand over an executor that has no
/// `on_work_started`, such as `any_io_executor`. There the guard of Boost 1.81 does not compile.
template <class Executor>
struct outstanding_work {
    using type = asio::executor_work_guard<Executor>;
};
template <class Inner>
    requires(!asio::is_executor<Inner>::value)
struct outstanding_work<asio::strand<Inner>> {
    class type {
    public:
        explicit type(const asio::strand<Inner>& executor) noexcept
            : executor_(executor), work_(asio::prefer(executor, asio::execution::outstanding_work.tracked)) {}
        [[nodiscard]] asio::strand<Inner> get_executor() const noexcept { return executor_; }

    private:
        asio::strand<Inner> executor_;
        std::decay_t<decltype(asio::prefer(std::declval<const asio::strand<Inner>&>(),
                                           asio::execution::outstanding_work.tracked))>
            work_;
    };
};

/// A waiter with its handler. `Waiter` brings `take()`, which makes the result on the handler's executor just before
/// the handler is called; its memory is released before that call.
template <class Waiter, class Handler>
class waiter_operation final : public Waiter {
    using executor_type = asio::associated_executor_t<Handler, asio::io_context::executor_type>;
    using allocator_type =
        typename std::allocator_traits<asio::associated_allocator_t<Handler, asio::recycling_allocator<void>>>::
            template rebind_alloc<waiter_operation>;

public:
    template <class... Args>
    static waiter_operation& create(std::shared_ptr<zone_core> zone, Handler handler, Args&&... args) {
        allocator_type allocator(asio::get_associated_allocator(handler, asio::recycling_allocator<void>()));
        auto* memory = std::allocator_traits<allocator_type>::allocate(allocator, 1);
        auto* op = new (memory) waiter_operation(std::move(zone), std::move(handler), std::forward<Args>(args)...);
        auto slot = asio::get_associated_cancellation_slot(op->handler_);
        if (slot.is_connected()) {
            slot.assign([op](asio::cancellation_type type) {
                if (type != asio::cancellation_type::none) {
                    op->on_cancel();
                }
            });
        }
        return *op;
    }

    void complete() noexcept override { asio::post(work_.get_executor(), completion(this)); }

    void abandon() noexcept override {
        // The handler may own whatever the zone hands out: it goes last, when this operation is gone.
        Handler handler(std::move(handler_));
        auto zone = std::move(zone_);
        release(handler);
        zone->operation_finished();
    }

private:
    template <class... Args>
    explicit waiter_operation(std::shared_ptr<zone_core> zone, Handler handler, Args&&... args)
        : Waiter(std::forward<Args>(args)...),
          zone_(std::move(zone)),
          handler_(std::move(handler)),
          work_(asio::get_associated_executor(handler_, zone_->executor())) {
        zone_->operation_started();
    }

    ~waiter_operation() = default;

    void release(Handler& handler) noexcept {
        allocator_type allocator(asio::get_associated_allocator(handler, asio::recycling_allocator<void>()));
        this->~waiter_operation();
        std::allocator_traits<allocator_type>::deallocate(allocator, this, 1);
    }

    void finish() {
        asio::get_associated_cancellation_slot(handler_).clear();
        auto work = std::move(work_);
        auto zone = std::move(zone_);
        auto result = this->take();
        Handler handler(std::move(handler_));
        release(handler);
        zone->operation_finished();
        zone.reset();
        std::move(handler)(std::move(result));
    }

    /// What is posted: owns the operation, so that a destroyed io_context destroys it.
    class completion {
    public:
        explicit completion(waiter_operation* op) noexcept : op_(op) {}
        completion(completion&& other) noexcept : op_(std::exchange(other.op_, nullptr)) {}
        completion& operator=(completion&&) = delete;
        ~completion() {
            if (op_ != nullptr) {
                op_->abandon();
            }
        }
        void operator()() { std::exchange(op_, nullptr)->finish(); }

        using allocator_type = asio::recycling_allocator<void>;
        [[nodiscard]] allocator_type get_allocator() const noexcept { return {}; }

    private:
        waiter_operation* op_;
    };

    std::shared_ptr<zone_core> zone_;
    Handler handler_;
    typename outstanding_work<executor_type>::type work_;
};

}  // namespace headgate::detail

#endif
