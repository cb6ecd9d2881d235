// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "explorer.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <semaphore.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include <headgate/impl/sync.hpp>

namespace headgate::explore {

namespace {

constexpr std::size_t max_threads = 3;
// A run with more steps than this never ends: its threads spin and wait for each other.
constexpr std::uint64_t max_steps = 1'000'000;

// A decision that was read from HEADGATE_SCHEDULE has this number of options: the text does not say how many.
constexpr std::uint8_t any = 0;

/// A point at which more than one thread could run next.
struct decision {
    std::uint8_t chosen;
    std::uint8_t options;
};

enum class state : std::uint8_t { idle, ready, waiting };

/// The thread that has the baton runs. A thread that waits for it sleeps at once. A semaphore of the standard library
/// spins first, which takes processor time from the other thread, because both share one processor.
class baton {
public:
    baton() { ::sem_init(&semaphore_, 0, 0); }
    ~baton() { ::sem_destroy(&semaphore_); }
    baton(const baton&) = delete;
    baton& operator=(const baton&) = delete;

    void acquire() {
        while (::sem_wait(&semaphore_) != 0) {
        }
    }
    void release() { ::sem_post(&semaphore_); }

private:
    ::sem_t semaphore_{};
};

/// Only one thread runs at a time, so all threads share a processor. That cuts the cost of a hand-over to a third.
void stay_on_this_processor() {
    ::cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
    ::sched_setaffinity(0, sizeof one, &one);
}

struct worker {
    std::thread thread;
    baton turn;
    const std::function<void()>* body = nullptr;
    explore::state state = explore::state::idle;
    const void* waits_at = nullptr;
    std::exception_ptr thrown;
};

class scheduler {
public:
    scheduler() {
        stay_on_this_processor();
        for (std::size_t i = 0; i < max_threads; ++i) {
            workers_[i].thread = std::thread([this, i] { work(i); });
        }
    }
    ~scheduler() {
        for (worker& w : workers_) {
            w.body = nullptr;
            w.turn.release();
            w.thread.join();
        }
    }
    scheduler(const scheduler&) = delete;
    scheduler& operator=(const scheduler&) = delete;

    /// The next runs follow `schedule` to its end, and then take the first choice.
    void begin(const char* scenario, int preemptions, std::vector<decision> schedule) {
        name_ = scenario;
        preemptions_ = preemptions;
        decisions_ = std::move(schedule);
        next_decision_ = 0;
    }

    void run(std::initializer_list<std::function<void()>> threads) {
        next_decision_ = 0;
        left_ = preemptions_;
        steps_ = 0;
        alive_ = threads.size();
        std::size_t i = 0;
        for (const auto& body : threads) {
            workers_[i].body = &body;
            workers_[i].thrown = nullptr;
            workers_[i++].state = state::ready;
        }
        switch_to(choose(no_worker));
        done_.acquire();
        for (worker& w : workers_) {
            if (w.thrown) {
                std::rethrow_exception(w.thrown);
            }
        }
        if (next_decision_ < decisions_.size()) {
            throw failure("the schedule has decisions left: the scenario does not repeat itself");
        }
    }

    /// Prepares the next schedule. False when all schedules have been tried.
    bool advance() {
        while (!decisions_.empty() && decisions_.back().chosen + 1 == decisions_.back().options) {
            decisions_.pop_back();
        }
        if (decisions_.empty()) {
            return false;
        }
        ++decisions_.back().chosen;
        return true;
    }

    [[nodiscard]] const char* name() const noexcept { return name_; }
    /// The decisions that were not the first choice, as "place:choice,...".
    [[nodiscard]] std::string schedule() const {
        std::ostringstream out;
        for (std::size_t i = 0; i < next_decision_; ++i) {
            if (decisions_[i].chosen != 0) {
                out << (out.tellp() == 0 ? "" : ",") << i << ':' << int{decisions_[i].chosen};
            }
        }
        return out.str();
    }

    void point(bool must_yield) {
        if (self_ == no_worker) {
            return;
        }
        if (++steps_ > max_steps) {
            die("a run does not end");
        }
        go_on_with(must_yield ? after(self_) : choose(self_));
    }
    void wait_at(const void* where) {
        if (self_ == no_worker) {
            die("a thread outside of the run waits for a lock: one inside holds it");
        }
        workers_[self_].state = state::waiting;
        workers_[self_].waits_at = where;
        go_on_with(choose(no_worker));
    }
    void wake_waiting(const void* where) {
        for (worker& w : workers_) {
            if (w.state == state::waiting && w.waits_at == where) {
                w.state = state::ready;
            }
        }
    }

    [[noreturn]] void die(const char* what) {
        std::fprintf(stderr, "explore: %s\n  in %s\n  HEADGATE_SCHEDULE=%s\n", what, name_, schedule().c_str());
        std::abort();
    }

private:
    static constexpr std::size_t no_worker = max_threads;

    void work(std::size_t i) {
        worker& me = workers_[i];
        for (;;) {
            me.turn.acquire();
            if (me.body == nullptr) {
                return;
            }
            self_ = i;
            try {
                (*me.body)();
            } catch (...) {
                me.thrown = std::current_exception();
            }
            self_ = no_worker;
            me.state = state::idle;
            if (--alive_ == 0) {
                done_.release();
            } else {
                switch_to(choose(no_worker));
            }
        }
    }

    /// The thread that runs next: `current`, or another, which is a preemption. Without `current`: any ready thread.
    std::size_t choose(std::size_t current) {
        std::array<std::size_t, max_threads> options{};
        std::size_t n = 0;
        if (current != no_worker) {
            options[n++] = current;
        }
        if (current == no_worker || left_ > 0) {
            for (std::size_t i = 0; i < max_threads; ++i) {
                if (i != current && workers_[i].state == state::ready) {
                    options[n++] = i;
                }
            }
        }
        if (n == 0) {
            die("every thread waits");
        }
        const std::size_t chosen = n == 1 ? 0 : decide(n);
        if (current != no_worker && chosen != 0) {
            --left_;
        }
        return options[chosen];
    }

    /// The next ready thread in turn, for a `current` that must yield.
    [[nodiscard]] std::size_t after(std::size_t current) const noexcept {
        for (std::size_t k = 1; k < max_threads; ++k) {
            const std::size_t i = (current + k) % max_threads;
            if (workers_[i].state == state::ready) {
                return i;
            }
        }
        return current;
    }

    std::size_t decide(std::size_t options) {
        if (next_decision_ == decisions_.size()) {
            decisions_.push_back({0, static_cast<std::uint8_t>(options)});
        }
        decision& d = decisions_[next_decision_];
        if ((d.options != any && d.options != options) || d.chosen >= options) {
            die("the scenario does not repeat itself");
        }
        d.options = static_cast<std::uint8_t>(options);
        return decisions_[next_decision_++].chosen;
    }

    void switch_to(std::size_t next) { workers_[next].turn.release(); }
    void go_on_with(std::size_t next) {
        const std::size_t me = self_;
        if (next != me) {
            switch_to(next);
            workers_[me].turn.acquire();
        }
    }

    static thread_local std::size_t self_;

    const char* name_ = "";
    std::array<worker, max_threads> workers_;
    baton done_;
    std::size_t alive_ = 0;
    int preemptions_ = 2;
    int left_ = 0;
    std::uint64_t steps_ = 0;
    std::vector<decision> decisions_;
    std::size_t next_decision_ = 0;
};

thread_local std::size_t scheduler::self_ = scheduler::no_worker;

scheduler& the_scheduler() {
    static scheduler s;
    return s;
}

// When a fault kills the process, this prints the schedule that led to it.
void tell_and_die(int signal) {
    const std::string text = std::string("explore: signal ") + std::to_string(signal) + "\n  in " +
                             the_scheduler().name() + "\n  HEADGATE_SCHEDULE=" + the_scheduler().schedule() + '\n';
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

std::vector<decision> read_schedule(const char* text) {
    std::vector<decision> out;
    std::istringstream in(text);
    std::size_t place = 0;
    int choice = 0;
    for (char colon = 0, comma = 0; in >> place >> colon >> choice; in >> comma) {
        out.resize(place, {0, any});
        out.push_back({static_cast<std::uint8_t>(choice), any});
    }
    return out;
}

void try_once(scheduler& s, const std::function<void(together&)>& scenario) {
    together threads;
    try {
        scenario(threads);
    } catch (const std::exception& e) {
        const std::string told = std::string(e.what()) + "\n  in " + s.name() + "\n  HEADGATE_SCHEDULE=" + s.schedule();
        FAIL(told);
    }
}

}  // namespace

void together::run(std::initializer_list<std::function<void()>> threads) {
    the_scheduler().run(threads);
}

void every_schedule(const char* name, const std::function<void(together&)>& scenario, int preemptions) {
    scheduler& s = the_scheduler();
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT}) {
        std::signal(signal, tell_and_die);
    }
    if (const char* only = std::getenv("HEADGATE_SCHEDULE")) {
        s.begin(name, preemptions, read_schedule(only));
        try_once(s, scenario);
        return;
    }
    std::uint64_t schedules = 0;
    s.begin(name, preemptions, {});
    do {
        try_once(s, scenario);
        ++schedules;
    } while (s.advance());
    std::printf("%9llu schedules: %s\n", static_cast<unsigned long long>(schedules), name);
    std::fflush(stdout);
    CHECK(schedules > 1);
}

}  // namespace headgate::explore

namespace headgate::detail {

void scheduling_point(const void* where) noexcept {
    explore::the_scheduler().point(where == nullptr);
}

void wait_at(const void* where) noexcept {
    explore::the_scheduler().wait_at(where);
}

void wake_waiting(const void* where) noexcept {
    explore::the_scheduler().wake_waiting(where);
}

}  // namespace headgate::detail
