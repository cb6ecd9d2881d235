// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "parser.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

extern char** environ;

namespace config_service {

namespace {

using boost::system::error_code;
using local = asio::local::stream_protocol;

class category final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "parser"; }
    std::string message(int value) const override {
        switch (static_cast<parser_errc>(value)) {
            case parser_errc::died: return "the parser ended before it answered";
            case parser_errc::garbage: return "the parser wrote what is no answer";
            case parser_errc::too_large: return "the parser's answer is too long";
        }
        return "an unknown fault of the parser";
    }
};

error_code last_error() {
    return {errno, boost::system::system_category()};
}

// Starts `command` with `end` as its standard input and output, in a process group of its own.
error_code spawn(const std::vector<std::string>& command, int end, pid_t& pid) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&files, end, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, end, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigaddset(&signals, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (const std::string& word : command) {
        arguments.push_back(const_cast<char*>(word.c_str()));
    }
    arguments.push_back(nullptr);
    const int failed = posix_spawnp(&pid, arguments.front(), &files, &attributes, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return {failed, boost::system::system_category()};
}

}  // namespace

error_code make_error_code(parser_errc e) noexcept {
    static const category the_category;
    return {static_cast<int>(e), the_category};
}

struct worker::impl {
    impl(local::socket s, pid_t process, std::uint64_t most, std::shared_ptr<asio::thread_pool> r)
        : socket(std::move(s)), pid(process), max_output(most), reaper(std::move(r)) {}
    impl(const impl&) = delete;
    impl& operator=(const impl&) = delete;
    ~impl() {
        ::kill(-pid, SIGKILL);
        // The wait is short, but it may block: a process that dumps core or swaps needs time to end.
        asio::post(*reaper, [process = pid] { ::waitpid(process, nullptr, 0); });
    }

    local::socket socket;
    pid_t pid;
    std::uint64_t max_output;
    std::shared_ptr<asio::thread_pool> reaper;
    std::string buffer;
    std::uint64_t questions = 0;
    bool usable = true;
};

worker::worker(std::unique_ptr<impl> made) : impl_(std::move(made)) {}
worker::worker(worker&&) noexcept = default;
worker& worker::operator=(worker&&) noexcept = default;
worker::~worker() = default;

std::uint64_t worker::next_question() {
    return ++impl_->questions;
}

void worker::discard() {
    impl_->usable = false;
}

bool worker::is_usable() const {
    error_code ec;
    return impl_->usable && impl_->buffer.empty() && impl_->socket.available(ec) == 0 && !ec;
}

asio::awaitable<result<std::string>> worker::ask(headgate::call_context context, std::string line) {
    impl& me = *impl_;
    me.usable = false;  // until it has answered
    error_code ec;
    const auto until_deadline = [&] {
        return asio::bind_cancellation_slot(context.slot(), asio::redirect_error(asio::use_awaitable, ec));
    };
    if (!line.empty()) {
        line += '\n';
        co_await asio::async_write(me.socket, asio::buffer(line), until_deadline());
    }
    std::size_t n = 0;
    if (!ec) {
        n = co_await asio::async_read_until(me.socket, asio::dynamic_buffer(me.buffer, me.max_output), '\n',
                                            until_deadline());
    }
    if (ec == asio::error::operation_aborted) {
        co_return headgate::error(headgate::errc::canceled);
    }
    if (ec) {
        co_return headgate::error(ec == asio::error::not_found ? parser_errc::too_large : parser_errc::died);
    }
    std::string answer = me.buffer.substr(0, n - 1);
    me.buffer.erase(0, n);
    me.usable = true;
    co_return answer;
}

worker_backend::worker_backend(std::vector<std::string> command, std::uint64_t memory, std::uint64_t max_output)
    : command_(std::move(command)),
      memory_(memory),
      max_output_(max_output),
      reaper_(std::make_shared<asio::thread_pool>(1)) {}

asio::awaitable<result<worker>> worker_backend::connect() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        co_return headgate::error(last_error());
    }
    local::socket ours(co_await asio::this_coro::executor, local(), ends[0]);
    pid_t pid = 0;
    const error_code failed = spawn(command_, ends[1], pid);
    ::close(ends[1]);
    if (failed) {
        co_return headgate::error(failed);
    }
    worker made(std::make_unique<worker::impl>(std::move(ours), pid, max_output_, reaper_));
    const rlimit bound{memory_, memory_};
    if (::prlimit(pid, RLIMIT_AS, &bound, nullptr) != 0) {
        co_return headgate::error(last_error());
    }
    const result<std::string> greeting = co_await made.ask({}, {});
    if (!greeting) {
        co_return greeting.error();
    }
    if (greeting.value().find("\"ready\"") == std::string::npos) {
        co_return headgate::error(parser_errc::garbage);
    }
    co_return made;
}

}  // namespace config_service
