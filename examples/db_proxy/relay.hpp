// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_RELAY_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_RELAY_HPP

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// The inner loop. It reads a socket only when bytes are there, and it writes at once. A transaction takes two receives
/// and two sends. Asio's own sockets would add an empty receive to each of them.
namespace db_proxy {

class relay;

/// A connected socket on a relay's epoll descriptor, edge-triggered. Use it on the thread of the relay's io_context.
class relay_socket {
public:
    relay_socket() = default;
    relay_socket(const relay_socket&) = delete;
    relay_socket& operator=(const relay_socket&) = delete;
    virtual ~relay_socket() { close(); }

    /// Takes a connected, non-blocking socket. If bytes are there already, the relay calls `on_readable` soon.
    void open(relay& owner, int descriptor);
    [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }
    void close() noexcept;

    /// Sends the bytes now, or as soon as the socket takes them, in order.
    void send(std::string_view data);
    /// Whether some bytes still wait for the socket. The sender of large data then waits for `on_sent`.
    [[nodiscard]] bool is_sending() const noexcept { return !unsent_.empty(); }

    enum class got : std::uint8_t {
        data,     ///< `count` bytes.
        nothing,  ///< No bytes now; `on_readable` tells when there are.
        end,      ///< The peer has closed the connection, or the connection is lost.
    };
    struct received {
        got what;
        std::size_t count;
    };
    /// Whether a `receive` may find bytes or the end.
    [[nodiscard]] bool may_receive() const noexcept { return may_receive_; }
    received receive(std::span<char> into) noexcept;
    /// Whether the peer has stopped sending. Earlier bytes may still be unread.
    [[nodiscard]] bool has_ended() const noexcept { return peer_ != peer::connected; }

protected:
    /// Called when bytes, or the end, can be received. The next call comes only after a `receive` that finds nothing.
    virtual void on_readable() = 0;
    /// Called when the socket has taken all the bytes that had to wait.
    virtual void on_sent() = 0;
    /// Precondition: `open` was called.
    [[nodiscard]] relay& owner() const noexcept { return *owner_; }

private:
    enum class peer : std::uint8_t {
        connected,
        leaving,  // it sends no more: after a short receive, only another receive finds the end
        lost,     // a send has failed
    };

    friend relay;
    void on_events(std::uint32_t events);

    relay* owner_ = nullptr;
    int descriptor_ = -1;
    peer peer_ = peer::connected;
    bool may_receive_ = false;
    std::string unsent_;
};

/// Owns an epoll descriptor. An io_context watches it.
class relay {
public:
    explicit relay(boost::asio::io_context& io);
    relay(const relay&) = delete;
    relay& operator=(const relay&) = delete;

    /// Begins to serve, until `stop` or the end of the io_context.
    void start() { wait(); }
    void stop() { epoll_.close(); }

    /// A buffer for one receive. All sockets share it, so its bytes are valid only until the reader returns.
    [[nodiscard]] std::span<char> scratch() noexcept { return scratch_; }

    /// Keeps a socket alive until the events that the kernel has reported for it are handled, then destroys it.
    void retire(std::shared_ptr<void> what) { retired_.push_back(std::move(what)); }

    [[nodiscard]] int descriptor() noexcept { return epoll_.native_handle(); }

private:
    void wait();
    void serve();

    boost::asio::posix::stream_descriptor epoll_;
    std::vector<char> scratch_;
    std::vector<std::shared_ptr<void>> retired_;
};

}  // namespace db_proxy

#endif
