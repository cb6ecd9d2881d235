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

/// The inner loop: sockets that are only read when there is something to read, and written at once. Each transaction
/// is two receives and two sends; Asio's own sockets would add a receive that finds nothing to each of them.
namespace db_proxy {

class relay;

/// A connected socket on a relay's epoll descriptor, edge-triggered. One thread: that of the relay's io_context.
class relay_socket {
public:
    relay_socket() = default;
    relay_socket(const relay_socket&) = delete;
    relay_socket& operator=(const relay_socket&) = delete;
    virtual ~relay_socket() { close(); }

    /// Takes a connected, non-blocking socket. What it has to read already is told at once.
    void open(relay& owner, int descriptor);
    [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }
    void close() noexcept;

    /// Sends now, or as soon as the socket takes it, in order.
    void send(std::string_view data);
    /// Not all of what was sent has left: who sends much waits for `on_sent`.
    [[nodiscard]] bool is_sending() const noexcept { return !unsent_.empty(); }

    enum class got : std::uint8_t {
        data,     ///< `count` bytes.
        nothing,  ///< Not now; `on_readable` tells when.
        end,      ///< The peer has gone, in whatever way.
    };
    struct received {
        got what;
        std::size_t count;
    };
    /// Whether a `receive` may find something.
    [[nodiscard]] bool may_receive() const noexcept { return may_receive_; }
    received receive(std::span<char> into) noexcept;
    /// Whether the peer sends nothing more than what has come.
    [[nodiscard]] bool has_ended() const noexcept { return ends_; }

protected:
    /// There is something to read, or the end; comes once, until `receive` has found nothing.
    virtual void on_readable() = 0;
    /// All that was sent has left, after it had not.
    virtual void on_sent() = 0;
    /// Precondition: it has been opened.
    [[nodiscard]] relay& owner() const noexcept { return *owner_; }

private:
    friend relay;
    void on_events(std::uint32_t events);

    relay* owner_ = nullptr;
    int descriptor_ = -1;
    bool may_receive_ = false;
    bool ends_ = false;    // the peer has said so, so that a short read is not the last
    bool broken_ = false;  // a send has failed
    std::string unsent_;
};

/// An epoll descriptor of its own, watched by an io_context.
class relay {
public:
    explicit relay(boost::asio::io_context& io);
    relay(const relay&) = delete;
    relay& operator=(const relay&) = delete;

    /// Begins to serve. Ends with `stop`, or the io_context.
    void start() { wait(); }
    void stop() { epoll_.close(); }

    /// Bytes on their way, for whoever reads; of no meaning after it has returned.
    [[nodiscard]] std::span<char> scratch() noexcept { return scratch_; }

    /// Destroys something when no event of it is handled any more.
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
