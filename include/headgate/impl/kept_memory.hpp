// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_KEPT_MEMORY_HPP
#define HEADGATE_IMPL_KEPT_MEMORY_HPP

#include <cstddef>
#include <new>

#include <headgate/impl/sync.hpp>

namespace headgate::detail {

/// Memory that is there before it is needed, for a handler of which there is one at a time: its post cannot fail for
/// want of memory. What is larger, or comes while it is taken, is on the heap.
class kept_memory {
public:
    kept_memory() = default;
    kept_memory(const kept_memory&) = delete;
    kept_memory& operator=(const kept_memory&) = delete;

    [[nodiscard]] void* take(std::size_t bytes) {
        if (bytes <= sizeof(bytes_) && !taken_.exchange(true, std::memory_order_acquire)) {
            return bytes_;
        }
        return ::operator new(bytes);
    }

    void give_back(void* memory) noexcept {
        if (memory == bytes_) {
            taken_.store(false, std::memory_order_release);
        } else {
            ::operator delete(memory);
        }
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
    alignas(std::max_align_t) std::byte bytes_[320];
    atomic<bool> taken_{false};
};

}  // namespace headgate::detail

#endif
