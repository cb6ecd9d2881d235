// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "faulty_vfs.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string_view>
#include <utility>

namespace headgate::test {

namespace {

/// Which files are full.
class full_files {
public:
    void set(std::vector<std::string> endings) {
        const std::lock_guard guard(mutex_);
        endings_ = std::move(endings);
    }

    bool has(const char* name) {
        const std::lock_guard guard(mutex_);
        const auto ends = [name](const std::string& ending) {
            return name != nullptr && !ending.empty() && std::string_view(name).ends_with(ending);
        };
        return std::ranges::any_of(endings_, ends) || std::ranges::any_of(from_control_file(), ends);
    }

private:
    [[nodiscard]] std::vector<std::string> from_control_file() const {
        std::vector<std::string> lines;
        std::ifstream file(control_);
        for (std::string line; !control_.empty() && std::getline(file, line);) {
            lines.push_back(line);
        }
        return lines;
    }

    static std::string environment() {
        const char* value = std::getenv("HEADGATE_FAULTY_VFS");
        return value != nullptr ? value : "";
    }

    std::mutex mutex_;
    std::vector<std::string> endings_;
    std::string control_ = environment();
};

full_files& full() {
    static full_files files;
    return files;
}

/// The file that SQLite sees. The real file follows it in the same block of memory.
struct faulty_file {
    sqlite3_file base;
    const char* name;  // SQLite keeps it until the file is closed

    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

/// The real file behind SQLite's file, and its methods.
sqlite3_file* real(sqlite3_file* file) {
    return reinterpret_cast<faulty_file*>(file)->real();
}
const sqlite3_io_methods& methods(sqlite3_file* file) {
    return *real(file)->pMethods;
}
bool is_full(sqlite3_file* file) {
    return full().has(reinterpret_cast<faulty_file*>(file)->name);
}

int close(sqlite3_file* file) {
    return methods(file).xClose(real(file));
}
int read(sqlite3_file* file, void* to, int size, sqlite3_int64 at) {
    return methods(file).xRead(real(file), to, size, at);
}
int write(sqlite3_file* file, const void* from, int size, sqlite3_int64 at) {
    return is_full(file) ? SQLITE_FULL : methods(file).xWrite(real(file), from, size, at);
}
int truncate(sqlite3_file* file, sqlite3_int64 size) {
    return is_full(file) ? SQLITE_FULL : methods(file).xTruncate(real(file), size);
}
int sync(sqlite3_file* file, int flags) {
    return methods(file).xSync(real(file), flags);
}
int file_size(sqlite3_file* file, sqlite3_int64* size) {
    return methods(file).xFileSize(real(file), size);
}
int lock(sqlite3_file* file, int level) {
    return methods(file).xLock(real(file), level);
}
int unlock(sqlite3_file* file, int level) {
    return methods(file).xUnlock(real(file), level);
}
int check_reserved_lock(sqlite3_file* file, int* reserved) {
    return methods(file).xCheckReservedLock(real(file), reserved);
}
int file_control(sqlite3_file* file, int what, void* argument) {
    if (what == SQLITE_FCNTL_SIZE_HINT && is_full(file)) {
        return SQLITE_FULL;
    }
    return methods(file).xFileControl(real(file), what, argument);
}
int sector_size(sqlite3_file* file) {
    return methods(file).xSectorSize(real(file));
}
int device_characteristics(sqlite3_file* file) {
    return methods(file).xDeviceCharacteristics(real(file));
}
int shm_map(sqlite3_file* file, int region, int size, int extend, void volatile** memory) {
    return methods(file).xShmMap(real(file), region, size, extend, memory);
}
int shm_lock(sqlite3_file* file, int offset, int count, int flags) {
    return methods(file).xShmLock(real(file), offset, count, flags);
}
void shm_barrier(sqlite3_file* file) {
    methods(file).xShmBarrier(real(file));
}
int shm_unmap(sqlite3_file* file, int remove) {
    return methods(file).xShmUnmap(real(file), remove);
}

// Version 2 has no memory-mapped reading, which would bypass `read`.
constexpr sqlite3_io_methods faulty_methods = {
    2,
    close,
    read,
    write,
    truncate,
    sync,
    file_size,
    lock,
    unlock,
    check_reserved_lock,
    file_control,
    sector_size,
    device_characteristics,
    shm_map,
    shm_lock,
    shm_barrier,
    shm_unmap,
    nullptr,
    nullptr,
};

int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    auto* real_vfs = static_cast<sqlite3_vfs*>(vfs->pAppData);
    auto* faulty = reinterpret_cast<faulty_file*>(file);
    faulty->name = name;
    const int code = real_vfs->xOpen(real_vfs, name, faulty->real(), flags, out_flags);
    // SQLite does not close a file without methods.
    file->pMethods = faulty->real()->pMethods != nullptr ? &faulty_methods : nullptr;
    return code;
}

sqlite3_vfs make_faulty_vfs(sqlite3_vfs* real) {
    sqlite3_vfs vfs = *real;  // the other functions stay the real VFS's, which ignore their VFS argument
    vfs.zName = "faulty";
    vfs.pAppData = real;
    vfs.pNext = nullptr;
    vfs.szOsFile = static_cast<int>(sizeof(faulty_file)) + real->szOsFile;
    vfs.xOpen = open;
    return vfs;
}

}  // namespace

void register_faulty_vfs() {
    static sqlite3_vfs vfs = make_faulty_vfs(sqlite3_vfs_find(nullptr));
    sqlite3_vfs_register(&vfs, 1);
}

void set_full_files(std::vector<std::string> endings) {
    full().set(std::move(endings));
}

}  // namespace headgate::test
