// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_STATUS_SHOWN_ZONES_HPP
#define HEADGATE_LIB_STATUS_SHOWN_ZONES_HPP

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <headgate/snapshot.hpp>
#include <headgate/zone.hpp>
#include <headgate/zone_set.hpp>

#include "status/event_log.hpp"

namespace headgate::detail {

/// The zones that a site shows, each under a name of its own, and what it has heard of them. Thread-safe.
class shown_zones {
public:
    /// Zones to look at. One of a set lives as long as this, also when a reload drops it.
    struct view {
        struct one {
            std::string name;  ///< Unique, and readable.
            zone_ref where;
        };
        std::vector<one> zones;

        /// The zone under that name; null when there is none. It lives as long as this.
        [[nodiscard]] zone* find(std::string_view name) const;
        /// Everything about them, names told apart.
        [[nodiscard]] std::vector<zone_snapshot> snapshots() const;
    };

    void add(zone& z);
    void add(zone_set& set);

    /// All zones now, those of sets too. Listens to those that are new.
    [[nodiscard]] view look();

    [[nodiscard]] event_log& log() const noexcept { return *log_; }

private:
    struct known_zone {
        std::string name;  // empty while it is not shown
        subscription events;
        bool shown = true;
    };

    // The zones in the order in which they are shown, each once.
    [[nodiscard]] std::vector<zone_ref> all() const;
    // Under the mutex. A name once given stays while its zone is shown; one that is shown no more may drain, and is
    // heard until it goes.
    void name_and_hear(const std::vector<zone_ref>& all);

    std::mutex mutex_;
    std::vector<zone_ref> zones_;  // these do not keep them: their owners do
    std::vector<zone_set*> sets_;
    std::shared_ptr<event_log> log_ = std::make_shared<event_log>();
    // By weak pointers: another zone may be made where one was that has gone.
    std::map<std::weak_ptr<zone_core>, known_zone, std::owner_less<>> known_;
};

}  // namespace headgate::detail

#endif
