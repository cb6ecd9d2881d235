// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_KEY_QUEUE_HPP
#define HEADGATE_LIB_RATE_LIMITER_KEY_QUEUE_HPP

#include <boost/intrusive/set.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <headgate/impl/limiter_core.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/impl/wait_queue.hpp>

#include "rate_limiter/limiter_machine.hpp"

namespace headgate::detail {

/// When each of a queue passes, if all before it are served. Kept as they come and go, so that a refusal behind a
/// hundred thousand waiters costs as much as one behind two. Used under the lock of the bucket.
///
/// When one leaves without being served, or is served late, the figures behind it are an upper bound until the line has
/// been walked along once more: a piece of it at each refusal.
class queue_line {
public:
    using list = waiter_list<acquire_waiter>;

    /// `w` is the last of the queue now.
    void joined(acquire_waiter& w, limiter_machine::open_bucket& bucket, time_point now) noexcept;
    /// `w` is about to leave without being served.
    void leaves(const acquire_waiter& w, const wait_queue<acquire_waiter>& queue) noexcept;
    /// `w`, the first, was served and is about to leave.
    void served(const acquire_waiter& w, time_point now) noexcept;
    /// What the bucket holds has changed otherwise.
    void start_over() noexcept;
    /// How long a request behind all waiters of `queue` has to wait. An upper bound; exact when no waiter left before
    /// its turn. Precondition: `queue` is not empty.
    [[nodiscard]] duration behind(const wait_queue<acquire_waiter>& queue, limiter_machine::open_bucket& bucket,
                                  const limiter_request& r, time_point now) noexcept;
    /// Walks along a piece of the line when that is due. True when there is more to walk. Precondition: `queue` is not
    /// empty.
    bool walk(const wait_queue<acquire_waiter>& queue, limiter_machine::open_bucket& bucket, time_point now) noexcept;

private:
    limiter_machine::projection end_;     ///< Behind all waiters.
    limiter_machine::projection walk_;    ///< Behind those that were walked along so far.
    const acquire_waiter* at_ = nullptr;  ///< The next to be walked along; null when there is none, or no walk.
    std::uint64_t last_number_ = 0;
    std::size_t walked_ = 0;
    bool exact_ = false;
    bool walking_ = false;
    bool again_ = false;
};

/// The waiters of one bucket, and the time at which the first of them may pass. It owns itself while it is among the
/// queues of its limiter, and keeps the limiter alive.
class key_queue final
    : public std::enable_shared_from_this<key_queue>,
      public boost::intrusive::set_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>> {
public:
    key_queue(limiter_core& from, const bucket_ref& bucket) : owner(from.shared_from_this()), ref(bucket) {}

    void on_timer() noexcept { owner->serve_queue(ref.hash, ref.overflow); }

    const std::shared_ptr<limiter_core> owner;
    const bucket_ref ref;
    wait_queue<acquire_waiter> waiting;
    queue_line line;
    owned_deadline<key_queue> timer;

private:
    friend limiter_queues;

    std::shared_ptr<key_queue> self_;
};

/// All wait queues of a limiter. Their lock comes before the lock of a bucket, which comes before those of the zone.
/// A bucket with a queue is marked, so that a decision in place sees with one load that it must look here.
class limiter_queues {
public:
    explicit limiter_queues(limiter_core& owner) noexcept : owner_(owner) {}

    spinlock lock;
    bool closed = false;
    owned_deadline<limiter_core> sweep;
    atomic<bool> sweeping{false};
    std::size_t idle_steps = 0;  ///< Of the sweep, one after the other, that found nothing in a small table.

    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
    [[nodiscard]] key_queue* find(const bucket_ref& ref) noexcept;
    /// The queue after a bucket's, or after none, in an order that coming and going does not change.
    [[nodiscard]] key_queue* next(const std::optional<bucket_ref>& after) noexcept;

    /// A queue for a bucket that has none; null when memory is out.
    key_queue* add(limiter_machine::open_bucket& bucket) noexcept;
    /// Called without the lock of a bucket. Precondition: the queue is empty. A queue is removed under the same hold of
    /// the lock as its last waiter.
    void remove(key_queue& queue) noexcept;

    /// `w` waits as the last, until `until` at the latest.
    void join(key_queue& queue, acquire_waiter& w, limiter_machine::open_bucket& bucket, time_point now,
              time_point until) noexcept;
    /// The first gets the answer `d`.
    void serve_first(key_queue& queue, const decision& d, time_point now, decided_waiters& decided) noexcept;
    /// All of a queue, but not more than `most`, get the answer `d`.
    void end(key_queue& queue, const decision& d, std::size_t most, decided_waiters& decided) noexcept;
    /// True when the deadline of `w`, or its cancellation, is what decides.
    bool expire(key_queue& queue, acquire_waiter& w, decided_waiters& decided) noexcept;
    bool cancel(key_queue& queue, acquire_waiter& w, decided_waiters& decided) noexcept;

private:
    struct by_ref {
        using type = bucket_ref;
        const bucket_ref& operator()(const key_queue& q) const noexcept { return q.ref; }
    };
    struct before {
        bool operator()(const bucket_ref& a, const bucket_ref& b) const noexcept {
            return a.hash != b.hash ? a.hash < b.hash : a.overflow < b.overflow;
        }
    };

    limiter_core& owner_;
    boost::intrusive::set<key_queue, boost::intrusive::key_of_value<by_ref>, boost::intrusive::compare<before>>
        by_bucket_;
    std::size_t waiting_ = 0;
};

}  // namespace headgate::detail

#endif
