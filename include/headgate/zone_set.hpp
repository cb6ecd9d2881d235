// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_ZONE_SET_HPP
#define HEADGATE_ZONE_SET_HPP

#include <boost/asio/io_context.hpp>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <headgate/config.hpp>
#include <headgate/export.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/result.hpp>
#include <headgate/snapshot.hpp>
#include <headgate/virtual_clock.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// A zone of a `zone_set`, which lives as long as this refers to it, also when a reload drops it. Never of nothing.
///
/// It converts to a `zone*`. Such a pointer, and a reference to the zone, are good while this lives, or while no reload
/// drops the zone.
class zone_ref {
public:
    /// What `zone_set` hands out.
    explicit zone_ref(std::shared_ptr<zone> z) noexcept : zone_(std::move(z)) {}

    /// The zone.
    [[nodiscard]] zone* get() const noexcept { return zone_.get(); }
    /// The zone.
    zone& operator*() const noexcept { return *zone_; }
    /// Its members.
    zone* operator->() const noexcept { return zone_.get(); }
    /// A pointer to the zone, good while this lives.
    operator zone*() const noexcept { return zone_.get(); }

private:
    std::shared_ptr<zone> zone_;
};

/// The zones of a `config`, and everything in them; takes another configuration while they are used.
///
/// Limiters, breakers and bulkheads are made from the configuration alone. A pool needs to know how to connect: code
/// makes it with `make_pool`, with the options that the configuration has for it. All members are thread-safe; only one
/// `reload` waits for another.
///
/// ```cpp
/// // example: zone_set
/// #include <headgate/headgate.hpp>
/// #include <cassert>
///
///
/// int main() {
///     boost::asio::io_context io;
///     const auto read = [](const char* text) { return headgate::config::parse(text).value(); };
///     const auto zones = headgate::zone_set::create(
///         io, read(R"({"zones": {"shop": {"rate_limiters": {"calls": {"quota": "1/1m"}}}}})")).value();
///     auto limiter = headgate::rate_limiter::find(*zones->find("shop").value(), "calls").value();
///
///     assert(limiter.try_acquire("ann"));
///     assert(!limiter.try_acquire("ann"));
///     assert(zones->reload(read(R"({"zones": {"shop": {"rate_limiters": {"calls": {"quota": "2/1m"}}}}})")));
///     assert(limiter.try_acquire("ann"));  // what was used is kept, and there is one more
///     assert(!limiter.try_acquire("ann"));
/// }
/// ```
class HEADGATE_DECL zone_set {
public:
    /// Makes the zones on `context`. Errors: `invalid_config`, whose detail tells all mistakes of a configuration that
    /// was not parsed; `out_of_memory`.
    [[nodiscard]] static result<std::unique_ptr<zone_set>> create(boost::asio::io_context& context,
                                                                  const config& configuration,
                                                                  virtual_clock* clock = nullptr);

    zone_set(const zone_set&) = delete;
    zone_set& operator=(const zone_set&) = delete;
    /// Closes its zones, and those that a reload dropped.
    ~zone_set();

    /// The zone of that name in force. Errors: `unknown_name`.
    [[nodiscard]] result<zone_ref> find(std::string_view name) const;

    /// Makes a pool that the configuration has under `pool_name` in the zone `zone_name`. A reload that comes meanwhile
    /// applies to it. Errors: `unknown_name` when the configuration has no such zone or pool; those of
    /// `resource_pool::create`.
    template <class T, class Backend>
    [[nodiscard]] result<resource_pool<T>> make_pool(std::string_view zone_name, std::string_view pool_name,
                                                     Backend backend) {
        auto found = pool_place(zone_name, pool_name);
        if (!found) {
            return std::move(found).error();
        }
        const auto& [owner, options] = found.value();
        auto made = resource_pool<T>::create(*owner, std::string(pool_name), options, std::move(backend));
        if (made) {
            if (auto kept = keep_pool(zone_name, pool_name, *owner, options); !kept) {
                return std::move(kept).error();
            }
        }
        return made;
    }

    /// Takes another configuration, all of it or nothing. What keeps its name and kind keeps its state and takes the
    /// new parameters; what is new is made, except for pools, which code makes.
    ///
    /// Removed names drain: a zone, a pool and a bulkhead refuse newcomers with `shut_down`, serve those who wait, and
    /// are freed with their last lease, call and handle. Limiters and breakers that are removed alone are no longer
    /// found; existing handles to them keep working.
    ///
    /// Errors: `invalid_config`, whose detail tells all that is wrong: mistakes in the configuration; names that code
    /// has given away already; a zone that code has closed, where something new is to be made; and what cannot change
    /// while it is in use, `max_keys`, `max_waiters`, `track_keys` and `busiest` of a limiter, and the name of its
    /// first tier. `out_of_memory`. Then nothing has changed.
    result<void> reload(const config& configuration);
    /// The same, with the mistakes as data.
    result<void> reload(const config& configuration, std::vector<config_problem>& problems);

    /// What is in force.
    [[nodiscard]] config current() const;
    /// What is in force, as a document that parses to the same.
    [[nodiscard]] std::string dump() const { return current().to_json(); }

    /// All zones in force as plain data, by their names.
    [[nodiscard]] std::vector<zone_snapshot> snapshot() const;
    /// All zones in force.
    [[nodiscard]] std::vector<zone_ref> zones() const;

private:
    using zone_map = std::map<std::string, std::shared_ptr<zone>, std::less<>>;
    class change;

    zone_set(boost::asio::io_context& context, virtual_clock* clock);

    [[nodiscard]] result<std::pair<std::shared_ptr<zone>, pool_options>> pool_place(std::string_view zone_name,
                                                                                    std::string_view pool_name) const;
    result<void> keep_pool(std::string_view zone_name, std::string_view pool_name, const zone& owner,
                           const pool_options& made_with) const;

    boost::asio::io_context& context_;
    virtual_clock* clock_;
    mutable detail::mutex reloading_;  // one reload at a time; taken before the other
    mutable detail::mutex mutex_;      // held for moments only
    std::shared_ptr<const config> current_ = std::make_shared<config>();
    zone_map zones_;
    std::vector<std::weak_ptr<zone>> dropped_;  // that drain, or did when the last reload came
};

}  // namespace headgate

#endif
