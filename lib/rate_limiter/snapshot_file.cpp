// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Snapshots in files: a secret of mode 0600, replaced in one step.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "rate_limiter/limiter_machine.hpp"

namespace headgate::detail {
namespace {

error failure(int number, const std::string& what, const std::string& path) {
    error e{boost::system::error_code{number, boost::system::system_category()}};
    e.detail = std::make_shared<std::string>(what + " " + path);
    return e;
}

error not_a_file(const std::string& what, const std::string& path, ::mode_t mode) {
    return failure(S_ISDIR(mode) ? EISDIR : EINVAL, what + (S_ISDIR(mode) ? "" : ", which is no regular file,"), path);
}

/// A file descriptor that is closed whatever happens.
class descriptor {
public:
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_;
};

/// A temporary file beside the one that it replaces; removed unless it does. Its mode is 0600 from its first moment.
class successor_file {
public:
    explicit successor_file(const std::string& path)
        : name_(path + ".XXXXXX"), file_(::mkostemp(name_.data(), O_CLOEXEC)) {}
    successor_file(const successor_file&) = delete;
    successor_file& operator=(const successor_file&) = delete;
    ~successor_file() {
        if (file_) {
            ::unlink(name_.c_str());
        }
    }
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(file_); }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    [[nodiscard]] bool write(std::span<const char> bytes) noexcept {
        while (!bytes.empty()) {
            const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
            if (n < 0 && errno != EINTR) {
                return false;
            }
            bytes = bytes.subspan(static_cast<std::size_t>(n < 0 ? 0 : n));
        }
        return ::fsync(file_.get()) == 0;
    }
    /// After it the unlink of the destructor finds nothing.
    [[nodiscard]] bool replace(const std::string& path) noexcept { return ::rename(name_.c_str(), path.c_str()) == 0; }

private:
    std::string name_;
    descriptor file_;
};

/// Where a path leads: through all symbolic links, also to a file that is not there yet.
result<std::string> target_of(const std::string& path) {
    constexpr int most_links = 40;
    std::string at = path;
    for (int i = 0; i < most_links; ++i) {
        struct stat info{};
        if (::lstat(at.c_str(), &info) != 0) {
            if (errno == ENOENT) {
                return at;
            }
            return failure(errno, "cannot write", path);
        }
        if (!S_ISLNK(info.st_mode)) {
            if (!S_ISREG(info.st_mode)) {
                return not_a_file("cannot write", path, info.st_mode);
            }
            return at;
        }
        std::string link(4096, '\0');
        const ssize_t n = ::readlink(at.c_str(), link.data(), link.size());
        if (n < 0) {
            return failure(errno, "cannot write", path);
        }
        link.resize(static_cast<std::size_t>(n));
        const auto slash = at.rfind('/');
        // NOLINTNEXTLINE(performance-inefficient-string-concatenation): a message
        at = link.starts_with('/') || slash == std::string::npos ? link : at.substr(0, slash + 1) + link;
    }
    return failure(ELOOP, "cannot write", path);
}

result<std::vector<char>> read_file(const std::string& path) {
    // O_NONBLOCK: opening a pipe must not wait for its writer.
    const descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    struct stat info{};
    if (!file || ::fstat(file.get(), &info) != 0) {
        return failure(errno, "cannot open", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return not_a_file("cannot read", path, info.st_mode);
    }
    std::vector<char> bytes;
    bytes.reserve(static_cast<std::size_t>(info.st_size));
    std::array<char, 65536> some;
    for (;;) {
        const ssize_t n = ::read(file.get(), some.data(), some.size());
        if (n == 0) {
            return bytes;
        }
        if (n > 0) {
            bytes.insert(bytes.end(), some.begin(), some.begin() + n);
        } else if (errno != EINTR) {
            return failure(errno, "cannot read", path);
        }
    }
}

}  // namespace

result<void> limiter_machine::save_file(const std::string& path, time_point now) const {
    BOOST_OUTCOME_TRY(const std::string target, target_of(path));
    const auto bytes = save(now);
    successor_file file{target};
    if (!file) {
        return failure(errno, "cannot create", file.name());
    }
    if (!file.write(bytes) || !file.replace(target)) {
        return failure(errno, "cannot write", path);
    }
    return success();
}

result<void> limiter_machine::load_file(const std::string& path, time_point now) {
    BOOST_OUTCOME_TRY(const auto bytes, read_file(path));
    auto loaded = load(bytes, now);
    if (!loaded && loaded.error() == errc::invalid_snapshot) {
        return error{errc::invalid_snapshot, path + ": " + *loaded.error().detail};
    }
    return loaded;
}

}  // namespace headgate::detail
