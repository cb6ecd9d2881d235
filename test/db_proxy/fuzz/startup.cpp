// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// A client's login, cut into pieces whose length the first byte gives: it ends in the same way wherever the bytes are
// cut.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "client_login.hpp"

namespace {

using namespace db_proxy;

login_check find(std::string_view user) {
    static const scram::verifier known = scram::verifier::of("x", "0123456789abcdef", 1);
    return user == "local" ? login_check{} : login_check{known};
}

client_login::state run(std::string_view bytes, std::size_t piece) {
    client_login login(find);
    std::string input;
    client_login::state state = client_login::state::running;
    while (!bytes.empty() && state == client_login::state::running) {
        const std::string_view part = bytes.substr(0, piece);
        bytes.remove_prefix(part.size());
        input += part;
        std::string_view view = input;
        state = login.feed(view);
        input = view;
    }
    if (state == client_login::state::authenticated) {
        for (const auto policy : {parameter_policy::ignore, parameter_policy::reject}) {
            (void)read_parameters(login.request().values, {policy, parameter_policy::reject, policy, policy});
        }
    }
    return state;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size > 0) {
        const std::string bytes(data + 1, data + size);
        const std::size_t piece = 1 + std::size_t{data[0]};
        // An encryption request together with more bytes is refused, so that its cut may make a difference.
        const bool encrypted = bytes.find("\x04\xd2\x16") != std::string::npos;
        if (run(bytes, piece) != run(bytes, 1) && !encrypted) {
            std::abort();
        }
    }
    return 0;
}
