// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "users.hpp"

#include <nlohmann/json.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "../support/document.hpp"

namespace db_proxy {

namespace {

using headgate::config_problem;
using headgate::duration;
using headgate::errc;
using headgate::error;
using nlohmann::json;

constexpr std::size_t min_secret = 16;

/// Reads the members of one user, and notes the mistakes in them.
class user_reader {
public:
    user_reader(const json& from, std::string at, std::vector<config_problem>& problems)
        : from_(from), at_(std::move(at)), problems_(problems) {}

    std::string text(const char* name, const char* valid, bool required = false) {
        seen_.emplace_back(name);
        const auto found = from_.find(name);
        if (found == from_.end()) {
            if (required) {
                problems_.push_back({at_ + '/' + name, "nothing", valid});
            }
            return {};
        }
        if (!found->is_string() || (required && found->get<std::string>().empty())) {
            problems_.push_back({at_ + '/' + name, found->dump(), valid});
            return {};
        }
        return found->get<std::string>();
    }

    /// A timeout; `duration::max()` means none. "0s" means none too, as in PostgreSQL's own settings.
    duration timeout(const char* name) {
        const std::string value = text(name, "a duration such as \"30s\"");
        if (value.empty()) {
            return duration::max();
        }
        const auto span = headgate::parse_duration(value);
        if (!span) {
            problems_.push_back({at_ + '/' + name, '"' + value + '"', "a duration such as \"30s\""});
        }
        return span && *span > duration::zero() ? *span : duration::max();
    }

    bool flag(const char* name, bool otherwise) {
        seen_.emplace_back(name);
        const auto found = from_.find(name);
        if (found != from_.end() && !found->is_boolean()) {
            problems_.push_back({at_ + '/' + name, found->dump(), "true or false"});
        }
        return found != from_.end() && found->is_boolean() ? found->get<bool>() : otherwise;
    }

    void no_others() {
        for (const auto& [key, value] : from_.items()) {
            if (std::find(seen_.begin(), seen_.end(), key) == seen_.end()) {
                std::string valid = "one of";
                for (const std::string& name : seen_) {
                    valid.append(valid == "one of" ? " " : ", ").append(name);
                }
                problems_.push_back({at_ + '/' + key, "an unknown key", valid});
            }
        }
    }

    void problem(const char* name, std::string found, std::string valid) {
        problems_.push_back({at_ + '/' + name, std::move(found), std::move(valid)});
    }

private:
    const json& from_;
    std::string at_;
    std::vector<config_problem>& problems_;
    std::vector<std::string> seen_;
};

user read_user(user_reader& in, const std::vector<std::string>& tiers) {
    user out;
    out.name = in.text("name", "the user's name", true);
    const std::string verifier = in.text("verifier", "SCRAM-SHA-256$iterations:salt$stored_key:server_key");
    const bool trusted = in.flag("trust", false);
    out.server_password = in.text("server_password", "the password that this user has on the servers");
    out.tier = in.text("tier", "a tier of the limiter \"transactions\"");
    out.limited = in.flag("limited", true);
    const std::string console = in.text("console", "\"see\" or \"act\"");
    out.statement_timeout = in.timeout("statement_timeout");
    out.idle_transaction_timeout = in.timeout("idle_transaction_timeout");
    in.no_others();

    out.verifier = scram::verifier::parse(verifier);
    if (trusted == !verifier.empty()) {
        in.problem("verifier", trusted ? "a verifier, and trust" : "neither a verifier nor trust", "one of the two");
    } else if (!verifier.empty() && !out.verifier) {
        // The message does not repeat the text, because it may be a password.
        in.problem("verifier", verifier.starts_with("md5") ? "an md5 hash" : "a text of another form",
                   "a verifier as in pg_authid.rolpassword: SCRAM-SHA-256$4096:salt$stored_key:server_key");
    }
    if (!out.tier.empty() && std::find(tiers.begin(), tiers.end(), out.tier) == tiers.end()) {
        in.problem("tier", '"' + out.tier + '"', "a tier of the limiter \"transactions\"");
    }
    if (!console.empty() && console != "see" && console != "act") {
        in.problem("console", '"' + console + '"', "\"see\" or \"act\"");
    }
    out.console = console == "act" ? console_right::act : console == "see" ? console_right::see : console_right::none;
    if (trusted && out.console != console_right::none) {
        in.problem("trust", "a user of the console", "a verifier: such a user is never trusted");
    }
    return out;
}

}  // namespace

headgate::result<user_list> user_list::parse(std::string_view text, const std::vector<std::string>& tiers,
                                             std::vector<config_problem>& problems) {
    const json document = support::read_document(text, problems);
    user_list out;
    if (!document.is_object() && !document.is_discarded()) {
        problems.push_back({"", document.type_name(), "an object"});
    } else if (document.is_object()) {
        user_reader top(document, "", problems);
        out.mock_secret_ = top.text("mock_secret", "a random text of at least 16 characters that never changes", true);
        if (!out.mock_secret_.empty() && out.mock_secret_.size() < min_secret) {
            top.problem("mock_secret", "a text that is too short", "at least 16 characters");
        }
        bool any_verifier = false;
        const json none = json::array();
        const auto found = document.find("users");
        const json& all = found == document.end() ? none : *found;
        if (!all.is_array()) {
            top.problem("users", all.type_name(), "an array of users");
        }
        for (std::size_t i = 0; all.is_array() && i < all.size(); ++i) {
            const std::string at = "/users/" + std::to_string(i);
            if (!all[i].is_object()) {
                problems.push_back({at, all[i].type_name(), "an object"});
                continue;
            }
            user_reader reader(all[i], at, problems);
            user one = read_user(reader, tiers);
            if (one.verifier && !any_verifier) {
                out.iterations_ = one.verifier->iterations;
                any_verifier = true;
            }
            const auto shared = std::make_shared<const user>(std::move(one));
            if (!out.all_.emplace(shared->name, shared).second) {
                reader.problem("name", '"' + shared->name + '"', "a name that no other user has");
            }
        }
        for (const auto& [key, value] : document.items()) {
            if (key != "users" && key != "mock_secret") {
                problems.push_back({'/' + key, "an unknown key", "users or mock_secret"});
            }
        }
    }
    if (!problems.empty()) {
        return error(errc::invalid_config, headgate::to_string(problems));
    }
    return out;
}

headgate::result<user_list> user_list::read(const std::string& path, const std::vector<std::string>& tiers,
                                            std::vector<config_problem>& problems) {
    struct stat about{};
    if (::stat(path.c_str(), &about) != 0) {
        return error(errc::operation_failed, path + ": " + std::strerror(errno));
    }
    if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return error(errc::operation_failed, path + " can be read or written by other users; it must have mode 0600");
    }
    std::ifstream file(path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file) {
        return error(errc::operation_failed, path + ": cannot be read");
    }
    return parse(text, tiers, problems);
}

user_ptr user_list::find(std::string_view name) const {
    const auto found = all_.find(name);
    return found == all_.end() ? nullptr : found->second;
}

login_check user_list::check(std::string_view name, bool on_loopback) const {
    const auto who = find(name);
    if (who != nullptr && who->verifier) {
        return {who->verifier};
    }
    if (who != nullptr && on_loopback) {
        return {};
    }
    return {scram::mock(mock_secret_, name, iterations_), true};
}

}  // namespace db_proxy
