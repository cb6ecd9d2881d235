// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/config.hpp>

#include <new>
#include <string>

#include "config/json_text.hpp"
#include "config/reader.hpp"
#include "config/text.hpp"
#include "config/writer.hpp"

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

result<config> config::parse(std::string_view text, std::vector<config_problem>& problems,
                             std::span<const std::string_view> others) {
    problems.clear();
    try {
        config out;
        if (const auto document = detail::read_json(text, problems)) {
            detail::reporter r(problems);
            detail::read_document(r, *document, others, out);
        }
        if (!problems.empty()) {
            return error(errc::invalid_config, to_string(problems));
        }
        return out;
    } catch (const std::bad_alloc&) {
        problems.clear();
        return errc::out_of_memory;
    }
}

result<config> config::parse(std::string_view text) {
    std::vector<config_problem> problems;
    return parse(text, problems);
}

std::vector<config_problem> config::check() const {
    std::vector<config_problem> problems;
    detail::reporter r(problems);
    detail::check_document(r, *this);
    return problems;
}

std::string config::to_json() const {
    return detail::write(*this);
}

}  // namespace headgate
