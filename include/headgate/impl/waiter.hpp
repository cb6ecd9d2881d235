// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_WAITER_HPP
#define HEADGATE_IMPL_WAITER_HPP

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/is_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/asio/strand.hpp>

#include <boost/intrusive/list.hpp>

#include <chrono>
#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include <headgate/impl/sync.hpp>
#include <headgate/impl/zone_core.hpp>

namespace headgate::detail {

struct queue_tag;

/// One parked operation: a place in its primitive's queue, a deadline, and a way to its handler.
///
/// Whoever decides its fate (a grant, the deadline, a cancellation, a close) does so under the primitive's lock, once:
///   take it out of the queue; store the outcome; `if (w.settle(zone))` remember to call `w.complete()` after
///   unlocking.
/// `settle` is false when the driver holds its deadline: then `on_deadline()` finds it settled and completes it.
///
/// A cancellation may come before the primitive has it: while a pool asks its backend whether a resource is alive, for
/// example. It is noted, and decides when the waiter would join the queue.
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

    /// It joins its queue, under the primitive's lock.
    void join() noexcept { joined_ = true; }
    /// For `on_cancel()`, under the primitive's lock. False, and noted: it has not joined its queue yet.
    [[nodiscard]] bool note_cancel() noexcept {
        canceled_early_ = !joined_;
        return joined_;
    }
    /// It was cancelled before it could join; under the primitive's lock.
    [[nodiscard]] bool canceled_early() const noexcept { return canceled_early_; }

    /// Posts the completion to the handler's executor, as soon as there is memory for it. Called once, under no lock;
    /// afterwards it is gone.
    virtual void complete() noexcept = 0;

    /// The zone's io_context is being destroyed: so are the operation and its handler, without a call of it. One that
    /// completes on another io_context completes there, with its outcome. Called under no lock.
    virtual void abandon() noexcept = 0;

    /// The caller cancelled. Called where the cancellation signal is emitted.
    virtual void on_cancel() noexcept = 0;

protected:
    ~waiter() = default;

private:
    bool armed_ = false;
    bool settled_ = false;
    bool joined_ = false;
    bool canceled_early_ = false;
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

/// The execution context of an executor; null where it does not tell.
template <class Executor>
const asio::execution_context* context_of(const Executor& executor) {
    if constexpr (requires {
                      {
                          asio::query(executor, asio::execution::context)
                      } -> std::convertible_to<const asio::execution_context&>;
                  }) {
        return &static_cast<const asio::execution_context&>(asio::query(executor, asio::execution::context));
    } else if constexpr (requires {
                             { executor.context() } -> std::convertible_to<const asio::execution_context&>;
                         }) {
        return &static_cast<const asio::execution_context&>(executor.context());
    } else {
        return nullptr;
    }
}

/// The operation that this thread is posting, and whether what was posted was destroyed meanwhile.
struct posting {
    explicit posting(const void* op) noexcept : operation(op), outer(std::exchange(current, this)) {}
    posting(const posting&) = delete;
    posting& operator=(const posting&) = delete;
    ~posting() { current = outer; }

    /// For what is being destroyed: whether that is only an attempt to post it.
    static bool drop(const void* op) noexcept {
        const bool attempt = current != nullptr && current->operation == op;
        if (attempt) {
            current->dropped = true;
        }
        return attempt;
    }

    const void* operation;
    posting* outer;
    bool dropped = false;

    inline static thread_local constinit posting* current = nullptr;
};

/// A waiter with its handler. `Waiter` brings `take()`, which makes the result on the handler's executor just before
/// the handler is called; its memory is released before that call.
template <class Waiter, class Handler>
class waiter_operation final : public Waiter {
    using executor_type = asio::associated_executor_t<Handler, asio::io_context::executor_type>;
    using allocator_type =
        typename std::allocator_traits<asio::associated_allocator_t<Handler, asio::recycling_allocator<void>>>::
            template rebind_alloc<waiter_operation>;

    /// What lies in the handler's cancellation slot. It goes with the signal, and then the slot is not touched again.
    class hook {
    public:
        hook() = default;
        hook(const hook&) = delete;
        hook& operator=(const hook&) = delete;
        ~hook() {
            if (op_ != nullptr) {
                op_->hooked_ = false;
            }
        }
        void operator()(asio::cancellation_type type) {
            if (op_ != nullptr && type != asio::cancellation_type::none) {
                op_->on_cancel();
            }
        }
        void attach(waiter_operation& op) noexcept {
            op_ = &op;
            op.hooked_ = true;
        }

    private:
        waiter_operation* op_ = nullptr;
    };

public:
    /// Throws before it has taken `handler`, or not at all.
    template <class... Args>
    static waiter_operation& create(std::shared_ptr<zone_core> zone, Handler&& handler, Args&&... args) {
        allocator_type allocator(asio::get_associated_allocator(handler, asio::recycling_allocator<void>()));
        auto slot = asio::get_associated_cancellation_slot(handler);
        auto* memory = std::allocator_traits<allocator_type>::allocate(allocator, 1);
        hook* hooked = nullptr;
        try {
            if (slot.is_connected()) {
                hooked = &slot.template emplace<hook>();
            }
            new (memory) waiter_operation(std::move(zone), slot, std::move(handler), std::forward<Args>(args)...);
        } catch (...) {
            if (hooked != nullptr) {
                slot.clear();
            }
            std::allocator_traits<allocator_type>::deallocate(allocator, memory, 1);
            throw;
        }
        if (hooked != nullptr) {
            hooked->attach(*memory);
        }
        return *memory;
    }

    void complete() noexcept override {
        if (!post()) {
            zone_->arm(again_, saturating_add(zone_->now(), std::chrono::milliseconds(1)));
        }
    }

    // On another io_context threads run, and may cancel this at the same moment: only there may it end.
    void abandon() noexcept override {
        const auto* const theirs = context_of(work_.get_executor());
        if (theirs == nullptr || theirs == context_of(zone_->executor())) {
            destroy();
            return;
        }
        while (!post()) {
            yield_thread();  // without memory: nobody else would try again
        }
    }

private:
    /// Posts again what could not be posted for want of memory. Not the waiter's own deadline, whose primitive may have
    /// gone.
    class retry final : public deadline {
    public:
        explicit retry(waiter_operation& op) noexcept : op_(op) {}

    private:
        void on_deadline() noexcept override { op_.complete(); }

        waiter_operation& op_;
    };

    // The handler last: whatever throws has not taken it.
    template <class Slot, class... Args>
    waiter_operation(std::shared_ptr<zone_core> zone, const Slot& slot, Handler&& handler, Args&&... args)
        : Waiter(std::forward<Args>(args)...),
          zone_(std::move(zone)),
          work_(asio::get_associated_executor(handler, zone_->executor())),
          slot_(slot),
          handler_(std::move(handler)) {
        zone_->operation_started();
    }

    ~waiter_operation() = default;

    // Afterwards it may be gone. False: there was no memory, and it is as it was.
    bool post() noexcept {
        const posting attempt(this);
        try {
            asio::post(work_.get_executor(), completion(this));
        } catch (...) {
            return false;
        }
        if (attempt.dropped) {
            destroy();  // the executor took it and threw it away
        }
        return true;
    }

    void unhook() noexcept {
        if (hooked_) {
            slot_.clear();
        }
    }

    void destroy() noexcept {
        unhook();
        // The handler may own whatever the zone hands out: it goes last, when this operation is gone.
        Handler handler(std::move(handler_));
        auto zone = std::move(zone_);
        release(handler);
        zone->operation_finished();
    }

    void release(Handler& handler) noexcept {
        allocator_type allocator(asio::get_associated_allocator(handler, asio::recycling_allocator<void>()));
        this->~waiter_operation();
        std::allocator_traits<allocator_type>::deallocate(allocator, this, 1);
    }

    auto take_result() noexcept {
        try {
            return this->take();
        } catch (...) {
            return decltype(this->take())(error(errc::out_of_memory));  // for the text of an error
        }
    }

    void finish() {
        unhook();
        auto work = std::move(work_);
        auto zone = std::move(zone_);
        auto result = take_result();
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
            if (op_ != nullptr && !posting::drop(op_)) {
                op_->destroy();
            }
        }
        void operator()() { std::exchange(op_, nullptr)->finish(); }

        using allocator_type = asio::recycling_allocator<void>;
        [[nodiscard]] allocator_type get_allocator() const noexcept { return {}; }

    private:
        waiter_operation* op_;
    };

    std::shared_ptr<zone_core> zone_;
    typename outstanding_work<executor_type>::type work_;
    asio::associated_cancellation_slot_t<Handler> slot_;
    bool hooked_ = false;
    retry again_{*this};
    Handler handler_;
};

}  // namespace headgate::detail

#endif
