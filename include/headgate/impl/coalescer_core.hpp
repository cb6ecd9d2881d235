// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_COALESCER_CORE_HPP
#define HEADGATE_IMPL_COALESCER_CORE_HPP

#include <boost/asio/cancellation_signal.hpp>

#include <boost/intrusive/list.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <typeinfo>
#include <utility>

#include <headgate/coalescer_options.hpp>
#include <headgate/export.hpp>
#include <headgate/impl/flight_table.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/impl/wait_queue.hpp>
#include <headgate/impl/whole_key.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

class coalescer_core;
class flight;

/// A caller that waits for a flight.
class HEADGATE_DECL flight_waiter : public waiter {
public:
    flight_waiter(std::shared_ptr<coalescer_core> core, std::shared_ptr<flight> joined) noexcept
        : core_(std::move(core)), flight_(std::move(joined)) {}

    void on_cancel() noexcept override;

protected:
    ~flight_waiter() = default;

    /// Why it has no result; `errc{}` when it has one.
    [[nodiscard]] errc refusal() const noexcept { return refusal_; }
    [[nodiscard]] const flight& joined() const noexcept { return *flight_; }

private:
    friend class coalescer_core;

    void on_deadline() noexcept override;

    std::shared_ptr<coalescer_core> core_;
    std::shared_ptr<flight> flight_;
    errc refusal_{};
};

/// One run of an operation for all who ask for its key meanwhile, and then its result. `flight_of` has the result.
///
/// The coalescer's lock guards what is said so below, the flight's own lock the rest; that one is taken second.
class HEADGATE_DECL flight
    : public flight_node,
      public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>,
      public std::enable_shared_from_this<flight> {
public:
    /// `in_place`: it runs inside of the first caller's coroutine, which cannot leave.
    flight(whole_key&& of, bool in_place) noexcept : flight_node(std::move(of)), in_place_(in_place) {}
    virtual ~flight() = default;

    [[nodiscard]] boost::asio::cancellation_slot slot() noexcept { return signal_.slot(); }

private:
    friend class coalescer_core;

    /// `landing`: the operation has ended; `landed`: the result can be read.
    enum class stage : std::uint8_t { flying, given_up, landing, landed };

    [[nodiscard]] bool is_kept() const noexcept { return is_linked() && !forgotten_; }

    // Under the coalescer's lock.
    std::shared_ptr<flight> self_;  // while the coalescer has it
    bool forgotten_ = false;        // while it flew: it is in no table
    time_point kept_since_{};
    bool kept_error_ = false;

    mutable spinlock lock_;
    wait_queue<flight_waiter> waiters_;
    std::uint32_t callers_ = 1;
    stage stage_ = stage::flying;
    bool in_place_;
    bool started_ = false;  // apart: it can be cancelled
    bool told_ = false;     // that it is cancelled
    boost::asio::cancellation_signal signal_;
};

/// What a caller finds.
enum class boarding : std::uint8_t {
    leads,    ///< Nothing: its own operation is to be run.
    joined,   ///< A flight.
    kept,     ///< A result.
    refused,  ///< The zone takes no new work.
};

/// The shell of a coalescer: flights by their keys, and results that are kept. It does not know their type.
class HEADGATE_DECL coalescer_core final : public primitive, public std::enable_shared_from_this<coalescer_core> {
public:
    /// `type` is that of its values; null: the first that is asked for.
    static result<std::shared_ptr<coalescer_core>> create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                          const coalescer_options& options, const std::type_info* type);
    ~coalescer_core() override;

    /// Whether its values are of that type; without one so far, they are from now on. Errors: `unknown_name`.
    result<void> settle_type(const std::type_info& type);

    [[nodiscard]] const hash_seed& seed() const noexcept { return seed_; }

    /// What there is for `key`; with `look_only` a flight is not joined. `found` is it.
    [[nodiscard]] boarding board(const whole_key& key, bool look_only, std::shared_ptr<flight>& found) noexcept;
    /// Lists `mine`, whose first caller is this. When somebody was faster, `mine` becomes what `board` would find.
    [[nodiscard]] boarding lead(std::shared_ptr<flight>& mine) noexcept;

    /// A flight that is not in place has been started: it can be cancelled.
    void started(flight& f) noexcept;
    /// A caller waits for the flight that it is counted in.
    void wait(flight_waiter& w, time_point until) noexcept;
    /// A caller that is counted in `f` goes, without having waited.
    void leave(flight& f) noexcept;

    /// For how long the result is kept: `failure` is its error, null for a value.
    [[nodiscard]] duration keep_span(const error* failure) const noexcept;
    /// The operation of `f` has ended, and its result is not kept. Whether anybody wants it.
    [[nodiscard]] bool take_out(flight& f) noexcept;
    /// The same, and its result, which is stored, is kept.
    void keep(flight& f, bool is_error) noexcept;
    /// The result is stored where anybody wants it: completes those who wait.
    void publish(flight& f) noexcept;

    void forget(const whole_key& key) noexcept;
    result<void> reconfigure(const coalescer_options& options);
    [[nodiscard]] coalescer_snapshot look() const noexcept;

    // primitive
    void close() noexcept override;
    void abandon() noexcept override;
    [[nodiscard]] primitive_snapshot snapshot() const override;
    [[nodiscard]] std::uint64_t in_use() const noexcept override;

private:
    friend class flight_waiter;
    using flight_list = boost::intrusive::list<flight>;
    /// What the coalescer has let go; destroyed under no lock.
    using dropped = std::shared_ptr<flight>;

    coalescer_core(const std::shared_ptr<zone_core>& zone, std::string name, const coalescer_options& options,
                   const std::type_info* type, std::uint64_t seed);

    void cancel(flight_waiter& w) noexcept;
    void expire(flight_waiter& w) noexcept;
    void give_up(flight& f) noexcept;
    void cancel_operation(flight& f) noexcept;
    void end_all(bool abandoned) noexcept;
    void end_waiters(flight& f, bool abandoned) noexcept;

    // The caller holds the lock.
    [[nodiscard]] boarding find(const whole_key& key, bool look_only, std::shared_ptr<flight>& found, dropped& gone);
    [[nodiscard]] bool join(flight& f) noexcept;
    [[nodiscard]] dropped erase(flight& f) noexcept;
    [[nodiscard]] bool end_operation(flight& f) noexcept;
    [[nodiscard]] dropped drop_one(time_point now, std::uint64_t too_many) noexcept;
    [[nodiscard]] duration span_of(const flight& f) const noexcept;
    [[nodiscard]] bool is_fresh(const flight& f, time_point now) const noexcept;
    [[nodiscard]] flight_list& list_of(const flight& f) noexcept {
        return f.forgotten_ ? forgotten_ : f.kept_error_ ? errors_ : values_;
    }
    [[nodiscard]] flight* next_flight(std::size_t& from) noexcept;

    // The caller holds the flight's lock.
    [[nodiscard]] bool leave_under_lock(flight& f, std::uint32_t callers) noexcept;

    hash_seed seed_;
    atomic<const std::type_info*> type_;
    atomic<duration::rep> keep_for_;         // written under the lock
    atomic<duration::rep> keep_errors_for_;  // likewise

    mutable spinlock lock_;
    flight_table table_;
    flight_list values_, errors_;  // that are kept, the longest kept first
    flight_list forgotten_;        // that fly
    std::uint32_t max_kept_;
    coalescer_snapshot counts_;  // all but `waiting`
    atomic<std::uint64_t> left_{0};
    atomic<std::uint64_t> waiting_{0};
};

}  // namespace headgate::detail

#endif
