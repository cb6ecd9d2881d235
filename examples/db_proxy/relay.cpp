// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "relay.hpp"

#include <boost/system/system_error.hpp>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace db_proxy {

namespace {

constexpr std::size_t scratch_size = std::size_t{128} * 1024;
constexpr int most_rounds = 16;

[[noreturn]] void throw_errno(const char* what) {
    throw boost::system::system_error(errno, boost::system::system_category(), what);
}

int make_epoll() {
    const int descriptor = ::epoll_create1(EPOLL_CLOEXEC);
    if (descriptor < 0) {
        throw_errno("epoll_create1");
    }
    return descriptor;
}

}  // namespace

void relay_socket::open(relay& owner, int descriptor) {
    owner_ = &owner;
    descriptor_ = descriptor;
    // One call for both directions is enough. The kernel reports EPOLLOUT only after a send that fell short.
    epoll_event what{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = this}};
    if (::epoll_ctl(owner.descriptor(), EPOLL_CTL_ADD, descriptor, &what) != 0) {
        throw_errno("epoll_ctl");
    }
}

void relay_socket::close() noexcept {
    if (descriptor_ >= 0) {
        ::close(std::exchange(descriptor_, -1));
        may_receive_ = false;
        unsent_ = {};
    }
}

void relay_socket::send(std::string_view data) {
    if (descriptor_ < 0) {
        return;
    }
    if (unsent_.empty()) {
        ssize_t n = 0;
        do {
            n = ::send(descriptor_, data.data(), data.size(), MSG_NOSIGNAL);
        } while (n < 0 && errno == EINTR);
        if (n < 0 && errno != EAGAIN) {
            peer_ = peer::lost;
            may_receive_ = true;  // the next receive reports the loss to the reader
            return;
        }
        data.remove_prefix(n < 0 ? 0 : static_cast<std::size_t>(n));
    }
    unsent_ += data;
}

relay_socket::received relay_socket::receive(std::span<char> into) noexcept {
    if (descriptor_ < 0 || peer_ == peer::lost) {
        may_receive_ = false;
        return {got::end, 0};
    }
    ssize_t n = 0;
    do {
        n = ::recv(descriptor_, into.data(), into.size(), 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        const auto count = static_cast<std::size_t>(n);
        // A short receive has emptied the socket. Later bytes cause another event.
        may_receive_ = count == into.size() || has_ended();
        return {got::data, count};
    }
    may_receive_ = false;
    return {n < 0 && errno == EAGAIN ? got::nothing : got::end, 0};
}

void relay_socket::on_events(std::uint32_t events) {
    if ((events & EPOLLOUT) != 0 && !unsent_.empty()) {
        const std::string waiting = std::exchange(unsent_, {});
        send(waiting);
        if (unsent_.empty()) {
            on_sent();
        }
    }
    if (descriptor_ >= 0 && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 && peer_ == peer::connected) {
            peer_ = peer::leaving;
        }
        may_receive_ = true;
        on_readable();
    }
}

relay::relay(boost::asio::io_context& io) : epoll_(io, make_epoll()), scratch_(scratch_size) {}

void relay::wait() {
    epoll_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& ec) {
        if (!ec) {
            serve();
            wait();
        }
    });
}

void relay::serve() {
    std::array<epoll_event, 64> events{};
    // Serves events that arrive meanwhile in the same run, because a return to the io_context takes three system calls.
    // Limits the number of rounds, because other handlers wait in the io_context.
    for (int round = 0; round < most_rounds; ++round) {
        const int n = ::epoll_wait(epoll_.native_handle(), events.data(), static_cast<int>(events.size()), 0);
        for (int i = 0; i < n; ++i) {
            const epoll_event& one = events[static_cast<std::size_t>(i)];
            static_cast<relay_socket*>(one.data.ptr)->on_events(one.events);
        }
        std::exchange(retired_, {}).clear();
        if (n <= 0) {
            return;
        }
    }
}

}  // namespace db_proxy
