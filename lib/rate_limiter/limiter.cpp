// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/limiter.hpp>

#include <algorithm>
#include <mutex>
#include <random>
#include <unordered_map>
#include <vector>

#include <headgate/rate_limiter.hpp>

#include "rate_limiter/busiest_keys.hpp"
#include "rate_limiter/limiter_core.hpp"

namespace headgate::detail {

namespace {

// A table with fewer keys than this is not worth a timer, which would keep the io_context running.
constexpr std::uint64_t sweep_from_keys = 1024;
// One step of the sweep looks at so many shards, of some 250 keys each: tens of microseconds for which a call on the
// same thread may have to wait. It goes around once a minute, or slower when steps would follow each other without a
// pause.
constexpr std::size_t sweep_step = 4;
constexpr duration sweep_round = std::chrono::minutes(1);
constexpr duration shortest_sweep_interval = std::chrono::milliseconds(1);

duration sweep_interval(const limiter_core& core) {
    const auto steps = static_cast<duration::rep>(std::max<std::size_t>(1, core.shards() / sweep_step));
    return std::max(shortest_sweep_interval, sweep_round / steps);
}

struct ref_hash {
    std::size_t operator()(const bucket_ref& r) const noexcept { return static_cast<std::size_t>(r.hash) ^ r.overflow; }
};

}  // namespace

/// Those who wait for one bucket, and the time at which the first of them may pass.
class key_queue final : public std::enable_shared_from_this<key_queue> {
public:
    key_queue(limiter& from, const bucket_ref& bucket) : owner(from.shared_from_this()), ref(bucket) {}

    void on_timer() noexcept { owner->serve_queue(ref.hash, ref.overflow); }

    std::shared_ptr<limiter> owner;
    bucket_ref ref;
    waiter_list<acquire_waiter> waiting;
    owned_deadline<key_queue> timer;
};

/// All wait queues of a limiter. Their lock comes before the lock of a bucket, which comes before those of the zone.
/// A bucket with a queue is marked, so that a decision in place sees with one load that it must look here.
class limiter_queues {
public:
    explicit limiter_queues(limiter& owner) noexcept : owner_(owner) {}

    detail::mutex mutex;
    std::unordered_map<bucket_ref, std::shared_ptr<key_queue>, ref_hash> by_bucket;
    std::size_t waiting = 0;
    bool closed = false;
    owned_deadline<limiter> sweep;
    atomic<bool> sweeping{false};

    /// Grants to the head of the queue as long as it passes, then arms the timer for the next; drops an empty queue.
    void serve(const std::shared_ptr<key_queue>& queue, time_point now, waiter_list<acquire_waiter>& done) {
        while (!queue->waiting.empty()) {
            acquire_waiter& head = queue->waiting.front();
            auto bucket = owner_.core().open(queue->ref, now);
            const auto at = bucket.next_time(head.request.tier, head.request.cost, now);
            if (at && *at > now) {
                queue->timer.arm(owner_.zone(), queue, *at);
                return;
            }
            const decision d = bucket.try_charge(head.request.tier, head.request.cost, now);
            settle(*queue, head, d, done);
        }
        drop(queue);
    }

    /// Takes `w` out with its fate.
    void settle(key_queue& queue, acquire_waiter& w, const decision& d, waiter_list<acquire_waiter>& done) {
        take_out(queue, w);
        w.granted_ = d.granted;
        if (d.what != verdict::granted) {
            const error e = refusal(d);
            w.outcome_ = static_cast<errc>(e.code.value());
            w.retry_after_ = e.retry_after;
        }
        if (w.settle(owner_.zone())) {
            done.push_back(w);
        }
    }

    void take_out(key_queue& queue, acquire_waiter& w) {
        queue.waiting.erase(queue.waiting.iterator_to(w));
        --waiting;
    }

    void drop(const std::shared_ptr<key_queue>& queue) {
        queue->timer.disarm(owner_.zone());
        owner_.core().unmark_waiting(queue->ref);
        by_bucket.erase(queue->ref);
    }

    /// When a request behind all who wait would pass, when each of them is served.
    static duration behind(limiter_core::open_bucket& bucket, const key_queue& queue, const limiter_request& r,
                           time_point now) {
        auto projection = bucket.project(r.tier, now);
        for (const acquire_waiter& w : queue.waiting) {
            projection.add(w.request.tier, w.request.cost);
        }
        const auto at = projection.add(r.tier, r.cost);
        return at ? std::max(duration{1}, saturating_sub(*at, now)) : duration{};
    }

    [[nodiscard]] std::shared_ptr<key_queue> find(const bucket_ref& ref) const {
        const auto found = by_bucket.find(ref);
        return found == by_bucket.end() ? nullptr : found->second;
    }

private:
    limiter& owner_;
};

namespace {

void complete_all(waiter_list<acquire_waiter>& done) noexcept {
    while (!done.empty()) {
        acquire_waiter& w = done.front();
        done.pop_front();
        w.complete();
    }
}

}  // namespace

error refusal(const decision& d) {
    switch (d.what) {
        case verdict::cost_exceeds_limit: return errc::cost_exceeds_limit;
        case verdict::zero_cost: return {errc::invalid_argument, "cost is 0; it must be at least 1"};
        case verdict::unknown_tier:
            return {errc::invalid_argument, "the tier is unknown; it must be one of the limiter's"};
        case verdict::shut_down: return errc::shut_down;
        case verdict::queue_full: return {errc::queue_full, d.retry_after};
        default: return {errc::rate_limited, d.retry_after};
    }
}

result<grant> to_result(const decision& d) {
    if (d.what == verdict::granted) {
        return d.granted;
    }
    return refusal(d);
}

limiter::limiter(std::shared_ptr<zone_core> zone, std::string name, std::unique_ptr<limiter_core> core,
                 std::uint32_t max_waiters, std::uint32_t busiest)
    : primitive(std::move(zone), primitive_kind::rate_limiter, std::move(name)),
      core_(std::move(core)),
      seed_(&core_->seed()),
      busiest_(busiest == 0 ? nullptr : std::make_unique<detail::busiest_keys>(busiest)),
      max_waiters_(max_waiters),
      queues_(std::make_unique<limiter_queues>(*this)) {}

limiter::~limiter() = default;

result<std::uint32_t> limiter::tier(std::string_view name) const {
    if (const auto found = core_->find_tier(name)) {
        return *found;
    }
    return error(errc::invalid_argument,
                 "tier \"" + std::string(name) + "\" is unknown to limiter \"" + this->name() + '"');
}

void limiter::note(const key& key, std::uint64_t hash) {
    busiest_->hit(hash, [&] { return key.text(); });
}

std::vector<busy_key> limiter::busiest_keys() const {
    return busiest_ ? busiest_->list() : std::vector<busy_key>{};
}

straight_answer limiter::straight(const limiter_request& r, time_point now) noexcept {
    if (zone().refusing()) [[unlikely]] {
        return {nullptr, 0};
    }
    return core_->straight(r.hash, r.tier, r.cost, now);
}

straight_answer limiter::straight(const limiter_request& r) noexcept {
    core_->prefetch(r.hash);
    return straight(r, zone().now());
}

// A bucket near by has a queue: perhaps it is this one.
decision limiter::decide_queued(const limiter_request& r, time_point now) noexcept {
    const std::lock_guard guard(queues_->mutex);
    auto bucket = core_->open(r.hash, now);
    const auto queue = queues_->find(bucket.ref());
    const auto largest = bucket.largest_cost(r.tier);
    if (!queue || r.cost == 0 || !largest || r.cost > *largest) {
        return bucket.try_charge(r.tier, r.cost, now);
    }
    bucket.count_refused();
    return {.what = verdict::rate_limited, .retry_after = limiter_queues::behind(bucket, *queue, r, now)};
}

decision limiter::decide(const limiter_request& r, time_point now) noexcept {
    if (zone().refusing()) {
        return {.what = verdict::shut_down};
    }
    decision d = core_->try_acquire_generally(r.hash, r.tier, r.cost, now);
    if (d.what == verdict::queued) {
        d = decide_queued(r, now);
    }
    if (d.overflow_began) {
        emit({.kind = event_kind::keys_overflowed});
    }
    if (d.inserted) {
        sweep_when_large(now);
    }
    return d;
}

std::optional<error> limiter::look(const limiter_request& r, time_point now) {
    if (zone().refusing()) {
        return error(errc::shut_down);
    }
    const std::lock_guard guard(queues_->mutex);
    auto bucket = core_->open(r.hash, now);
    const auto largest = bucket.largest_cost(r.tier);
    if (!largest) {
        return refusal({.what = verdict::unknown_tier});
    }
    if (r.cost == 0 || r.cost > *largest) {
        return refusal({.what = r.cost == 0 ? verdict::zero_cost : verdict::cost_exceeds_limit});
    }
    if (const auto queue = queues_->find(bucket.ref())) {
        return error(errc::rate_limited, limiter_queues::behind(bucket, *queue, r, now));
    }
    const auto at = bucket.next_time(r.tier, r.cost, now);
    if (!at || *at > now) {
        return error(errc::rate_limited, at ? saturating_sub(*at, now) : duration{});
    }
    return {};
}

void limiter::enqueue(acquire_waiter& w, time_point now, duration max_wait, bool refused_before) {
    waiter_list<acquire_waiter> done;
    {
        const std::lock_guard guard(queues_->mutex);
        const limiter_request& r = w.request;
        const auto answer = [&](const decision& d) {
            w.granted_ = d.granted;
            if (d.what != verdict::granted) {
                const error e = refusal(d);
                w.outcome_ = static_cast<errc>(e.code.value());
                w.retry_after_ = e.retry_after;
            }
            (void)w.settle(zone());
            done.push_back(w);
        };
        if (zone().refusing() || queues_->closed) {
            answer({.what = verdict::shut_down});
        } else {
            auto bucket = core_->open(r.hash, now);
            auto queue = queues_->find(bucket.ref());
            const auto largest = bucket.largest_cost(r.tier);
            const time_point latest = saturating_add(now, max_wait);
            std::uint64_t counted = refused_before ? 1 : 0;
            if (!queue || r.cost == 0 || !largest || r.cost > *largest) {
                const decision d = bucket.try_charge(r.tier, r.cost, now);
                if (d.what != verdict::rate_limited) {
                    answer(d);
                } else if (++counted; max_wait <= duration::zero() || saturating_add(now, d.retry_after) > latest) {
                    answer(d);
                    --counted;  // this refusal stands
                }
            } else {
                const auto soonest = bucket.next_time(r.tier, r.cost, now);
                const bool hopeless = max_wait <= duration::zero() || !soonest || *soonest > latest;
                if (hopeless || queue->waiting.size() >= max_waiters_) {
                    const auto retry_after = limiter_queues::behind(bucket, *queue, r, now);
                    answer(
                        {.what = hopeless ? verdict::rate_limited : verdict::queue_full, .retry_after = retry_after});
                    bucket.count_refused();
                }
            }
            uncounted_.fetch_add(counted, std::memory_order_relaxed);
            if (done.empty()) {
                if (!queue) {
                    queue = std::make_shared<key_queue>(*this, bucket.ref());
                    queues_->by_bucket.emplace(queue->ref, queue);
                    bucket.mark_waiting();
                    queue->timer.arm(zone(), queue, bucket.next_time(r.tier, r.cost, now).value_or(time_point::max()));
                }
                w.queue_hash_ = queue->ref.hash;
                w.queue_overflow_ = queue->ref.overflow;
                queue->waiting.push_back(w);
                ++queues_->waiting;
                w.arm(zone(), saturating_add(now, max_wait));
            }
        }
    }
    complete_all(done);
}

void limiter::serve_queue(std::uint64_t hash, bool overflow) noexcept {
    waiter_list<acquire_waiter> done;
    {
        const std::lock_guard guard(queues_->mutex);
        if (const auto queue = queues_->find({hash, overflow})) {
            queues_->serve(queue, zone().now(), done);
        }
    }
    complete_all(done);
}

void limiter::serve_all() noexcept {
    waiter_list<acquire_waiter> done;
    {
        const std::lock_guard guard(queues_->mutex);
        std::vector<std::shared_ptr<key_queue>> queues;
        for (const auto& [ref, queue] : queues_->by_bucket) {
            queues.push_back(queue);
        }
        for (const auto& queue : queues) {
            queues_->serve(queue, zone().now(), done);
        }
    }
    complete_all(done);
}

// What may be granted at this moment is granted, also to the one whose time is up: a deadline is the last moment to
// pass.
void limiter::expire(acquire_waiter& w) noexcept {
    serve_queue(w.queue_hash_, w.queue_overflow_);
    waiter_list<acquire_waiter> done;
    {
        const std::lock_guard guard(queues_->mutex);
        if (w.settle_by_deadline()) {
            const auto queue = queues_->find({w.queue_hash_, w.queue_overflow_});
            queues_->take_out(*queue, w);
            w.outcome_ = errc::wait_timed_out;
            queues_->serve(queue, zone().now(), done);
        }
    }
    w.complete();
    complete_all(done);
}

void limiter::cancel(acquire_waiter& w) noexcept {
    waiter_list<acquire_waiter> done;
    {
        const std::lock_guard guard(queues_->mutex);
        if (w.settled()) {
            return;
        }
        const auto queue = queues_->find({w.queue_hash_, w.queue_overflow_});
        queues_->take_out(*queue, w);
        w.outcome_ = errc::canceled;
        if (w.settle(zone())) {
            done.push_back(w);
        }
        queues_->serve(queue, zone().now(), done);
    }
    complete_all(done);
}

bool limiter::reset(std::uint64_t hash) {
    const bool known = core_->reset(hash, zone().now());
    serve_queue(hash, false);
    return known;
}

void limiter::close() noexcept {
    waiter_list<acquire_waiter> done;
    {
        const std::lock_guard guard(queues_->mutex);
        queues_->closed = true;
        queues_->sweep.disarm(zone());
        while (!queues_->by_bucket.empty()) {
            const auto queue = queues_->by_bucket.begin()->second;
            while (!queue->waiting.empty()) {
                queues_->settle(*queue, queue->waiting.front(), {.what = verdict::shut_down}, done);
            }
            queues_->drop(queue);
        }
    }
    complete_all(done);
}

void limiter::abandon() noexcept {
    waiter_list<acquire_waiter> gone;
    {
        const std::lock_guard guard(queues_->mutex);
        queues_->closed = true;
        queues_->sweep.disarm(zone());
        while (!queues_->by_bucket.empty()) {
            const auto queue = queues_->by_bucket.begin()->second;
            while (!queue->waiting.empty()) {
                acquire_waiter& w = queue->waiting.front();
                queues_->take_out(*queue, w);
                (void)w.settle(zone());
                gone.push_back(w);
            }
            queues_->drop(queue);
        }
    }
    while (!gone.empty()) {
        acquire_waiter& w = gone.front();
        gone.pop_front();
        w.abandon();
    }
}

void limiter::sweep_when_large(time_point now) {
    if (core_->keys() < sweep_from_keys || queues_->sweeping.load(std::memory_order_relaxed)) {
        return;
    }
    const std::lock_guard guard(queues_->mutex);
    if (!queues_->closed && !queues_->sweeping.exchange(true)) {
        queues_->sweep.arm(zone(), shared_from_this(), saturating_add(now, sweep_interval(*core_)));
    }
}

void limiter::on_timer() noexcept {
    const time_point now = zone().now();
    const auto report = core_->sweep(sweep_step, now);
    if (report.overflow_ended) {
        emit({.kind = event_kind::keys_recovered});
    }
    const std::lock_guard guard(queues_->mutex);
    if (queues_->closed) {
        return;
    }
    if (core_->keys() < sweep_from_keys) {
        queues_->sweep.disarm(zone());
        queues_->sweeping = false;
    } else {
        queues_->sweep.arm(zone(), shared_from_this(), saturating_add(now, sweep_interval(*core_)));
    }
}

primitive_snapshot limiter::snapshot() const {
    const auto counts = core_->counts();
    std::size_t waiting = 0;
    {
        const std::lock_guard guard(queues_->mutex);
        waiting = queues_->waiting;
    }
    primitive_snapshot s{.kind = kind(), .name = name(), .state = {}, .metrics = {}};
    const auto count = [&](std::string_view metric, std::uint64_t value, bool counter) {
        s.metrics.push_back({metric, static_cast<double>(value), counter});
    };
    count("granted", counts.granted, true);
    count("refused", counts.refused - uncounted_.load(std::memory_order_relaxed), true);
    count("keys", counts.keys, false);
    count("bytes", counts.bytes, false);
    count("waiting", waiting, false);
    count("overflowing", counts.overflowing ? 1 : 0, false);
    s.busiest = busiest_keys();
    return s;
}

result<grant> acquire_waiter::take() const {
    if (outcome_ == errc{}) {
        return granted_;
    }
    return error(outcome_, retry_after_);
}

void acquire_waiter::on_deadline() noexcept {
    limiter_->expire(*this);
}

void acquire_waiter::on_cancel() noexcept {
    limiter_->cancel(*this);
}

}  // namespace headgate::detail

namespace headgate {

namespace {

std::vector<detail::tier_spec> specs(const std::vector<tier>& tiers) {
    std::vector<detail::tier_spec> out;
    out.reserve(tiers.size());
    for (const tier& t : tiers) {
        out.push_back({t.name, t.quotas});
    }
    return out;
}

std::uint64_t secret_seed() {
#if defined(HEADGATE_EXPLORE)
    return 1;  // a run repeats
#else
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
#endif
}

}  // namespace

result<void> validate(const rate_limiter_options& options) {
    if (options.max_waiters == 0) {
        return error(errc::invalid_argument, "max_waiters is 0; it must be at least 1");
    }
    if (options.busiest > 1000) {
        return error(errc::invalid_argument,
                     "busiest is " + std::to_string(options.busiest) + "; it must be at most 1000");
    }
    return detail::limiter_core::check(
        {.max_keys = options.max_keys, .track_keys = options.track_keys, .unix_offset = {}}, specs(options.tiers));
}

result<rate_limiter> rate_limiter::create(zone& zone, std::string name, rate_limiter_options options) {
    BOOST_OUTCOME_TRYV(validate(options));
    const detail::limiter_settings settings{.seed = secret_seed(),
                                            .max_keys = options.max_keys,
                                            .track_keys = options.track_keys,
                                            .unix_offset = zone.core()->system_offset()};
    auto core = detail::limiter_core::make(settings, specs(options.tiers));
    if (!core) {
        return core.error();
    }
    auto impl = std::make_shared<detail::limiter>(zone.core(), std::move(name), std::move(core).value(),
                                                  options.max_waiters, options.busiest);
    if (auto added = zone.core()->add(impl); !added) {
        return added.error();
    }
    return rate_limiter(std::move(impl));
}

result<rate_limiter> rate_limiter::find(const zone& zone, std::string_view name) {
    auto found = zone.core()->find(primitive_kind::rate_limiter, name);
    if (!found) {
        return found.error();
    }
    return rate_limiter(std::static_pointer_cast<detail::limiter>(found.value()));
}

key_info rate_limiter::inspect(const key& key) const {
    const auto& core = impl_->core();
    const auto usage = core.inspect(key.hash(impl_->seed()), {}, impl_->zone().now());
    const auto convert = [](const detail::quota_usage& q) {
        return quota_usage{q.limit, q.used, q.remaining, q.reset_after};
    };
    key_info info{.known = usage.known, .tier = core.tier_name(usage.tier), .tightest = convert(usage.tightest)};
    for (const auto& q : usage.quotas) {
        info.quotas.push_back(convert(q));
    }
    if (usage.history) {
        info.created = usage.history->created;
        info.updated = usage.history->updated;
        info.refused = usage.history->refused;
    }
    return info;
}

bool rate_limiter::reset(const key& key) {
    return impl_->reset(key.hash(impl_->seed()));
}

result<void> rate_limiter::reconfigure(const std::vector<tier>& tiers) {
    auto changed = impl_->core().change(specs(tiers), impl_->zone().now());
    if (changed) {
        impl_->serve_all();
        impl_->emit({.kind = event_kind::reconfigured});
    }
    return changed;
}

result<void> rate_limiter::save(const std::string& path) const {
    return impl_->core().save_file(path, impl_->zone().now());
}

result<void> rate_limiter::load(const std::string& path) {
    return impl_->core().load_file(path, impl_->zone().now());
}

}  // namespace headgate
