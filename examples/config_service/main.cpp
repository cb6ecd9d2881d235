// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/listening.hpp"
#include "demo.hpp"
#include "log.hpp"
#include "service.hpp"

namespace {

using namespace config_service;

constexpr const char* usage =
    "usage: config_service --config FILE [OPTION VALUE ...]\n"
    "\n"
    "  --config FILE      the configuration: one JSON document, read again on SIGHUP\n"
    "  --data DIRECTORY   where the database and the saved limits are (default: the current one)\n"
    "  --listen ADDRESS:PORT, --database NAME, --users FILE\n"
    "                     over what the document says\n"
    "  --demo             a load inside of the process, and a page that breaks and heals the database\n";

bool parse(int argc, char** argv, start_options& out) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--demo") {
            out.demo = true;
            continue;
        }
        std::string* const to = name == "--config"     ? &out.config_file
                                : name == "--data"     ? &out.data_directory
                                : name == "--listen"   ? &out.listen
                                : name == "--database" ? &out.database
                                : name == "--users"    ? &out.users
                                                       : nullptr;
        if (to == nullptr || i + 1 == argc) {
            return false;
        }
        *to = argv[++i];
    }
    return !out.config_file.empty();
}

asio::awaitable<void> watch(asio::signal_set& signals, asio::io_context& io, service& s, bool& well) {
    while (co_await signals.async_wait(asio::use_awaitable) == SIGHUP) {
        std::vector<headgate::config_problem> problems;
        static_cast<void>(s.reload(problems));
    }
    well = co_await s.drain();
    io.stop();
}

}  // namespace

int main(int argc, char** argv) {
    start_options options;
    if (!parse(argc, argv, options)) {
        std::fputs(usage, stderr);
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    support::raise_descriptor_limit();
    bool well = false;
    start_log();
    try {
        asio::io_context io(1);
        // Set up before the service reports that it listens: a parent that waits for the report may stop it at once.
        asio::signal_set signals(io, SIGHUP, SIGINT, SIGTERM);
        const bool demo = options.demo;
        service s(io, std::move(options));
        s.start();
        if (!s.has_users()) {
            log_event(log_level::warning, "open_to_all",
                      {{"why",
                        "there is no file of users: whoever reaches this port is who X-User says, and may do "
                        "everything"}});
        }
        log_event(log_level::info, "listening", {{"url", s.url()}, {"users", s.has_users()}});
        if (demo) {
            start_demo(io, s.url());
            log_event(log_level::info, "demo",
                      {{"open", s.url()}, {"what", "watch limits at work; break the database and heal it"}});
        }
        asio::co_spawn(io, watch(signals, io, s, well), asio::detached);
        io.run();
    } catch (const std::exception& e) {
        end_log();
        std::fprintf(stderr, "config_service: %s\n", e.what());
        return 1;
    }
    end_log();
    return well ? 0 : 1;
}
