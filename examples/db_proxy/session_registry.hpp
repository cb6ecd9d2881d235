// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_SESSION_REGISTRY_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_SESSION_REGISTRY_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "session.hpp"
#include "wire.hpp"

namespace db_proxy {

/// The clients that are logged in, each with a cancel key of its own.
class session_registry {
public:
    /// A random key that no session has.
    [[nodiscard]] cancel_key make_key() const;

    void add(std::shared_ptr<session> one);
    /// Removes the session and returns the pointer that kept it alive; null when the session is not in the registry.
    std::shared_ptr<session> remove(const session& one);
    /// The session with this key, null if the key is wrong. The duration of the call reveals nothing about the secret.
    [[nodiscard]] session* find(const cancel_key& key) const;

    [[nodiscard]] std::size_t size() const noexcept { return sessions_.size(); }
    /// A copy, because a session that ends changes the registry.
    [[nodiscard]] std::vector<std::shared_ptr<session>> all() const;

private:
    std::unordered_map<std::uint32_t, std::shared_ptr<session>> sessions_;  // by the process number of their keys
};

}  // namespace db_proxy

#endif
