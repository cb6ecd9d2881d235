// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_LOOKUP_HPP
#define HEADGATE_POSTGRES_LOOKUP_HPP

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace headgate::detail {

/// Looks up the addresses of a name on a helper thread, because the system's resolver blocks and cannot be interrupted.
/// A caller that gives up leaves the look-up behind.
class lookup {
public:
    /// Blocks. On the helper thread.
    void resolve(const std::string& name);
    /// Numeric addresses, each once, in the resolver's order; none when the name is not known.
    [[nodiscard]] std::vector<std::string> addresses() const;

private:
    mutable std::mutex mutex_;
    std::vector<std::string> addresses_;
};

}  // namespace headgate::detail

#endif
