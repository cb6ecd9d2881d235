// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "options/problems.hpp"

#include <cstdio>
#include <new>

#include "config/text.hpp"

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

namespace detail {

namespace {

std::string text_of(double value) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%g", value);
    return buffer;
}

}  // namespace

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

std::string text_of(duration d) {
    const auto ns = d.count();
    if (ns % 1'000'000'000 == 0) {
        return std::to_string(ns / 1'000'000'000) + " s";
    }
    if (ns % 1'000'000 == 0) {
        return std::to_string(ns / 1'000'000) + " ms";
    }
    return std::to_string(ns) + " ns";
}

void option_problems::number(std::string_view member, std::uint64_t value, std::uint64_t least, std::uint64_t most) {
    if (value < least || value > most) {
        add(member, std::to_string(value), std::to_string(least) + " to " + std::to_string(most));
    }
}

void option_problems::share(std::string_view member, double value, bool may_be_zero, const char* also) {
    // Written so that a NaN is wrong, too.
    if (!((may_be_zero ? value >= 0.0 : value > 0.0) && value <= 1.0)) {
        add(member, text_of(value), std::string(may_be_zero ? "from 0 to 1" : "above 0 and at most 1") + also);
    }
}

void option_problems::time_span(std::string_view member, duration value, duration least, duration most) {
    if (value < least) {
        const char* const small = least == duration{1} ? "above 0" : "0 or longer";
        add(member, text_of(value), least > duration{1} ? "at least " + text_of(least) : small);
    } else if (value > most) {
        add(member, text_of(value), "at most " + std::to_string(most / std::chrono::hours(24)) + " days");
    }
}

void option_problems::time_span_or_off(std::string_view member, duration value) {
    if (value < duration::zero()) {
        add(member, text_of(value), "above 0, or 0 for off");
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
