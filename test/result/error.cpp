// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <boost/asio/error.hpp>

#include <stdexcept>
#include <string>
#include <system_error>

#include <headgate/result.hpp>

namespace headgate {
namespace {

using namespace std::chrono_literals;

TEST_CASE("every errc has its own message and the category is headgate") {
    std::string previous;
    for (int value = 1; value <= static_cast<int>(errc::out_of_memory); ++value) {
        const auto code = make_error_code(static_cast<errc>(value));
        CHECK(std::string(code.category().name()) == "headgate");
        CHECK(code.message() != previous);
        CHECK(code.message().find("unknown") == std::string::npos);
        previous = code.message();
    }
    CHECK(error_category().message(99) == "unknown headgate error 99");
}

TEST_CASE("errors compare with std::errc where one fits") {
    CHECK(error(errc::rate_limited).code == std::errc::resource_unavailable_try_again);
    CHECK(error(errc::circuit_open).code == std::errc::resource_unavailable_try_again);
    CHECK(error(errc::timed_out).code == std::errc::timed_out);
    CHECK(error(errc::wait_timed_out).code == std::errc::timed_out);
    CHECK(error(errc::canceled).code == std::errc::operation_canceled);
    CHECK(error(errc::invalid_argument).code == std::errc::invalid_argument);
    CHECK(error(errc::shut_down).code != std::errc::timed_out);
}

TEST_CASE("a cancellation is one by whatever name it comes") {
    const auto thrown = [](auto e) { return error(errc::operation_failed, std::make_exception_ptr(e)); };
    CHECK(is_canceled(errc::canceled));
    CHECK(is_canceled(error(boost::asio::error::operation_aborted)));
    CHECK(is_canceled(error(make_error_code(boost::system::errc::operation_canceled))));
    CHECK(is_canceled(thrown(boost::system::system_error(boost::asio::error::operation_aborted))));
    CHECK(is_canceled(thrown(std::system_error(std::make_error_code(std::errc::operation_canceled)))));
    CHECK_FALSE(is_canceled(errc::timed_out));
    CHECK_FALSE(is_canceled(errc::operation_failed));
    CHECK_FALSE(is_canceled(error(boost::asio::error::eof)));
    CHECK_FALSE(is_canceled(thrown(std::runtime_error("no"))));
}

TEST_CASE("value() of a failed result throws a system_error that keeps the payload") {
    const result<int> refused = error(errc::rate_limited, 6s);
    try {
        (void)refused.value();
        FAIL("value() returned");
    } catch (const system_error& e) {
        CHECK(e.code() == make_error_code(errc::rate_limited));
        CHECK(e.payload().retry_after == 6s);
    }
}

TEST_CASE("a message holds the code's text, and the detail or what the cause says") {
    CHECK(error(errc::shut_down).message() == "the zone is closed");
    CHECK(error(errc::invalid_argument, "burst is 0").message() == "a parameter is out of its range: burst is 0");
    const auto cause = std::make_exception_ptr(std::runtime_error("refused"));
    CHECK(error(errc::connect_failed, cause).message() == "the pool cannot connect: refused");
    CHECK(error(errc::operation_failed, std::make_exception_ptr(7)).message() ==
          "the protected operation failed: an exception that is no std::exception");
}

TEST_CASE("times are held at the ends of their range") {
    CHECK(saturating_add(time_point::max() - 1ns, 2ns) == time_point::max());
    CHECK(saturating_add(time_point::min(), -1ns) == time_point::min());
    CHECK(saturating_sub(time_point::min(), time_point::max()) == duration::min());
    CHECK(saturating_sub(time_point::max(), time_point::min()) == duration::max());
    CHECK(saturating_sub(time_point{5ns}, time_point{3ns}) == 2ns);
}

}  // namespace
}  // namespace headgate
