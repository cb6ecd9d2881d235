// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "rate_limiter/key_queue.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace headgate::detail {
namespace {

/// So many are walked along at once: some microseconds.
constexpr std::size_t walked_at_once = 128;

}  // namespace

// ---- the line

void queue_line::joined(acquire_waiter& w, limiter_machine::open_bucket& bucket, time_point now) noexcept {
    w.number_ = ++last_number_;
    if (w.number_ == 1) {
        end_ = bucket.project(w.request.tier, now);
        exact_ = true;
    }
    w.expected_ = time_point::max();
    if (end_.is_of_now()) {
        w.expected_ = end_.add(w.request.tier, w.request.cost).value_or(time_point::max());
    } else {
        exact_ = false;
    }
    if (walking_ && at_ == nullptr) {
        at_ = &w;
    }
}

void queue_line::leaves(const acquire_waiter& w, const wait_queue<acquire_waiter>& queue) noexcept {
    exact_ = false;
    if (!walking_) {
        return;
    }
    again_ |= at_ == nullptr || w.number_ < at_->number_;
    if (at_ == &w) {
        const auto next = std::next(list::s_iterator_to(w));
        at_ = next == queue.end() ? nullptr : &*next;
    }
}

void queue_line::served(const acquire_waiter& w, time_point now) noexcept {
    exact_ = exact_ && now <= w.expected_;
    if (at_ == &w) {
        walking_ = false;  // it began with what the bucket held before
    }
}

void queue_line::start_over() noexcept {
    exact_ = false;
    walking_ = false;
}

bool queue_line::walk(const wait_queue<acquire_waiter>& queue, limiter_machine::open_bucket& bucket,
                      time_point now) noexcept {
    if (exact_ && end_.is_of_now()) {
        return false;
    }
    if (!walking_ || !walk_.is_of_now()) {
        at_ = &*queue.begin();
        walk_ = bucket.project(at_->request.tier, now);
        walked_ = 0;
        walking_ = true;
        again_ = false;
    }
    for (std::size_t n = walked_at_once; n > 0 && at_ != nullptr; --n, ++walked_) {
        walk_.add(at_->request.tier, at_->request.cost);
        const auto next = std::next(list::s_iterator_to(*at_));
        at_ = next == queue.end() ? nullptr : &*next;
    }
    if (at_ != nullptr) {
        return true;
    }
    end_ = walk_;
    exact_ = !again_;
    walking_ = false;
    return false;
}

duration queue_line::behind(const wait_queue<acquire_waiter>& queue, limiter_machine::open_bucket& bucket,
                            const limiter_request& r, time_point now) noexcept {
    // The line is walked once: quotas may change at any time, and the states read under this hold of the bucket serve
    // until its end.
    const bool whole = !walk(queue, bucket, now);
    auto line = whole ? end_ : walk_;
    const auto at = line.add(r.tier, r.cost);
    if (!at) {
        return {};
    }
    duration wait = saturating_sub(*at, now);
    if (!whole) {
        // Quotas have changed, and the walk is not through: the others will take as long as those so far.
        const auto each = static_cast<int128>(wait.count()) / static_cast<int128>(walked_ + 1);
        wait = to_duration(each * static_cast<int128>(queue.size() + 1));
    }
    return std::max(duration{1}, wait);
}

// ---- the queues

key_queue* limiter_queues::find(const bucket_ref& ref) noexcept {
    const auto found = by_bucket_.find(ref);
    return found == by_bucket_.end() ? nullptr : &*found;
}

key_queue* limiter_queues::next(const std::optional<bucket_ref>& after) noexcept {
    const auto at = after ? by_bucket_.upper_bound(*after) : by_bucket_.begin();
    return at == by_bucket_.end() ? nullptr : &*at;
}

key_queue* limiter_queues::add(limiter_machine::open_bucket& bucket) noexcept {
    std::shared_ptr<key_queue> queue;
    try {
        queue = std::make_shared<key_queue>(owner_, bucket.ref());
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
    by_bucket_.insert(*queue);
    bucket.mark_waiting();
    queue->self_ = queue;
    return queue.get();
}

void limiter_queues::remove(key_queue& queue) noexcept {
    const std::shared_ptr<key_queue> last = std::move(queue.self_);
    queue.timer.disarm(owner_.zone());
    owner_.machine().unmark_waiting(queue.ref);
    by_bucket_.erase(by_bucket_.iterator_to(queue));
}

void limiter_queues::join(key_queue& queue, acquire_waiter& w, limiter_machine::open_bucket& bucket, time_point now,
                          time_point until) noexcept {
    w.queue_hash_ = queue.ref.hash;
    w.queue_overflow_ = queue.ref.overflow;
    queue.line.joined(w, bucket, now);
    queue.waiting.join(w, owner_.zone(), until);
    ++waiting_;
}

void limiter_queues::serve_first(key_queue& queue, const decision& d, time_point now,
                                 decided_waiters& decided) noexcept {
    acquire_waiter& w = queue.waiting.front();
    w.decision_ = d;
    if (d.what == verdict::granted) {
        queue.line.served(w, now);
    } else {
        queue.line.leaves(w, queue.waiting);
    }
    queue.waiting.settle(w, owner_.zone(), decided);
    --waiting_;
}

void limiter_queues::end(key_queue& queue, const decision& d, std::size_t most, decided_waiters& decided) noexcept {
    for (; most > 0 && !queue.waiting.empty(); --most) {
        acquire_waiter& w = queue.waiting.front();
        w.decision_ = d;
        queue.waiting.settle(w, owner_.zone(), decided);
        --waiting_;
    }
    queue.line.start_over();
}

bool limiter_queues::expire(key_queue& queue, acquire_waiter& w, decided_waiters& decided) noexcept {
    if (!w.settled()) {
        queue.line.leaves(w, queue.waiting);
        w.decision_.what = verdict::wait_timed_out;
        --waiting_;
    }
    return queue.waiting.expire(w, decided);
}

bool limiter_queues::cancel(key_queue& queue, acquire_waiter& w, decided_waiters& decided) noexcept {
    if (w.settled()) {
        return false;
    }
    queue.line.leaves(w, queue.waiting);
    w.decision_.what = verdict::canceled;
    --waiting_;
    return queue.waiting.cancel(w, owner_.zone(), decided);
}

}  // namespace headgate::detail
