// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "exchange.hpp"

namespace db_proxy {

void exchange::request(char type) {
    switch (type) {
        case 'Q':
        case 'F':
            if (!skipping_) {
                push(query);
            }
            break;
        case 'S':
            skipping_ = false;
            if (copy_ == copy::receiving) {
                sync_in_copy_ = true;
            } else {
                push(sync);
            }
            break;
        case 'P':
        case 'B':
        case 'D':
        case 'E':
        case 'C':
            if (!skipping_ && (pending() == 0 || queue_.back() != extended)) {
                push(extended);
                executes_ = 0;
            }
            executes_ += type == 'E' ? 1 : 0;
            break;
        case 'c':
        case 'f':
            if (copy_ == copy::receiving) {
                copy_ = copy::ended;
            } else if (pending() > 0) {
                push(copy_end);
            }
            break;
        default: break;
    }
}

void exchange::response(char type, char status) {
    switch (type) {
        case 'Z':
            ++completed_;
            status_ = status;
            copy_ = copy::none;
            sync_in_copy_ = false;
            pop_through_ready();
            break;
        case 'G': begin_copy(); break;
        case 'C':
            complete();
            copy_ = copy::none;
            sync_in_copy_ = false;
            break;
        case 's':
        case 'I': complete(); break;
        case 'E':
            complete();
            executes_ = 0;
            fail();
            break;
        default: break;
    }
}

void exchange::push(char what) {
    queue_ += what;
}

void exchange::complete() {
    ++completed_;
    executes_ -= executes_ > 0 ? 1 : 0;
}

bool exchange::server_waits() const noexcept {
    const bool flushed = pending() == 1 && queue_[head_] == extended && executes_ == 0 && copy_ == copy::none;
    return settled() || flushed;
}

/// Removes the request that a ReadyForQuery answers, and everything before that request.
void exchange::pop_through_ready() {
    while (pending() > 0) {
        const char first = queue_[head_++];
        if (first == query || first == sync) {
            break;
        }
    }
    while (pending() > 0 && queue_[head_] == copy_end) {
        ++head_;
    }
    if (pending() == 0) {
        queue_.clear();
        head_ = 0;
    }
}

/// CopyInResponse: from now on the server reads COPY data, and drops each Sync before the end of the data.
void exchange::begin_copy() {
    copy_ = copy::receiving;
    for (std::size_t i = head_ + 1; i < queue_.size();) {
        if (queue_[i] == copy_end) {
            queue_.erase(i, 1);
            copy_ = copy::ended;
            return;
        }
        if (queue_[i] == sync) {
            queue_.erase(i, 1);
            sync_in_copy_ = true;
        } else {
            ++i;
        }
    }
}

void exchange::fail() {
    doubtful_ = doubtful_ || (copy_ != copy::none && sync_in_copy_);
    copy_ = copy::none;
    sync_in_copy_ = false;
    if (pending() == 0 || queue_[head_] != extended) {
        return;
    }
    if (pending() > 1 && queue_[head_ + 1] == query) {
        // This Query has no Sync before it. Either the Query has failed, or the server drops it after the error of an
        // earlier message. The Query counts as answered.
        doubtful_ = true;
        return;
    }
    while (pending() > 0 && queue_[head_] != sync) {
        ++head_;
    }
    if (pending() == 0) {
        queue_.assign(1, extended);  // the segment that waits for its Sync
        head_ = 0;
        skipping_ = true;
    }
}

bool leaves_session_state(std::string_view tag) noexcept {
    const std::string_view word = tag.substr(0, tag.find_first_of(std::string_view(" \0", 2)));
    return word == "SET" || word == "LISTEN" || word == "PREPARE" || word == "DECLARE";
}

}  // namespace db_proxy
