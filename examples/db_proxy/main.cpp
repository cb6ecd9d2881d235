// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>

#include "../support/listening.hpp"
#include "proxy.hpp"

namespace {

namespace asio = boost::asio;

constexpr const char* usage =
    "usage: db_proxy CONFIG_FILE        serves; reads the file again on SIGHUP, drains on SIGTERM\n"
    "       db_proxy --verifier         reads a password, and prints its verifier for the file of users\n";

int print_verifier() {
    std::string password;
    if (!std::getline(std::cin, password) || password.empty()) {
        std::cerr << "db_proxy: there is no password on the standard input\n";
        return 2;
    }
    std::cout << db_proxy::scram::verifier::of(password, db_proxy::scram::make_salt()).text() << '\n';
    return 0;
}

asio::awaitable<void> watch(asio::signal_set& signals, asio::io_context& io, db_proxy::proxy& p, bool& well) {
    while (co_await signals.async_wait(asio::use_awaitable) == SIGHUP) {
        const std::string mistakes = p.reload();
        std::cerr << (mistakes.empty() ? std::string("db_proxy: reloaded") : "db_proxy: not reloaded: " + mistakes)
                  << std::endl;
    }
    well = co_await p.drain();
    io.stop();
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 2 || std::string_view(argv[1]) == "--help") {
        std::cerr << usage;
        return 2;
    }
    if (std::string_view(argv[1]) == "--verifier") {
        return print_verifier();
    }
    std::signal(SIGPIPE, SIG_IGN);
    support::raise_descriptor_limit();
    bool well = false;
    asio::io_context io(1);
    asio::signal_set signals(io, SIGHUP, SIGINT, SIGTERM);
    db_proxy::proxy p(io, argv[1]);
    p.start();
    std::cout << "db_proxy on port " << p.port() << ", status on " << p.status_url() << std::endl;
    asio::co_spawn(io, watch(signals, io, p, well), asio::detached);
    io.run();
    return well ? 0 : 1;
} catch (const std::exception& e) {
    std::cerr << "db_proxy: " << e.what() << '\n';
    return 1;
}
