// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/flight_table.hpp>

#include <algorithm>
#include <new>

namespace headgate::detail {

flight_table::flight_table() {
    segments_.push_back(std::make_unique<segment>());
}

flight_node* flight_table::find(const whole_key& key) const noexcept {
    for (flight_node* node = bucket(index_of(key.hash())); node != nullptr; node = node->next_) {
        if (node->key_ == key) {
            return node;
        }
    }
    return nullptr;
}

void flight_table::insert(flight_node& node) noexcept {
    link(node, bucket(index_of(node.key_.hash())));
    if (++size_ > buckets_) {
        grow();
    }
}

void flight_table::erase(flight_node& node) noexcept {
    unlink(node);
    node.place_ = nullptr;
    --size_;
}

flight_node* flight_table::next(std::size_t& from) const noexcept {
    const std::size_t end = std::min(buckets_, from + 1024);
    for (; from < end; ++from) {
        if (flight_node* const node = bucket(from)) {
            return node;
        }
    }
    return nullptr;
}

// Buckets below `buckets_ - half_` have been split already.
std::size_t flight_table::index_of(std::uint64_t hash) const noexcept {
    const std::size_t wide = hash & (2 * half_ - 1);
    return wide < buckets_ ? wide : hash & (half_ - 1);
}

void flight_table::link(flight_node& node, flight_node*& bucket) noexcept {
    node.next_ = bucket;
    node.place_ = &bucket;
    if (bucket != nullptr) {
        bucket->place_ = &node.next_;
    }
    bucket = &node;
}

void flight_table::unlink(flight_node& node) noexcept {
    *node.place_ = node.next_;
    if (node.next_ != nullptr) {
        node.next_->place_ = node.place_;
    }
}

// Splits one bucket. Without memory for more buckets the table stays as it is, with longer chains.
void flight_table::grow() noexcept {
    if (buckets_ == segments_.size() * segment_size) {
        try {
            segments_.push_back(std::make_unique<segment>());
        } catch (const std::bad_alloc&) {
            return;
        }
    }
    if (buckets_ == 2 * half_) {
        half_ = buckets_;
    }
    const std::size_t split = buckets_ - half_;
    flight_node* node = bucket(split);
    ++buckets_;
    while (node != nullptr) {
        flight_node* const next = node->next_;
        const std::size_t to = index_of(node->key_.hash());
        if (to != split) {
            unlink(*node);
            link(*node, bucket(to));
        }
        node = next;
    }
}

}  // namespace headgate::detail
