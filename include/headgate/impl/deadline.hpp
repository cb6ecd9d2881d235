// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_DEADLINE_HPP
#define HEADGATE_IMPL_DEADLINE_HPP

#include <boost/intrusive/list.hpp>

#include <cstdint>

#include <headgate/time.hpp>

namespace headgate::detail {

/// A point in time at which the zone's driver calls `on_deadline()`. Lives inside whatever waits.
///
/// The protocol that makes it safe without reference counts: `zone_core::disarm` true means that it will not fire, and
/// the owner may go. False means that the driver has taken it out and is about to call `on_deadline()`, exactly once:
/// the owner stays until then.
class deadline : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
public:
    deadline() = default;
    deadline(const deadline&) = delete;
    deadline& operator=(const deadline&) = delete;

    [[nodiscard]] time_point when() const noexcept { return when_; }

protected:
    ~deadline() = default;

    void set_when(time_point when) noexcept { when_ = when; }

private:
    friend class deadline_wheel;
    friend class driver;

    /// Called on the zone's strand, under no lock.
    virtual void on_deadline() noexcept = 0;

    time_point when_{};
    std::uint8_t level_ = 0;
    std::uint8_t slot_ = 0;
};

using deadline_list = boost::intrusive::list<deadline, boost::intrusive::constant_time_size<false>>;

}  // namespace headgate::detail

#endif
