// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_CONTEXT_GATE_HPP
#define HEADGATE_IMPL_CONTEXT_GATE_HPP

#include <boost/asio/recycling_allocator.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

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

/// The memory of one post to a strand: a block for the function, and one with which the strand schedules itself.
///
/// A strand that cannot have the second block believes for ever that it is scheduled, and runs nothing any more. Here
/// both blocks are taken before the strand is touched: a post succeeds, or throws and has done nothing.
class strand_memory {
    static constexpr std::size_t block = 256;

    [[nodiscard]] static std::size_t rounded(std::size_t bytes) noexcept { return std::max(bytes, block); }

public:
    strand_memory() = default;
    strand_memory(const strand_memory&) = delete;
    strand_memory& operator=(const strand_memory&) = delete;
    ~strand_memory() {
        if (second_ != nullptr) {
            give_back(second_, block);
        }
    }

    [[nodiscard]] void* take(std::size_t bytes) {
        if (second_ != nullptr && bytes <= block) {
            return std::exchange(second_, nullptr);
        }
        second_ = heap().allocate(block);
        return heap().allocate(rounded(bytes));  // where this throws, the destructor has the other one
    }

    static void give_back(void* memory, std::size_t bytes) noexcept {
        heap().deallocate(static_cast<std::byte*>(memory), rounded(bytes));
    }

    template <class T>
    class allocator {
    public:
        using value_type = T;

        explicit allocator(strand_memory& memory) noexcept : memory_(&memory) {}
        template <class U>
        allocator(const allocator<U>& other) noexcept : memory_(other.memory_) {}

        /// During the post only; what it took is given back later, and needs no `strand_memory` for that.
        [[nodiscard]] T* allocate(std::size_t n) { return static_cast<T*>(memory_->take(n * sizeof(T))); }
        void deallocate(T* memory, std::size_t n) noexcept { give_back(memory, n * sizeof(T)); }

        template <class U>
        friend bool operator==(const allocator& a, const allocator<U>& b) noexcept {
            return a.memory_ == b.memory_;
        }

    private:
        template <class>
        friend class allocator;

        strand_memory* memory_;
    };

    /// A function whose post takes its memory from here.
    template <class F>
    class bound {
    public:
        using allocator_type = allocator<void>;

        template <class G>
        bound(strand_memory& memory, G&& function) : function_(std::forward<G>(function)), memory_(memory) {}

        [[nodiscard]] allocator_type get_allocator() const noexcept { return memory_; }
        void operator()() { function_(); }

    private:
        F function_;
        allocator_type memory_;
    };

private:
    using heap = boost::asio::recycling_allocator<std::byte>;

    void* second_ = nullptr;
};

}  // namespace headgate::detail

#endif
