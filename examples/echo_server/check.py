#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Sends the echo server more data than its limit allows, then ends it.  check.py PROGRAM"""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

BYTES_A_SECOND = 256 * 1024


def main(program):
    assert len(open(__file__.replace("check.py", "echo_server.cpp")).readlines()) < 200, "it is to stay small"
    for wrong in (["x"], [""], ["65536"], ["0", "-1"], ["0", "0", "0"], ["0", "0", "1", "1"]):
        assert subprocess.run([program] + wrong, capture_output=True, timeout=30).returncode == 2, wrong
    with subprocess.Popen([program, "0", "0", "3"], stdout=subprocess.PIPE, text=True) as server:
        try:
            said = re.search(r"127\.0\.0\.1:(\d+), status on (\S+)", server.stdout.readline())
            check(server, int(said.group(1)), said.group(2))
        finally:
            server.kill()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), 30)


def receive(s, count):
    out = b""
    while len(out) < count:
        got = s.recv(count - len(out))
        if not got:
            break
        out += got
    return out


def check(server, port, url):
    def metrics():
        status = json.loads(urllib.request.urlopen(url + "status.json", timeout=30).read())
        return {p["name"]: p for p in status["zones"][0]["primitives"]}

    def running():
        return metrics()["connections"]["metrics"]["running"]

    def until(holds):
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end, metrics()
            time.sleep(0.02)

    with connect(port) as s:
        s.sendall(b"hello")
        assert receive(s, 5) == b"hello"
        s.shutdown(socket.SHUT_WR)
        assert s.recv(10) == b""  # the server echoes the end, too

    # Data for four seconds: the limiter grants the first second at once and delays the rest, and no byte is lost.
    data = bytes(range(256)) * (4 * BYTES_A_SECOND // 256)
    with connect(port) as s:
        began = time.monotonic()
        sender = threading.Thread(target=s.sendall, args=(data,))
        sender.start()
        assert receive(s, len(data)) == data
        sender.join()
        assert time.monotonic() - began > 2.5, "the limiter did nothing"
    bytes_limiter = metrics()["bytes"]
    assert bytes_limiter["busiest"][0]["key"] == "127.0.0.1", bytes_limiter

    # The server hangs up on silent clients: a client that sends nothing, and a client that reads nothing.
    silent = connect(port)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.settimeout(60)
    deaf.connect(("127.0.0.1", port))
    until(lambda: running() >= 2)  # accepted; one of the places is for the next client
    assert silent.recv(1) == b""
    try:
        while True:
            deaf.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass
    until(lambda: running() == 1)
    silent.close()
    deaf.close()

    # On SIGTERM the server echoes the data that it has read, hangs up on an idle client, and exits with 0.
    idle, busy = connect(port), connect(port)
    busy.sendall(b"last words")
    assert receive(busy, 10) == b"last words"
    until(lambda: running() >= 2)
    server.send_signal(signal.SIGTERM)
    assert idle.recv(10) == b"" and busy.recv(10) == b""
    assert server.wait(30) == 0
    assert "0 clients cut off" in server.stdout.read()


main(sys.argv[1])
