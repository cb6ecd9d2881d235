// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_FLIGHT_TABLE_HPP
#define HEADGATE_IMPL_FLIGHT_TABLE_HPP

#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/impl/whole_key.hpp>

namespace headgate::detail {

/// What a `flight_table` finds by its key.
class flight_node {
public:
    explicit flight_node(whole_key&& of) noexcept : key_(std::move(of)) {}
    flight_node(const flight_node&) = delete;
    flight_node& operator=(const flight_node&) = delete;

    [[nodiscard]] const whole_key& key() const noexcept { return key_; }
    /// Whether it is in a table.
    [[nodiscard]] bool listed() const noexcept { return place_ != nullptr; }

protected:
    ~flight_node() = default;

private:
    friend class flight_table;

    whole_key key_;
    flight_node* next_ = nullptr;
    flight_node** place_ = nullptr;
};

/// A hash table of nodes that it does not own, at most one of each key. It grows by one bucket for each insertion
/// (Litwin, "Linear Hashing", 1980), so that no insertion takes long; it does not shrink.
class HEADGATE_DECL flight_table {
public:
    flight_table();

    [[nodiscard]] flight_node* find(const whole_key& key) const noexcept;
    /// Precondition: no node with that key is listed.
    void insert(flight_node& node) noexcept;
    /// Precondition: it is listed.
    void erase(flight_node& node) noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t buckets() const noexcept { return buckets_; }
    /// A node of the bucket `from` or of one of the next thousand, which `from` becomes; null when there is none.
    [[nodiscard]] flight_node* next(std::size_t& from) const noexcept;

private:
    static constexpr std::size_t segment_size = 256;
    using segment = std::array<flight_node*, segment_size>;

    [[nodiscard]] flight_node*& bucket(std::size_t index) const noexcept {
        return (*segments_[index / segment_size])[index % segment_size];
    }
    [[nodiscard]] std::size_t index_of(std::uint64_t hash) const noexcept;
    static void link(flight_node& node, flight_node*& bucket) noexcept;
    static void unlink(flight_node& node) noexcept;
    void grow() noexcept;

    std::vector<std::unique_ptr<segment>> segments_;
    std::size_t buckets_ = segment_size;
    std::size_t half_ = segment_size;  // the largest power of two up to `buckets_`
    std::size_t size_ = 0;
};

}  // namespace headgate::detail

#endif
