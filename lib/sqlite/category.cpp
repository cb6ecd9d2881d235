// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/sqlite.hpp>

#include <boost/system/errc.hpp>

#include <sqlite3.h>

namespace headgate {

namespace {

class category final : public boost::system::error_category {
public:
    constexpr category() noexcept = default;

    const char* name() const noexcept override { return "sqlite"; }
    std::string message(int value) const override { return sqlite3_errstr(value); }

    boost::system::error_condition default_error_condition(int value) const noexcept override {
        namespace generic = boost::system::errc;
        if (value == SQLITE_READONLY_DBMOVED) {
            return make_error_condition(generic::no_such_file_or_directory);
        }
        switch (value & 0xff) {  // the primary code
            case SQLITE_BUSY:
            case SQLITE_LOCKED: return make_error_condition(generic::resource_unavailable_try_again);
            case SQLITE_FULL: return make_error_condition(generic::no_space_on_device);
            case SQLITE_IOERR: return make_error_condition(generic::io_error);
            case SQLITE_NOMEM: return make_error_condition(generic::not_enough_memory);
            case SQLITE_READONLY: return make_error_condition(generic::read_only_file_system);
            default: return {value, *this};
        }
    }
};

constinit const category the_category;

}  // namespace

const boost::system::error_category& sqlite_category() noexcept {
    return the_category;
}

}  // namespace headgate
