// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.
//
// Backends in which one member has a wrong signature. FORM chooses the backend; misuse/refused.sh compiles each. Form 0
// is right.

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

#if FORM == 0
struct backend : right {
    awaitable<result<void>> reset(thing&) { co_return headgate::success(); }
    awaitable<void> ping(thing&) { co_return; }
    bool is_alive(const thing&) noexcept { return true; }
    awaitable<int> close(thing) { co_return 1; }
};
#elif FORM == 1   // says: the backend.* close
struct backend : right {
    void close(thing&) {}
};
#elif FORM == 2   // says: the backend.* close
struct backend : right {
    bool close(thing) { return true; }
};
#elif FORM == 3   // says: the backend.* close
struct backend : right {
    void close(thing&) {}
    void close(int) {}
};
#elif FORM == 4   // says: the backend.* close
struct backend : right {
    template <class T>
    void close(T&, int) {}
};
#elif FORM == 5   // says: the backend.* ping
struct backend : right {
    bool ping(thing&) { return true; }
};
#elif FORM == 6   // says: the backend.* ping
struct backend : right {
    awaitable<int> ping(thing&) { co_return 0; }
};
#elif FORM == 7   // says: the backend.* ping
struct backend : right {
    awaitable<bool> ping(thing) { co_return true; }
};
#elif FORM == 8   // says: the backend.* reset
struct backend : right {
    bool reset(thing) { return true; }
};
#elif FORM == 9   // says: the backend.* reset
struct backend : right {
    int reset(thing&) { return 0; }
};
#elif FORM == 10  // says: the backend.* is_alive
struct backend : right {
    awaitable<bool> is_alive(thing&) { co_return true; }
};
#elif FORM == 11  // says: the backend.* is_alive
struct backend : right {
    void is_alive(thing&) {}
};
#elif FORM == 12  // says: the backend.* is_alive
struct backend final : right {
    bool is_alive(thing) { return true; }
};
#elif FORM == 13  // says: the backend.* connect()
struct backend {
    thing connect() { return {}; }
};
#elif FORM == 14  // says: the backend.* connect()
struct backend {
    awaitable<int> connect() { co_return 1; }
};
#elif FORM == 15  // says: the backend.* connect()
struct backend {
    awaitable<thing> connect(int) { co_return thing{}; }
};
#elif FORM == 16  // says: the backend.* close
class backend : public right {
    void close(thing) {}
};
#endif

void make(headgate::zone& z) {
    (void)headgate::resource_pool<thing>::create(z, "pool", {}, backend{});
}
