#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Runs the tour's demonstration on a port of its own, talks to it, and checks its output.  check.py PROGRAM"""

import re
import signal
import socket
import subprocess
import sys


def talk(port, line):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
        s.sendall(line.encode() + b"\n")
        return s.makefile().readline().strip()


def demonstration(program):
    said = subprocess.run([program, "--demo", "--for", "8", "--port", "0"], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said
    in_order = [
        r"nc 127\.0\.0\.1 \d+",
        r"> get apple\n  ok: the value of apple, 4 left",
        r"> get apple\n  no: the rate limit is reached, retry after \d+ ms",
        r"refused [12] \| pool: .* \| breaker: closed, failures 0",
        r"> break\n",
        r"> get apple\n  no: End of file",
        r"\[breaker database: closed -> open\]",
        r"> get fig\n  no: the circuit is open, retry after \d+ ms",
        r"breaker: open, failures 3, refused 1",
        r"> heal\n",
        r"\[breaker database: open -> half_open\]",
        r"\[breaker database: half_open -> closed\]",
        r"> get pear\n  ok: the value of pear",
        r"breaker: closed, failures 3",
        r"that was the demonstration\n",
        r"closed\n",
    ]
    rest = said.stdout
    for pattern in in_order:
        found = re.search(pattern, rest)
        assert found, f"no {pattern!r} in\n{rest}\n--- all:\n{said.stdout}"
        rest = rest[found.end():]


def until_signal(program):
    with subprocess.Popen([program, "--port", "0"], stdout=subprocess.PIPE, text=True) as tour:
        port = int(re.search(r"nc 127\.0\.0\.1 (\d+)", tour.stdout.readline()).group(1))
        assert talk(port, "get plum").startswith("ok: the value of plum"), "get"
        assert talk(port, "what").startswith("type: "), "what"
        tour.send_signal(signal.SIGTERM)
        assert tour.stdout.read().endswith("closed\n")
        assert tour.wait(10) == 0


def bad_arguments(program):
    for arguments in (["--port", "x"], ["--port"], ["--for", "-1"], ["--port", "65536"], ["--what", "1"]):
        said = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=10)
        assert said.returncode == 2 and "usage" in said.stderr, said


demonstration(sys.argv[1])
until_signal(sys.argv[1])
bad_arguments(sys.argv[1])
