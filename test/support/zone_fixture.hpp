// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_SUPPORT_ZONE_FIXTURE_HPP
#define HEADGATE_TEST_SUPPORT_ZONE_FIXTURE_HPP

#include <headgate/virtual_clock.hpp>
#include <headgate/zone.hpp>

#include <boost/asio/io_context.hpp>

#include <optional>
#include <utility>

namespace headgate::test {

/// A zone in virtual time. Fixtures derive from it.
struct zone_fixture {
    virtual_clock clock;
    boost::asio::io_context io;
    std::optional<zone> z{std::in_place, io, "test", zone_options{.clock = &clock}};  ///< A test may end it.
    time_point start = clock.now();

    [[nodiscard]] duration elapsed() const { return clock.now() - start; }
};

}  // namespace headgate::test

#endif
