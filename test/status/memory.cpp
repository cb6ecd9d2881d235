// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/bulkhead.hpp>
#include <headgate/status.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <optional>

#include "../allocation/failing.hpp"

using namespace headgate;

TEST_CASE("status: every allocation of a start") {
    const status_options right{.admin_token = "a token that is no short string",
                               .host_names = {"status.of.this.machine.example.com"}};
    const status_options wrong{.address = "a name that is no short string"};
    allocation::every_allocation([&] {
        std::optional<result<std::unique_ptr<status_server>>> started, refused;
        {
            const allocation::failing scope;
            started.emplace(status_server::start(right));
            refused.emplace(status_server::start(wrong));
        }
        CHECK((*started || started->error() == errc::out_of_memory));
        REQUIRE_FALSE(*refused);
        CHECK((refused->error() == errc::invalid_argument || refused->error() == errc::out_of_memory));
    });
}

TEST_CASE("status: a sample whose memory runs out is not there, or not whole, and the site answers") {
    boost::asio::io_context io;
    zone z(io, "a zone with a name that is no short string");
    const auto reports = bulkhead::create(z, "a bulkhead with a name that is no short string").value();
    allocation::every_allocation([&] {
        status_site site;
        site.add(z);
        {
            const allocation::failing scope;
            site.sample();
        }
        CHECK(site.answer({.method = "GET", .target = "/history.json?parts=1"}).status == 200);
    });
}
