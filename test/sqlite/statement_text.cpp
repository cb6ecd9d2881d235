// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "sqlite/statement_text.hpp"

#include <doctest/doctest.h>

namespace headgate::detail {
namespace {

TEST_CASE("sqlite: what holds no statement") {
    for (const char* text : {"", " ", ";", " ; \n;\t", "-- select 1", "-- one\n;-- two\n", "/* select 1 */",
                             "/* one */ ; /* two", "/**/", "/*;*/"}) {
        CAPTURE(text);
        CHECK(without_statement(text));
    }
}

TEST_CASE("sqlite: what holds one") {
    for (const char* text : {"select 1", " x", "; x", "-- one\nx", "/* one */ x", "/**/x", "-", "/", "- -", "/ *"}) {
        CAPTURE(text);
        CHECK_FALSE(without_statement(text));
    }
}

}  // namespace
}  // namespace headgate::detail
