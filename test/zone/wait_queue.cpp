// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <boost/asio/io_context.hpp>

#include <string>

#include <headgate/impl/wait_queue.hpp>
#include <headgate/zone.hpp>

namespace headgate::detail {
namespace {

using namespace std::chrono_literals;

class noted_waiter final : public waiter {
public:
    noted_waiter(char name, std::string& log, wait_queue<noted_waiter>* queue = nullptr)
        : name_(name), log_(log), queue_(queue) {}

    void complete() noexcept override { log_ += name_; }
    void abandon() noexcept override { log_ += '~'; }
    void on_cancel() noexcept override {}

private:
    void on_deadline() noexcept override {
        decided_waiters decided;
        log_ += queue_->expire(*this, decided) ? '!' : '-';
    }

    char name_;
    std::string& log_;
    wait_queue<noted_waiter>* queue_;
};

struct fixture {
    boost::asio::io_context io{1};
    virtual_clock clock;
    headgate::zone zone{io, "zone", {.clock = &clock}};
    zone_core& core = *zone.core();
    std::string log;
    wait_queue<noted_waiter> queue;
};

TEST_CASE_FIXTURE(fixture, "a wait queue is left in order, and completes what is decided when that is destroyed") {
    noted_waiter a('a', log), b('b', log), c('c', log);
    for (auto* w : {&a, &b, &c}) {
        queue.join(*w, core, time_point::max());
    }
    {
        decided_waiters decided;
        queue.settle(queue.front(), core, decided);
        CHECK(queue.cancel(c, core, decided));
        CHECK_FALSE(queue.cancel(c, core, decided));
        CHECK(log.empty());
        CHECK(queue.size() == 1);
    }
    CHECK(log == "ac");
    {
        decided_waiters decided;
        int decisions = 0;
        queue.settle_all(core, decided, [&](noted_waiter&) { ++decisions; });
        CHECK(decisions == 1);
        decided.abandon();
    }
    CHECK(log == "ac~");
    CHECK(queue.empty());
}

TEST_CASE_FIXTURE(fixture, "a deadline decides once, and a waiter that it finds decided completes all the same") {
    noted_waiter a('a', log, &queue), b('b', log, &queue);
    queue.join(a, core, clock.now() + 1s);
    queue.join(b, core, clock.now() + 2s);
    clock.run(io);
    CHECK(log == "!a!b");
    CHECK(queue.empty());
}

}  // namespace
}  // namespace headgate::detail
