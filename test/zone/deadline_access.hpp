// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_ZONE_DEADLINE_ACCESS_HPP
#define HEADGATE_TEST_ZONE_DEADLINE_ACCESS_HPP

#include <headgate/impl/deadline.hpp>

namespace headgate::detail {

/// A deadline with its own time, to drive the wheel without a zone.
class probe_deadline final : public deadline {
public:
    explicit probe_deadline(time_point when) { set_when(when); }

private:
    void on_deadline() noexcept override {}
};

}  // namespace headgate::detail

#endif
