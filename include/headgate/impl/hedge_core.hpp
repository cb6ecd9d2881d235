// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_HEDGE_CORE_HPP
#define HEADGATE_IMPL_HEDGE_CORE_HPP

#include <boost/intrusive/set.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <headgate/export.hpp>
#include <headgate/hedge_options.hpp>
#include <headgate/impl/latency_window.hpp>
#include <headgate/impl/retry_core.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

/// A call that may begin another attempt when its time comes.
class hedge_timer : public boost::intrusive::set_base_hook<> {
public:
    hedge_timer() = default;
    hedge_timer(const hedge_timer&) = delete;
    hedge_timer& operator=(const hedge_timer&) = delete;

    friend bool operator<(const hedge_timer& a, const hedge_timer& b) noexcept { return a.due_ < b.due_; }

protected:
    ~hedge_timer() = default;

private:
    friend class hedge_core;

    /// Keeps the call; null when it is just being destroyed. Under the hedge's lock.
    [[nodiscard]] virtual std::shared_ptr<hedge_timer> keep() noexcept = 0;
    /// The time has come of a call that had made `hedges`. Under no lock. Throws when there is no memory to tell its
    /// executor.
    virtual void on_due(std::uint32_t hedges) = 0;

    time_point due_{};
    std::uint32_t hedges_made_ = 0;  // when it began to wait
};

/// How a call of a hedge has ended.
struct hedge_end {
    std::optional<duration> sample{};  ///< What its first attempt took, or took until another one was faster.
    bool won = false;                  ///< By an attempt beside the first one.
};

/// The shell of a hedge: which delay applies, and the calls for which it runs, of which the zone sees one deadline.
class HEADGATE_DECL hedge_core final : public primitive, public std::enable_shared_from_this<hedge_core> {
public:
    static result<std::shared_ptr<hedge_core>> create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                      const hedge_options& options);

    // Any thread.

    /// A call begins at `now`.
    void begin(time_point now) noexcept;
    /// Begins the delay before the next attempt of a call that has made `hedges`, if it may make one and the delay is
    /// known.
    void wait(hedge_timer& call, std::uint32_t hedges, time_point now) noexcept;
    /// Whether a call that has made `hedges` may make one more now; then it is paid.
    [[nodiscard]] bool pay(std::uint32_t hedges) noexcept;
    /// A call is over; its delay ends.
    void end(hedge_timer& call, const hedge_end& how) noexcept;
    /// It is destroyed.
    void forget(hedge_timer& call) noexcept;

    result<void> reconfigure(const hedge_options& options);
    [[nodiscard]] hedge_snapshot look() const noexcept;

    void on_timer() noexcept;

    // primitive
    void close() noexcept override;
    void abandon() noexcept override;
    [[nodiscard]] primitive_snapshot snapshot() const override;
    [[nodiscard]] std::uint64_t in_use() const noexcept override { return 0; }

private:
    hedge_core(const std::shared_ptr<zone_core>& zone, std::string name, const hedge_options& options,
               std::shared_ptr<retry_core> budget);

    [[nodiscard]] static result<std::shared_ptr<retry_core>> find_budget(const zone_core& zone,
                                                                         const hedge_options& options);

    // The caller holds the lock.
    [[nodiscard]] std::optional<duration> delay() const noexcept;
    void insert(hedge_timer& call, time_point due) noexcept;
    void erase(hedge_timer& call) noexcept;
    void wake_at(time_point when) noexcept;

    mutable spinlock lock_;
    hedge_options options_;
    std::shared_ptr<retry_core> budget_;
    boost::intrusive::multiset<hedge_timer> waiting_;
    latency_window successes_;
    time_point wakes_ = time_point::max();
    owned_deadline<hedge_core> deadline_;
    std::uint64_t calls_ = 0, hedges_ = 0, won_ = 0, out_of_budget_ = 0;
};

}  // namespace headgate::detail

#endif
