// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_PARSER_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_PARSER_HPP

#include <headgate/call_context.hpp>
#include <headgate/result.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/system/error_category.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace config_service {

namespace asio = boost::asio;
using headgate::result;

/// How a worker process fails. The category's name is "parser".
enum class parser_errc {
    died = 1,   ///< It ended before it answered.
    garbage,    ///< Its output is no answer.
    too_large,  ///< Its answer is longer than the bound.
};
[[nodiscard]] boost::system::error_code make_error_code(parser_errc e) noexcept;

/// A process that answers each JSON line with one JSON line. Destroying the worker kills the process and its process
/// group. Move-only.
class worker {
public:
    worker(worker&&) noexcept;
    worker& operator=(worker&&) noexcept;
    ~worker();

    /// Sends a line and reads the next one. Errors: `parser_errc`, `canceled`. A worker that failed is not usable
    /// again.
    asio::awaitable<result<std::string>> ask(headgate::call_context context, std::string line);

    /// The number of the next question. It tells the answer to this question from late answers to earlier ones.
    std::uint64_t next_question();
    /// Marks the worker as unusable, because its output is no answer.
    void discard();
    /// Whether no call has failed, and the worker has sent no output without a question.
    [[nodiscard]] bool is_usable() const;

private:
    friend class worker_backend;
    struct impl;
    explicit worker(std::unique_ptr<impl> made);

    std::unique_ptr<impl> impl_;
};

/// The backend of the worker pool: starts workers.
class worker_backend {
public:
    /// `command` is a program, which is searched in PATH, and its arguments. `memory` bounds the address space of each
    /// process. `max_output` bounds one answer. Both are in bytes.
    worker_backend(std::vector<std::string> command, std::uint64_t memory, std::uint64_t max_output);

    /// Starts a worker and waits until it reports that it is ready.
    asio::awaitable<result<worker>> connect();
    [[nodiscard]] bool reset(worker& w) const { return w.is_usable(); }

private:
    std::vector<std::string> command_;
    std::uint64_t memory_;
    std::uint64_t max_output_;
    std::shared_ptr<asio::thread_pool> reaper_;  // waits for processes that were killed
};

}  // namespace config_service

template <>
struct boost::system::is_error_code_enum<config_service::parser_errc> : std::true_type {};

#endif
