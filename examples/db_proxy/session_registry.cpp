// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "session_registry.hpp"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace db_proxy {

cancel_key session_registry::make_key() const {
    std::array<unsigned char, 8> random{};
    do {
        if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
            throw std::runtime_error("OpenSSL: no random bytes");
        }
        const std::string bytes(random.begin(), random.end());
        const cancel_key key{read_uint32(bytes), read_uint32(std::string_view(bytes).substr(4))};
        if (!sessions_.contains(key.process)) {
            return key;
        }
    } while (true);
}

void session_registry::add(std::shared_ptr<session> one) {
    const std::uint32_t process = one->who().key.process;
    sessions_.emplace(process, std::move(one));
}

std::shared_ptr<session> session_registry::remove(const session& one) {
    const auto found = sessions_.find(one.who().key.process);
    if (found == sessions_.end() || found->second.get() != &one) {
        return nullptr;
    }
    auto kept = std::move(found->second);
    sessions_.erase(found);
    return kept;
}

session* session_registry::find(const cancel_key& key) const {
    const auto found = sessions_.find(key.process);
    const std::uint32_t secret = found == sessions_.end() ? 0 : found->second->who().key.secret;
    const bool right = CRYPTO_memcmp(&secret, &key.secret, sizeof secret) == 0;
    return found != sessions_.end() && right ? found->second.get() : nullptr;
}

std::vector<std::shared_ptr<session>> session_registry::all() const {
    std::vector<std::shared_ptr<session>> out;
    out.reserve(sessions_.size());
    for (const auto& [process, one] : sessions_) {
        out.push_back(one);
    }
    return out;
}

}  // namespace db_proxy
