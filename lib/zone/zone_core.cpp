// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/zone_core.hpp>

#include <array>
#include <mutex>
#include <vector>

#include <headgate/impl/wait_queue.hpp>
#include <headgate/impl/zone_waiters.hpp>

#include "zone/context_state.hpp"
#include "zone/driver.hpp"
#include "zone/event_stream.hpp"
#include "zone/registry.hpp"

namespace headgate::detail {

namespace {

// How old the offset of the system clock may be, and how much it has to differ: reading two clocks one after the other
// is inexact by less than that, and windows shall not move by it.
constexpr duration offset_age = std::chrono::seconds(30);
constexpr duration offset_step = std::chrono::milliseconds(1);

}  // namespace

/// Delivers events on the strand. Keeps the zone while it is posted.
class zone_core::delivery final : public serial_task {
public:
    explicit delivery(zone_core& self) noexcept : self_(self) {}

    void post() noexcept {
        const context_gate::passage inside(self_.gate_);
        if (inside) {
            zone_ = self_.shared_from_this();
            self_.queue_->post(*this);
        }
    }
    void run() override;
    void abandon() noexcept override { const auto last = std::move(zone_); }

private:
    zone_core& self_;
    std::shared_ptr<zone_core> zone_;
};

struct zone_core::state {
    explicit state(zone_core& zone) : drive(zone), deliver(zone) {}

    driver drive;
    detail::registry registry;

    event_stream events;
    delivery deliver;

    spinlock waiters_lock;
    wait_queue<sleep_waiter> sleeping;
    // The waiters of a close and of a drain. `joined` counts them, so that a look at the zone can tell that it is out
    // of date.
    std::array<wait_queue<idle_waiter>, 4> idle;
    std::uint64_t joined = 0;
    bool ended = false;  // `close` has told all primitives

    [[nodiscard]] wait_queue<idle_waiter>& queue_of(idle_wait kind) noexcept {
        return idle[static_cast<std::size_t>(kind)];
    }
    [[nodiscard]] std::size_t waiting() const noexcept {
        std::size_t sum = 0;
        for (const auto& queue : idle) {
            sum += queue.size();
        }
        return sum;
    }
};

// Primitives ----------------------------------------------------------------------------------------------------------

primitive::primitive(std::shared_ptr<zone_core> zone, primitive_kind kind, std::string name)
    : zone_(std::move(zone)), kind_(kind), name_(std::move(name)) {}

primitive::~primitive() {
    zone_->forget(*this);
}

void primitive::emit(event e) const noexcept {
    zone_->emit(kind_, name_, std::move(e));
}

// Life ----------------------------------------------------------------------------------------------------------------

std::shared_ptr<zone_core> zone_core::create(asio::io_context& context, std::string name, virtual_clock* clock,
                                             bool runs_without_breaker) {
    const std::shared_ptr<zone_core> zone(new zone_core(context, std::move(name), clock, runs_without_breaker));
    zone->home_->add(*zone);
    if (zone->clock_ != nullptr) {
        const std::lock_guard guard(zone->clock_->mutex);
        zone->clock_->zones.push_back(zone.get());
    }
    return zone;
}

zone_core::zone_core(asio::io_context& context, std::string name, virtual_clock* clock, bool runs_without_breaker)
    : context_(context),
      name_(std::move(name)),
      clock_(clock != nullptr ? clock->state_ : nullptr),
      runs_without_breaker_(runs_without_breaker),
      queue_(std::make_shared<serial_queue>(context)),
      strand_(std::in_place, queue_, context.get_executor()),
      home_(context_state::of(context)),
      state_(std::make_unique<state>(*this)) {
    read_system_offset();
}

zone_core::~zone_core() {
    if (clock_ != nullptr) {
        const std::lock_guard guard(clock_->mutex);
        std::erase(clock_->zones, this);
    }
    home_->remove(*this);
}

// No thread posts any more, and nothing here refers to the io_context any more.
void zone_core::detach() noexcept {
    gate_.close();
    state_->drive.detach();
    strand_.reset();
}

// Time ----------------------------------------------------------------------------------------------------------------

duration zone_core::system_offset() const noexcept {
    if (clock_ != nullptr) {
        return duration{clock_->offset_ns.load(std::memory_order_relaxed)};
    }
    const auto read = time_point{duration{offset_read_ns_.load(std::memory_order_relaxed)}};
    if (saturating_sub(coarse_now(), read) >= offset_age) {
        return read_system_offset();
    }
    return duration{offset_ns_.load(std::memory_order_relaxed)};
}

duration zone_core::read_system_offset() const noexcept {
    if (clock_ != nullptr) {
        return system_offset();
    }
    const duration steady = std::chrono::steady_clock::now().time_since_epoch();
    const auto system = std::chrono::system_clock::now().time_since_epoch();
    const duration offset = std::chrono::duration_cast<duration>(system) - steady;
    const duration known{offset_ns_.load(std::memory_order_relaxed)};
    offset_read_ns_.store(steady.count(), std::memory_order_relaxed);
    if (offset - known < offset_step && known - offset < offset_step) {
        return known;
    }
    offset_ns_.store(offset.count(), std::memory_order_relaxed);
    return offset;
}

void zone_core::arm(deadline& node, time_point when) noexcept {
    state_->drive.arm(node, when);
}

bool zone_core::disarm(deadline& node) noexcept {
    return state_->drive.disarm(node);
}

time_point zone_core::next_wake() const noexcept {
    return state_->drive.next_wake();
}

void zone_core::wake() noexcept {
    state_->drive.wake();
}

// Events --------------------------------------------------------------------------------------------------------------

std::uint64_t zone_core::subscribe(std::function<void(const event&)> handler) {
    return state_->events.subscribe(std::move(handler));
}

void zone_core::unsubscribe(std::uint64_t id) noexcept {
    state_->events.unsubscribe(id);
}

void zone_core::emit(primitive_kind kind, const std::string& name, event e) noexcept {
    e.primitive = kind;
    if (state_->events.emit(std::move(e), name, *this)) {
        state_->deliver.post();
    }
}

void zone_core::delivery::run() {
    /// Posts the remaining work, also when a handler throws.
    struct rest {
        state& of;
        ~rest() {
            if (of.events.has_more()) {
                of.deliver.post();
            }
        }
    };
    const auto zone = std::move(zone_);
    const rest goes_on{*zone->state_};
    zone->state_->events.deliver();
}

// The registry --------------------------------------------------------------------------------------------------------

result<void> zone_core::add(std::shared_ptr<primitive> p) {
    if (p->name().empty()) {
        return error(errc::invalid_argument, "the name is empty; it must have at least one character");
    }
    return state_->registry.add(std::move(p), [this] { return refusing(); }, name_);
}

result<std::shared_ptr<primitive>> zone_core::find(primitive_kind kind, std::string_view name) const {
    return state_->registry.find(kind, name, name_);
}

void zone_core::remove(primitive_kind kind, std::string_view name) noexcept {
    if (const auto gone = state_->registry.remove(kind, name)) {
        gone->drain();
    }
}

void zone_core::stage() noexcept {
    state_->registry.stage();
}

void zone_core::settle_staged(bool keep) noexcept {
    state_->registry.settle_staged(keep);
}

void zone_core::forget(primitive& p) noexcept {
    state_->registry.forget(p);
    returned();  // it may have lived for the sake of what a drain waits for
}

zone_snapshot zone_core::snapshot() const {
    zone_snapshot s;
    s.name = name_;
    s.closed = closed();
    s.operations = operations_.load(std::memory_order_relaxed);
    for (const auto& p : state_->registry.named()) {
        s.primitives.push_back(p->snapshot());
    }
    return s;
}

// The end -------------------------------------------------------------------------------------------------------------

void zone_core::drain() noexcept {
    auto open = stage_kind::open;
    if (stage_.compare_exchange_strong(open, stage_kind::draining)) {
        for (auto p = state_->registry.next({}); p; p = state_->registry.next(p)) {
            p->drain();
        }
    }
}

void zone_core::close() noexcept {
    if (stage_.exchange(stage_kind::closed) != stage_kind::closed) {
        for (auto p = state_->registry.next({}); p; p = state_->registry.next(p)) {
            p->close();
        }
        decided_waiters ended;
        const std::lock_guard guard(state_->waiters_lock);
        state_->sleeping.settle_all(*this, ended, [](sleep_waiter& w) { w.outcome = errc::shut_down; });
        state_->ended = true;
        state_->drive.wake();  // a timer that has nothing left to wait for keeps the io_context running no longer
    }
    check_idle();
}

void zone_core::release() noexcept {
    close();
    state_->registry.remove_all();
}

// No thread posts to this io_context any more, but threads of other ones still call. The waiters are taken out first:
// whatever ends here must not complete one of them.
void zone_core::abandon() noexcept {
    stage_ = stage_kind::closed;
    decided_waiters waiting;
    {
        const std::lock_guard guard(state_->waiters_lock);
        state_->ended = true;
        const auto shut_down = [](auto& w) { w.outcome = errc::shut_down; };
        state_->sleeping.settle_all(*this, waiting, shut_down);
        for (auto& queue : state_->idle) {
            queue.settle_all(*this, waiting, shut_down);
        }
    }
    for (auto p = state_->registry.next({}); p; p = state_->registry.next(p)) {
        p->abandon();
    }
    state_->events.unsubscribe_all();
    waiting.abandon();
}

// Either this thread sees the stage that a drain or a close has set, or that one sees this thread's count: all four
// accesses are sequentially consistent. With a weaker order, on a machine that delays stores, both could see the old
// value, and no thread would complete the drain.
void zone_core::operation_finished() noexcept {
    operations_.fetch_sub(1, std::memory_order_seq_cst);
    if (stage_.load(std::memory_order_seq_cst) != stage_kind::open) {
        check_idle();
    }
}

// Completes the waiters of a close or a drain once it has ended. A close waits for operations; a drain waits for leases
// and permits too. Operations are looked at first: an operation that ends with a lease has it before it ends, and after
// a drain has begun only operations get leases. Leases are looked at without a lock, because releasing a primitive may
// destroy it. An operation that joins meanwhile is not in the count yet, so the look is repeated.
void zone_core::check_idle() noexcept {
    for (;;) {
        std::uint64_t joined = 0;
        std::size_t waiting = 0;
        {
            const std::lock_guard guard(state_->waiters_lock);
            joined = state_->joined;
            waiting = state_->waiting();
        }
        if (waiting == 0 || operations_.load(std::memory_order_seq_cst) > waiting) {
            return;
        }
        const bool used = state_->registry.in_use() > 0;
        decided_waiters done;
        const std::lock_guard guard(state_->waiters_lock);
        if (state_->joined != joined) {
            continue;
        }
        using kind = idle_wait;
        for (const kind each : {kind::close, kind::drain, kind::look, kind::drop}) {
            const bool by_close = state_->ended && (each == kind::close || each == kind::drop);
            if (by_close || (!used && each != kind::close)) {
                state_->queue_of(each).settle_all(*this, done, [](idle_waiter&) {});
            }
        }
        return;
    }
}

void zone_core::enqueue(idle_waiter& w, idle_wait wanted, duration limit) noexcept {
    using kind = idle_wait;
    const auto self = shared_from_this();  // the waiter may go
    const bool looks = wanted == kind::drain && limit <= duration::zero();
    const bool bounded = wanted == kind::drain && !looks && limit != duration::max();
    std::uint64_t number = 0;
    {
        decided_waiters ended;
        const std::lock_guard guard(state_->waiters_lock);
        number = ++state_->joined;
        if (w.canceled_early()) {
            w.outcome = errc::canceled;
            (void)w.settle(*this);
            ended.add(w);
        } else {
            w.waits_for = looks ? kind::look : wanted;
            w.number = number;
            state_->queue_of(w.waits_for).join(w, *this, bounded ? saturating_add(now(), limit) : time_point::max());
        }
    }
    if (wanted == kind::close) {
        close();
        return;
    }
    drain();
    check_idle();
    if (looks) {
        end_looks(number);
    }
}

// Those that joined before the last `check_idle`, and that it did not complete.
void zone_core::end_looks(std::uint64_t last) noexcept {
    const std::uint64_t left = what_is_left();
    decided_waiters ended;
    const std::lock_guard guard(state_->waiters_lock);
    auto& looks = state_->queue_of(idle_wait::look);
    while (!looks.empty() && looks.front().number <= last) {
        looks.front().time_out(left);
        looks.settle(looks.front(), *this, ended);
    }
}

// For a drain: the operations beside itself.
std::uint64_t zone_core::what_is_left() const noexcept {
    return state_->registry.in_use() + operations_.load(std::memory_order_relaxed) - 1;
}

void zone_core::expire(idle_waiter& w) noexcept {
    const std::uint64_t left = what_is_left();
    decided_waiters ended;
    const std::lock_guard guard(state_->waiters_lock);
    if (state_->queue_of(w.waits_for).expire(w, ended)) {
        w.time_out(left);
    }
}

void zone_core::cancel(idle_waiter& w) noexcept {
    decided_waiters ended;
    const std::lock_guard guard(state_->waiters_lock);
    if (state_->queue_of(w.waits_for).cancel(w, *this, ended)) {
        w.outcome = errc::canceled;
    }
}

// Sleeping ------------------------------------------------------------------------------------------------------------

void zone_core::enqueue(sleep_waiter& w, duration span) noexcept {
    decided_waiters ended;
    const std::lock_guard guard(state_->waiters_lock);
    if (!refusing() && span > duration::zero() && !w.canceled_early()) {
        state_->sleeping.join(w, *this, span == duration::max() ? time_point::max() : saturating_add(now(), span));
        return;
    }
    w.outcome = w.canceled_early() ? errc::canceled : refusing() ? errc::shut_down : errc{};
    (void)w.settle(*this);
    ended.add(w);
}

void zone_core::expire(sleep_waiter& w) noexcept {
    decided_waiters ended;
    const std::lock_guard guard(state_->waiters_lock);
    state_->sleeping.expire(w, ended);
}

void zone_core::cancel(sleep_waiter& w) noexcept {
    decided_waiters ended;
    const std::lock_guard guard(state_->waiters_lock);
    if (state_->sleeping.cancel(w, *this, ended)) {
        w.outcome = errc::canceled;
    }
}

void sleep_waiter::on_deadline() noexcept {
    zone_.expire(*this);
}

void sleep_waiter::on_cancel() noexcept {
    zone_.cancel(*this);
}

void idle_waiter::on_deadline() noexcept {
    zone_.expire(*this);
}

void idle_waiter::on_cancel() noexcept {
    zone_.cancel(*this);
}

}  // namespace headgate::detail
