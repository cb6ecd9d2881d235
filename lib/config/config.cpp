// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/config.hpp>

#include <new>
#include <string>

#include "config/json_text.hpp"
#include "config/reader.hpp"
#include "config/writer.hpp"

namespace headgate {

result<config> config::parse(std::string_view text, std::vector<config_problem>& problems,
                             std::span<const config_section> sections) {
    problems.clear();
    try {
        config out;
        if (const auto document = detail::read_json(text, problems)) {
            detail::reporter r(problems);
            detail::read_document(r, *document, sections, out);
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
