// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_DEADLINE_HPP
#define HEADGATE_IMPL_DEADLINE_HPP

#include <boost/intrusive/set.hpp>

#include <cstdint>

#include <headgate/time.hpp>

namespace headgate::detail {

/// A point in time at which the zone's driver calls `on_deadline()`. Lives inside whatever waits.
///
/// The protocol that makes it safe without reference counts: `zone_core::disarm` true means that it will not fire, and
/// the owner may go. False means that the driver has taken it out and is about to call `on_deadline()`, exactly once:
/// the owner stays until then.
class deadline : public boost::intrusive::set_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>,
                                                        boost::intrusive::optimize_size<true>> {
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
    friend struct deadline_before;

    /// Called on the zone's strand, under no lock.
    virtual void on_deadline() noexcept = 0;

    time_point when_{};
    std::uint64_t arrival_ = 0;
    std::uint8_t level_ = 0;
    std::uint8_t slot_ = 0;
};

/// By time, and then in the order of arrival.
struct deadline_before {
    bool operator()(const deadline& a, const deadline& b) const noexcept {
        return a.when_ != b.when_ ? a.when_ < b.when_ : a.arrival_ < b.arrival_;
    }
};

using deadline_tree = boost::intrusive::multiset<deadline, boost::intrusive::constant_time_size<false>,
                                                 boost::intrusive::compare<deadline_before>>;

}  // namespace headgate::detail

#endif
