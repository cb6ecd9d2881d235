// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "lookup.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

namespace headgate::detail {

namespace {

struct free_addresses {
    void operator()(addrinfo* first) const noexcept { ::freeaddrinfo(first); }
};

std::vector<std::string> addresses_of(const std::string& name) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* first = nullptr;
    const int failed = ::getaddrinfo(name.c_str(), nullptr, &hints, &first);
    const std::unique_ptr<addrinfo, free_addresses> all(failed == 0 ? first : nullptr);
    std::vector<std::string> out;
    for (const addrinfo* a = all.get(); a != nullptr; a = a->ai_next) {
        std::array<char, NI_MAXHOST> text{};
        const int unreadable = ::getnameinfo(a->ai_addr, a->ai_addrlen, text.data(),
                                             static_cast<socklen_t>(text.size()), nullptr, 0, NI_NUMERICHOST);
        if (unreadable == 0 && std::find(out.begin(), out.end(), text.data()) == out.end()) {
            out.emplace_back(text.data());
        }
    }
    return out;
}

}  // namespace

void lookup::resolve(const std::string& name) {
    try {
        std::vector<std::string> found = addresses_of(name);
        const std::lock_guard lock(mutex_);
        addresses_ = std::move(found);
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): then none is known
    }
}

std::vector<std::string> lookup::addresses() const {
    const std::lock_guard lock(mutex_);
    return addresses_;
}

}  // namespace headgate::detail
