// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/serial.hpp>

#include <boost/asio/detail/scheduler.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include <headgate/impl/sync.hpp>

namespace headgate::detail {

namespace {

namespace asio = boost::asio;
using plain_executor = asio::io_context::executor_type;

// The io_contexts known to be for one thread, for a look without a lock; two that share a place displace each other.
std::array<atomic<const asio::io_context*>, 64> for_one_thread;

atomic<const asio::io_context*>& place_of(const asio::io_context& context) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(&context);
    return for_one_thread[((address >> 4) ^ (address >> 10) ^ (address >> 16)) % for_one_thread.size()];
}

// Whether an io_context was made for one thread. Asio has no public way to ask. Where the answer is not known, it is
// no.
template <class Scheduler>
bool runs_on_one_thread(asio::io_context& context) {
    if constexpr (requires(Scheduler& s) { s.concurrency_hint() == 1; }) {
        const int hint = asio::use_service<Scheduler>(context).concurrency_hint();
        return hint == 1 || !BOOST_ASIO_CONCURRENCY_HINT_IS_LOCKING(SCHEDULER, hint);
    } else {
        return false;
    }
}

/// Knows whether its io_context is for one thread, and takes it out of the table when it goes.
class thread_count_service final : public asio::execution_context::service {
public:
    using key_type = thread_count_service;
    static asio::execution_context::id id;

    explicit thread_count_service(asio::execution_context& context)
        : service(context),
          context_(static_cast<asio::io_context&>(context)),
          one_(runs_on_one_thread<asio::detail::scheduler>(context_)) {}
    ~thread_count_service() override {
        const asio::io_context* mine = &context_;
        place_of(context_).compare_exchange_strong(mine, nullptr);
    }

    [[nodiscard]] bool one() const noexcept { return one_; }

private:
    void shutdown() override {}

    asio::io_context& context_;
    bool one_;
};

asio::execution_context::id thread_count_service::id;

bool is_for_one_thread(asio::io_context& context) noexcept {
    auto& place = place_of(context);
    if (place.load(std::memory_order_acquire) == &context) [[likely]] {
        return true;
    }
    try {
        const bool one = asio::use_service<thread_count_service>(context).one();
        if (one) {
            place.store(&context, std::memory_order_release);
        }
        return one;
    } catch (...) {
        return false;  // no memory for the service: a strand is right in any case
    }
}

}  // namespace

bool is_serial(const asio::any_io_executor& executor) noexcept {
    if (const auto* plain = executor.target<plain_executor>()) [[likely]] {
        return is_for_one_thread(plain->context());
    }
    return executor.target<asio::strand<plain_executor>>() != nullptr ||
           executor.target<asio::strand<asio::any_io_executor>>() != nullptr ||
           executor.target<asio::strand<asio::thread_pool::executor_type>>() != nullptr;
}

asio::any_io_executor make_serial(const asio::any_io_executor& executor) {
    if (is_serial(executor)) {
        return executor;
    }
    if (const auto* plain = executor.target<plain_executor>()) {
        return asio::make_strand(*plain);
    }
    return asio::make_strand(executor);
}

}  // namespace headgate::detail
