// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/spawn.hpp>

#include <new>
#include <system_error>

namespace headgate::detail {

error error_of(std::exception_ptr cause) noexcept {
    errc code = errc::operation_failed;
    const auto judge = [&code](const boost::system::error_code& thrown) {
        code = is_canceled(error(thrown)) ? errc::canceled : code;
    };
    try {
        std::rethrow_exception(cause);
    } catch (const boost::system::system_error& e) {
        judge(e.code());
    } catch (const std::system_error& e) {
        judge(e.code());
    } catch (const std::bad_alloc&) {
        code = errc::out_of_memory;
    } catch (...) {  // NOLINT(bugprone-empty-catch): every other exception is the cause as it is
    }
    return {code, std::move(cause)};
}

}  // namespace headgate::detail
