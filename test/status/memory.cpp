// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

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
