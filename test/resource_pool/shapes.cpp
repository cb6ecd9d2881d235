// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.
//
// Backends with a member of a wrong shape, chosen by SHAPE; refused.sh compiles them. Shape 0 is right.

#include <headgate/resource_pool.hpp>

#include <memory>

namespace asio = boost::asio;
using asio::awaitable;
using headgate::result;

struct thing {
    std::unique_ptr<int> n;
};

struct right {
    awaitable<thing> connect() { co_return thing{}; }
};

#if SHAPE == 0
struct backend : right {
    awaitable<result<void>> reset(thing&) { co_return headgate::success(); }
    awaitable<void> ping(thing&) { co_return; }
    bool is_alive(const thing&) noexcept { return true; }
    awaitable<int> close(thing) { co_return 1; }
};
#elif SHAPE == 1   // says: close
struct backend : right {
    void close(thing&) {}
};
#elif SHAPE == 2   // says: close
struct backend : right {
    bool close(thing) { return true; }
};
#elif SHAPE == 3   // says: close
struct backend : right {
    void close(thing&) {}
    void close(int) {}
};
#elif SHAPE == 4   // says: close
struct backend : right {
    template <class T>
    void close(T&, int) {}
};
#elif SHAPE == 5   // says: ping
struct backend : right {
    bool ping(thing&) { return true; }
};
#elif SHAPE == 6   // says: ping
struct backend : right {
    awaitable<int> ping(thing&) { co_return 0; }
};
#elif SHAPE == 7   // says: ping
struct backend : right {
    awaitable<bool> ping(thing) { co_return true; }
};
#elif SHAPE == 8   // says: reset
struct backend : right {
    bool reset(thing) { return true; }
};
#elif SHAPE == 9   // says: reset
struct backend : right {
    int reset(thing&) { return 0; }
};
#elif SHAPE == 10  // says: is_alive
struct backend : right {
    awaitable<bool> is_alive(thing&) { co_return true; }
};
#elif SHAPE == 11  // says: is_alive
struct backend : right {
    void is_alive(thing&) {}
};
#elif SHAPE == 12  // says: is_alive
struct backend final : right {
    bool is_alive(thing) { return true; }
};
#elif SHAPE == 13  // says: connect()
struct backend {
    thing connect() { return {}; }
};
#elif SHAPE == 14  // says: connect()
struct backend {
    awaitable<int> connect() { co_return 1; }
};
#elif SHAPE == 15  // says: connect()
struct backend {
    awaitable<thing> connect(int) { co_return thing{}; }
};
#elif SHAPE == 16  // says: close
class backend : public right {
    void close(thing) {}
};
#endif

void make(headgate::zone& z) {
    (void)headgate::resource_pool<thing>::create(z, "pool", {}, backend{});
}
