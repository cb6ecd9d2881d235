// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/config.hpp>

#include <iostream>
#include <string>

// Reads a document from each line, and says on a line of its own whether it is valid; for schema.py.
int main() {
    for (std::string line; std::getline(std::cin, line);) {
        const auto parsed = headgate::config::parse(line);
        std::string text = parsed ? "valid" : "invalid: " + parsed.error().message();
        for (char& c : text) {
            c = c == '\n' ? ' ' : c;
        }
        std::cout << text << '\n';
    }
}
