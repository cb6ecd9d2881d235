// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_ZONE_KEPT_MEMORY_HPP
#define HEADGATE_LIB_ZONE_KEPT_MEMORY_HPP

#include <array>
#include <cstddef>
#include <new>

#include <headgate/impl/sync.hpp>

namespace headgate::detail {

/// Memory that is there before it is needed, for a handler of which there is one at a time: its post cannot fail for
/// want of memory. Two blocks, because a post to a strand takes two (see `strand_memory`). What is larger than a block,
/// or comes while both are taken, is on the heap.
class kept_memory {
public:
    kept_memory() = default;
    kept_memory(const kept_memory&) = delete;
    kept_memory& operator=(const kept_memory&) = delete;

    [[nodiscard]] void* take(std::size_t bytes) {
        for (block& b : blocks_) {
            if (bytes <= sizeof(b.bytes) && !b.taken.exchange(true, std::memory_order_acquire)) {
                return b.bytes;
            }
        }
        return ::operator new(bytes);
    }

    void give_back(void* memory) noexcept {
        for (block& b : blocks_) {
            if (memory == b.bytes) {
                b.taken.store(false, std::memory_order_release);
                return;
            }
        }
        ::operator delete(memory);
    }

    template <class T>
    class allocator {
    public:
        using value_type = T;

        explicit allocator(kept_memory& memory) noexcept : memory_(&memory) {}
        template <class U>
        allocator(const allocator<U>& other) noexcept : memory_(other.memory_) {}

        [[nodiscard]] T* allocate(std::size_t n) { return static_cast<T*>(memory_->take(n * sizeof(T))); }
        void deallocate(T* memory, std::size_t) noexcept { memory_->give_back(memory); }

        template <class U>
        friend bool operator==(const allocator& a, const allocator<U>& b) noexcept {
            return a.memory_ == b.memory_;
        }

    private:
        template <class>
        friend class allocator;

        kept_memory* memory_;
    };

private:
    struct block {
        alignas(std::max_align_t) std::byte bytes[320];
        atomic<bool> taken{false};
    };

    std::array<block, 2> blocks_;
};

}  // namespace headgate::detail

#endif
