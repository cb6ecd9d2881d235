// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_CONTEXT_GATE_HPP
#define HEADGATE_IMPL_CONTEXT_GATE_HPP

#include <cstdint>

#include <headgate/impl/sync.hpp>

namespace headgate::detail {

/// Lets threads post to an io_context until that is destroyed. Whoever closes the gate waits for those inside.
class context_gate {
public:
    /// Inside of the gate, where it is open.
    class passage {
    public:
        explicit passage(context_gate& gate) noexcept : gate_(gate) { gate_.inside_.fetch_add(1); }
        passage(const passage&) = delete;
        passage& operator=(const passage&) = delete;
        ~passage() { gate_.inside_.fetch_sub(1); }

        /// Whether it was open. The count above and this look are sequentially consistent, as are the two in `close`:
        /// either this sees the gate closed, or `close` sees the passage.
        [[nodiscard]] explicit operator bool() const noexcept { return !gate_.closed_.load(); }

    private:
        context_gate& gate_;
    };

    /// From here on nobody gets inside, and nobody is. Never called from inside.
    void close() noexcept {
        closed_.store(true);
        while (inside_.load() != 0) {
            yield_thread();
        }
    }

private:
    atomic<std::uint32_t> inside_{0};
    atomic<bool> closed_{false};
};

}  // namespace headgate::detail

#endif
