// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "server.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <stdexcept>

namespace headgate {

std::string server_url() {
    const char* url = std::getenv("POSTGRES_URL");
    if (url == nullptr) {
        throw std::runtime_error("run this by test/postgres/run.py");
    }
    return url;
}

std::string server_url_with(std::string_view what, std::string_view other) {
    std::string url = server_url();
    return url.replace(url.find(what), what.size(), other);
}

void tell_server(std::string_view command) {
    const int control = std::stoi(std::getenv("POSTGRES_CONTROL"));
    const std::string line = std::string(command) + '\n';
    char done = 0;
    if (::write(control, line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
        ::read(control, &done, 1) != 1) {
        throw std::runtime_error("run.py does not answer");
    }
}

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace headgate
