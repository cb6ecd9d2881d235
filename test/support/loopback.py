# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Helpers for tests of servers."""
import socket
import time


def wait_for(what, condition, seconds=60):
    """Waits until `condition` is true, and returns its value. Fails when it never is."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < end, "never came: " + what
        time.sleep(0.02)


def raw(port, data, timeout=30, shut=False):
    """Sends bytes to a local port, and returns all bytes until the server hangs up. `shut` ends our half."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.settimeout(timeout)
        try:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server hung up before it had read everything
        out = b""
        while True:
            try:
                got = s.recv(65536)
            except ConnectionResetError:
                return out
            if not got:
                return out
            out += got
