// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_POOL_TASKS_HPP
#define HEADGATE_IMPL_POOL_TASKS_HPP

#include <boost/asio/cancellation_signal.hpp>
#include <boost/intrusive/list.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <typeinfo>
#include <utility>

#include <headgate/export.hpp>
#include <headgate/impl/deadline.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

class pool_core;
/// A place in the pool's list of tasks.
using task_hook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct task_tag>,
                                                   boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

/// What a task runs; what an `overrun` event names.
struct backend_member {
    enum which : std::uint8_t { connect, ping, reset, close };

    which member;
    const std::type_info* backend;

    [[nodiscard]] HEADGATE_DECL std::string text() const;
};

/// A coroutine of a backend (connect, ping, reset, close) while it runs on the strand: its time limit, and its two
/// ends. The *bookkeeping* ends once: with the coroutine, or when its time is up. The *coroutine* may run on: whatever
/// it was given stays until it has ended.
///
///     begin ──► runs ──────────────────────────────► ended      the coroutine has ended: `settle`, `ended`
///                │ the limit: give_up, cancel          ▲
///                ▼                                     │
///              canceled ── again each 100 ms ──────────┤
///                │ a second later: overrun event       │
///                ▼                                     │
///              given up by the zone's close too ───────┘
class HEADGATE_DECL pool_task_run : public deadline,
                                    public named_deadline,
                                    public std::enable_shared_from_this<pool_task_run>,
                                    public task_hook {
public:
    /// A cancellation is an edge: one that comes between two waits is lost. It is given again so often.
    static constexpr duration repeat_after = std::chrono::milliseconds(100);
    static constexpr int repeats = 10;

    /// `pool` is null for a close, which may come when the pool has gone.
    pool_task_run(std::shared_ptr<pool_core> pool, std::shared_ptr<zone_core> zone, std::string pool_name,
                  backend_member what);
    virtual ~pool_task_run();

    /// Arms the limit, and lets the pool cancel it; on the strand. `duration::max()` is none.
    void begin(duration limit) noexcept;
    [[nodiscard]] boost::asio::cancellation_slot slot() noexcept { return signal_.slot(); }
    /// Cancels the coroutine; on the strand.
    void cancel() noexcept;
    /// The io_context is gone: the limit never fires.
    void abandon() noexcept;
    [[nodiscard]] backend_member::which member() const noexcept { return what_.member; }
    [[nodiscard]] std::string whose() const override;

protected:
    /// The bookkeeping ends; true for the first who says so.
    [[nodiscard]] bool settle() noexcept { return !std::exchange(settled_, true); }
    /// The coroutine has ended.
    void ended() noexcept;

private:
    friend class pool_core;

    void on_deadline() noexcept override;
    void arm(duration span) noexcept;
    void disarm() noexcept;
    void tell_overrun() noexcept;
    /// Ends the bookkeeping before the coroutine has ended, unless it has ended already.
    virtual void give_up() noexcept = 0;

    std::shared_ptr<pool_core> pool_;
    std::shared_ptr<zone_core> zone_;
    std::string pool_name_;
    backend_member what_;
    std::optional<counted_operation> count_;  // until the coroutine has ended, or has been given up
    std::shared_ptr<pool_task_run> self_;     // while it is armed
    boost::asio::cancellation_signal signal_;
    int emitted_ = 0;
    bool armed_ = false;
    bool settled_ = false;
};

using pool_task_list = boost::intrusive::list<pool_task_run, boost::intrusive::base_hook<task_hook>,
                                              boost::intrusive::constant_time_size<false>>;

}  // namespace headgate::detail

#endif
