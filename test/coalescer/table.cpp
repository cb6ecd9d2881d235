// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/flight_table.hpp>

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace headgate::detail {
namespace {

const hash_seed seed{7};

struct node : flight_node {
    using flight_node::flight_node;
};

std::unique_ptr<node> make(const key& k) {
    return std::make_unique<node>(whole_key(k, seed));
}

TEST_CASE("whole_key: keys are equal when their parts are, and never by their bytes alone") {
    const std::string zeros(8, '\0');
    const std::string one("\x01\0\0\0\0\0\0\0", 8);
    const std::string long_one(1000, 'x');
    const std::string longer(1001, 'x');
    const auto wide = int128{1} << 64;
    const std::vector<key> all = {key(""),         key("a"),           key("ab"),      key(0),        key(1),
                                  key(-1),         key("1"),           key(zeros),     key(one),      key(wide),
                                  key(-wide),      key("a", "b"),      key("ab", ""),  key("", "ab"), key("a", 1),
                                  key(1, "a"),     key("a", "b", "c"), key("a", "bc"), key(1, 1),     key(1, 1, 1),
                                  key(1, 1, 1, 1), key(one, 1),        key("\x01"),    key(long_one), key(longer)};
    for (std::size_t i = 0; i < all.size(); ++i) {
        for (std::size_t k = 0; k < all.size(); ++k) {
            CAPTURE(all[i].text());
            CAPTURE(all[k].text());
            CHECK((whole_key(all[i], seed) == whole_key(all[k], seed)) == (i == k));
        }
    }
    CHECK(whole_key(key(std::uint8_t{1}), seed) == whole_key(key(std::int64_t{1}), seed));
    CHECK(whole_key(key(int128{5}), seed) == whole_key(key(5), seed));
}

TEST_CASE("flight_table: finds what is in it, and nothing else, while it grows") {
    flight_table table;
    std::map<std::uint64_t, std::unique_ptr<node>> there;
    std::mt19937_64 random(1);
    for (int turn = 0; turn < 100'000; ++turn) {
        const std::uint64_t n = random() % 5'000;
        const key k(n);
        flight_node* const found = table.find(whole_key(k, seed));
        const auto known = there.find(n);
        REQUIRE((found != nullptr) == (known != there.end()));
        if (found == nullptr) {
            auto made = make(k);
            table.insert(*made);
            CHECK(made->listed());
            there.emplace(n, std::move(made));
        } else if (turn % 3 == 0) {
            REQUIRE(found == known->second.get());
            table.erase(*found);
            CHECK_FALSE(found->listed());
            there.erase(known);
        }
    }
    CHECK(table.size() == there.size());
    CHECK(there.size() > 2'000);
    std::set<flight_node*> seen;
    for (std::size_t from = 0; flight_node* const next = table.next(from);) {
        seen.insert(next);
        table.erase(*next);
    }
    CHECK(seen.size() == there.size());
    CHECK(table.size() == 0);
}

TEST_CASE("flight_table: keys with one hash stay apart") {
    // A seed of zeros: products vanish, and many keys share a hash.
    hash_seed weak{0};
    weak.a = weak.b = weak.c = 0;
    flight_table table;
    std::vector<std::unique_ptr<node>> all;
    for (int i = 0; i < 300; ++i) {
        const std::string text = std::string(8, '\0') + std::to_string(i);
        all.push_back(std::make_unique<node>(whole_key(key(text), weak)));
        REQUIRE(table.find(all.back()->key()) == nullptr);
        table.insert(*all.back());
    }
    std::set<std::uint64_t> hashes;
    for (const auto& one : all) {
        hashes.insert(one->key().hash());
        CHECK(table.find(one->key()) == one.get());
    }
    MESSAGE(hashes.size() << " hashes of 300 keys");
    for (const auto& one : all) {
        table.erase(*one);
    }
}

}  // namespace
}  // namespace headgate::detail
