// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "users.hpp"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "../support/document.hpp"

namespace config_service {

namespace {

using headgate::config_problem;
using nlohmann::json;

// False unless the text is 64 hexadecimal digits.
bool read_digest(const std::string& hex, std::array<unsigned char, 32>& out) {
    const auto digit = [](char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
    };
    if (hex.size() != 2 * out.size()) {
        return false;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
        const int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = static_cast<unsigned char>(high * 16 + low);
    }
    return true;
}

// Empty if the member is valid, else a description of valid values.
std::string_view read_member(const std::string& key, const json& value, const std::vector<std::string>& tiers,
                             user& who, std::array<unsigned char, 32>& token) {
    const std::string text = value.is_string() ? value.get<std::string>() : std::string();
    if (key == "name") {
        who.name = text;
        return is_user_name(text) ? "" : "1 to 64 letters, digits, and ._@-";
    }
    if (key == "sha256") {
        return read_digest(text, token) ? "" : "the SHA-256 of the token, as 64 hexadecimal digits";
    }
    if (key == "tier") {
        who.tier = text;
        const bool known = std::find(tiers.begin(), tiers.end(), text) != tiers.end();
        return known ? "" : "a tier that both config_update and ast_parse have";
    }
    if (key == "admin") {
        who.admin = value.is_boolean() && value.get<bool>();
        return value.is_boolean() ? "" : "true or false";
    }
    return "one of name, sha256, tier, admin";
}

std::array<unsigned char, 32> digest_of(std::string_view token) {
    std::array<unsigned char, 32> out{};
    SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), out.data());
    return out;
}

}  // namespace

bool is_user_name(std::string_view name) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
               c == '@' || c == '-';
    };
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), allowed);
}

headgate::result<users> users::parse(std::string_view text, const std::vector<std::string>& tiers,
                                     std::vector<config_problem>& problems) {
    users out;
    const json document = support::read_document(text, problems);
    if (document.is_discarded()) {
        return headgate::error(headgate::errc::invalid_config, headgate::to_string(problems));
    }
    if (!document.is_object() || !document.contains("users") || !document["users"].is_array() || document.size() != 1) {
        problems.push_back({"", "something else", "an object with \"users\", an array"});
    } else {
        std::set<digest> seen;
        std::size_t index = 0;
        for (const json& one : document["users"]) {
            const std::string at = "/users/" + std::to_string(index++);
            if (!one.is_object()) {
                problems.push_back({at, one.dump(), "an object with name, sha256, tier and admin"});
                continue;
            }
            known k;
            for (const auto& [key, value] : one.items()) {
                if (const std::string_view valid = read_member(key, value, tiers, k.who, k.token); !valid.empty()) {
                    std::string pointer = at;
                    problems.push_back({pointer.append("/").append(key), value.dump(), std::string(valid)});
                }
            }
            for (const char* needed : {"name", "sha256"}) {
                if (!one.contains(needed)) {
                    problems.push_back({at, std::string("no \"") + needed + '"', "an object with name and sha256"});
                }
            }
            if (k.token == digest_of("")) {
                problems.push_back({at + "/sha256", "the SHA-256 of no text", "the SHA-256 of a token"});
            }
            if (k.token != digest{} && !seen.insert(k.token).second) {
                problems.push_back({at + "/sha256", "a token for the second time", "a token for each user"});
            }
            out.all_.push_back(std::move(k));
        }
    }
    if (!problems.empty()) {
        return headgate::error(headgate::errc::invalid_config, headgate::to_string(problems));
    }
    return out;
}

const user* users::find(std::string_view token) const {
    const digest given = digest_of(token);
    const user* found = nullptr;
    for (const known& k : all_) {
        if (CRYPTO_memcmp(k.token.data(), given.data(), given.size()) == 0) {
            found = &k.who;
        }
    }
    return found;
}

}  // namespace config_service
