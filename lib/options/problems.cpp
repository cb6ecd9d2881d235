// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "options/problems.hpp"

#include <new>

#include "config/text.hpp"
#include "options/rules.hpp"

namespace headgate {

std::string to_string(const std::vector<config_problem>& problems) {
    const auto line = [](const std::string& text) { return detail::for_people(text, text.max_size()); };
    std::string out;
    for (const config_problem& p : problems) {
        if (!out.empty()) {
            out += '\n';
        }
        out += p.pointer.empty() ? "the document" : line(p.pointer);
        out.append(": found ").append(line(p.found)).append("; valid is ").append(line(p.valid));
    }
    return out;
}

std::string pointer_step(std::string_view name) {
    constexpr std::size_t most = 1024;
    if (name.size() > most) {
        return pointer_step(detail::for_people(name, most));
    }
    std::string out = "/";
    for (const char c : name) {
        out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    }
    return out;
}

namespace detail {

result<void> accept(const std::vector<config_problem>& problems) try {
    if (problems.empty()) {
        return success();
    }
    std::string detail;
    for (const config_problem& p : problems) {
        detail.append(detail.empty() ? "" : ". ");
        if (!p.pointer.empty()) {
            detail.append(p.pointer, 1).append(" is ");
        }
        detail.append(p.found).append("; it must be ").append(p.valid);
    }
    return error(errc::invalid_argument, detail);
} catch (const std::bad_alloc&) {
    return errc::invalid_argument;
}

void option_problems::members(std::span<const member> all, const void* options) {
    for (const member& m : all) {
        const member_value value = m.get(options);
        if (!is_valid(m, value, written_in::code)) {
            add(m.name, shown(m, value), valid_values(m, written_in::code));
        }
    }
}

std::vector<config_problem> plain(std::vector<option_problem> problems) {
    std::vector<config_problem> out;
    out.reserve(problems.size());
    for (option_problem& p : problems) {
        out.push_back(std::move(p.what));
    }
    return out;
}

}  // namespace detail

}  // namespace headgate
