// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#if defined(ANOTHER_BOOST)
#include <boost/version.hpp>
#undef BOOST_VERSION
#define BOOST_VERSION 999900
#endif

#include <headgate/error.hpp>

#include <iostream>

extern "C" [[gnu::visibility("default")]] int use() {
    const headgate::error e = headgate::errc::rate_limited;
    std::cout << "consumed: " << e.message() << '\n';
    return 0;
}

#if !defined(PLUGIN)
int main() {
    return use();
}
#endif
