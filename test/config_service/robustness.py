#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""What a hostile or broken network does to the configuration service. Each test ends with the service well."""
import http.client
import os
import pathlib
import resource
import socket
import subprocess
import sys
import time

from harness import ServiceTest, document, main, wait_for

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def status_of(answer):
    return int(answer.split(b" ")[1]) if answer else 0


class Requests(ServiceTest):
    def quick(self):
        return self.service(document(service={"header_timeout": "500ms", "body_timeout": "1s", "idle_timeout": "2s",
                                              "max_body": 100_000}))

    def test_slow_headers_and_bodies_end_at_their_deadline(self):
        s = self.quick()
        for head in (b"GET /healthz HTTP/1.1\r\nHost: local", b"PUT /v1/config/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12"):
            with socket.create_connection(("127.0.0.1", s.port), 20) as c:
                c.sendall(head)
                began = time.monotonic()
                self.assertEqual(c.recv(1000), b"")
                self.assertLess(time.monotonic() - began, 10)
        # One byte at a time does not move the deadline.
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            began, got = time.monotonic(), b""
            c.settimeout(0.1)
            for byte in GET * 100:
                try:
                    c.sendall(bytes([byte]))
                    got = c.recv(1000)
                    break
                except TimeoutError:
                    continue
                except OSError:
                    break
            self.assertLess(time.monotonic() - began, 10)
            self.assertEqual(got, b"")
        s.check_well()

    def test_an_idle_client_is_let_go(self):
        s = self.quick()
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            self.assertEqual(c.recv(10), b"")
            c.close()
        s.check_well()

    def test_too_large(self):
        s = self.quick()
        self.assertEqual(status_of(s.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n")), 431)
        self.assertEqual(status_of(s.raw(b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n")), 431)
        self.assertEqual(status_of(s.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 100_000 + b"\r\n")), 431)
        head = b"PUT /v1/config/x HTTP/1.1\r\nHost: localhost\r\n"
        self.assertEqual(status_of(s.raw(head + b"Content-Length: 100001\r\n\r\n" + b"1" * 100_001)), 413)
        self.assertEqual(status_of(s.raw(head + b"Content-Length: 99999999999999999999\r\n\r\n")), 400)
        chunks = b"".join(b"2710\r\n" + b"1" * 10_000 + b"\r\n" for _ in range(11)) + b"0\r\n\r\n"
        self.assertEqual(status_of(s.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)), 413)
        whole = head + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3\r\n123\r\n" + b"1\r\n4\r\n0\r\n\r\n"
        self.assertEqual(status_of(s.raw(whole)), 202)
        self.assertEqual(s.get("/v1/config/x").body, "1234")
        s.check_well()

    def test_expect_continue(self):
        s = self.quick()
        head = b"PUT /v1/config/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            c.sendall(head + b"Content-Length: 2\r\n\r\n")
            self.assertEqual(c.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
            c.sendall(b"42")
            self.assertEqual(status_of(c.recv(1000)), 202)
        # Too long: the client is told before it sends.
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            c.sendall(head + b"Content-Length: 200000\r\n\r\n")
            self.assertEqual(status_of(c.recv(1000)), 413)
        # Who does not wait gets one answer.
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            c.sendall(head + b"Connection: close\r\nContent-Length: 2\r\n\r\n43")
            self.assertEqual(status_of(c.recv(1000)), 202)
        s.check_well()

    def test_ambiguous_lengths_are_refused_and_closed(self):
        s = self.quick()
        head = b"PUT /v1/config/x HTTP/1.1\r\nHost: localhost\r\n"
        smuggled = b"PUT /v1/config/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1"
        for fields in (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                       b"Content-Length: 3\r\nContent-Length: 4\r\n", b"Content-Length: -1\r\n", b"Content-Length: 3, 4\r\n",
                       b"Content-Length: 0x3\r\n"):
            answer = s.raw(head + fields + b"\r\n0\r\n\r\n" + smuggled)
            self.assertEqual(status_of(answer), 400, fields)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, fields)
        self.assertEqual(s.get("/v1/config/smuggled").status, 404)
        s.check_well()

    def test_garbage(self):
        s = self.quick()
        for data in (b"garbage\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50,
                     b"GET / HTTP/1.1\r\nBroken\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", os.urandom(2000) + b"\r\n\r\n"):
            answer = s.raw(data)
            self.assertIn(status_of(answer) if answer.startswith(b"HTTP") else 0, (0, 400, 431), data[:30])
        self.assertEqual(s.raw(b"", shut=True), b"")
        s.check_well()

    def test_keep_alive_and_pipelining(self):
        s = self.quick()
        answers = s.raw(GET * 99 + GET.replace(b"Host", b"Connection: close\r\nHost"))
        self.assertEqual(answers.count(b"HTTP/1.1 200 OK"), 100)
        puts = b"".join(b"PUT /v1/config/p%d HTTP/1.1\r\nHost: localhost\r\nX-User: u%d\r\nContent-Length: 1\r\n\r\n%d" % (i, i, i) for i in range(9))
        answers = s.raw(puts + GET.replace(b"Host", b"Connection: close\r\nHost"))
        self.assertEqual((answers.count(b" 202 Accepted"), answers.count(b" 200 OK")), (9, 1))
        self.assertEqual(answers.count(b"HTTP/1.1"), 10)
        self.assertEqual(status_of(s.raw(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")), 200)
        s.check_well()

    def test_half_closed_and_vanished_clients(self):
        s = self.quick()
        self.assertEqual(status_of(s.raw(GET, shut=True)), 200)
        self.assertEqual(s.raw(GET[:20], shut=True), b"")
        before = s.settle()
        for size in range(0, len(GET), 3):
            c = socket.create_connection(("127.0.0.1", s.port), 20)
            c.sendall(GET[:size])
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # a reset
            c.close()
        wait_for("the descriptors are back", lambda: s.descriptors() <= before)
        s.check_well()

    def test_an_answer_that_nobody_reads(self):
        s = self.service(document(service={"body_timeout": "500ms"}, limits={"config_update": "1000/1m"}))
        s.put("big", '"' + "x" * 900_000 + '"')
        before = s.settle()
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            c.sendall(b"GET /v1/config/big HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
            wait_for("it lets go", lambda: s.descriptors() <= before)
        s.check_well()


class Crowds(ServiceTest):
    def test_500_connects_a_second(self):
        s = self.service(document(service={"log_requests": False}))
        before = s.settle()
        for _ in range(1500):
            c = socket.create_connection(("127.0.0.1", s.port), 20)
            c.sendall(GET)
            assert status_of(c.recv(1000)) == 200
            c.close()
        wait_for("the descriptors are back", lambda: s.descriptors() <= before)
        s.check_well()

    def test_out_of_descriptors(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        s = self.service(limits=few)
        s.check_well()
        crowd = [socket.create_connection(("127.0.0.1", s.port), 20) for _ in range(120)]
        wait_for("it says so", lambda: s.events("accept_paused"))
        cpu = cpu_seconds(s.process.pid)
        time.sleep(1)  # nothing is waited for: a second of doing nothing is what is measured
        self.assertLess(cpu_seconds(s.process.pid) - cpu, 0.5, "it spins")
        for c in crowd:
            c.close()
        wait_for("it serves again", lambda: alive(s))
        s.check_well()

    def test_ten_thousand_idle_connections(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard != resource.RLIM_INFINITY and hard < 11_000:
            self.skipTest(f"the hard limit of descriptors is {hard}; this needs 11,000")
        s = self.service(document(service={"idle_timeout": "10m", "log_requests": False}))
        s.check_well()
        before = s.resident_kib()
        crowd = subprocess.Popen([sys.executable, __file__, "--crowd", str(s.port), "10000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(crowd.stdout.close)
        self.addCleanup(crowd.kill)
        self.assertEqual(crowd.stdout.readline(), b"connected\n")
        wait_for("all are there", lambda: s.descriptors() > 10_000)
        each = (s.resident_kib() - before) / 10_000
        self.assertLess(each, 8, "KiB for each idle connection")
        print(f"{each:.1f} KiB for each idle connection", file=sys.stderr)
        self.assertEqual(s.put("x", 1).status, 202)
        crowd.stdin.close()
        crowd.wait(60)
        wait_for("all are gone", lambda: s.descriptors() < 100, 60)
        s.check_well()


def alive(s):
    try:
        return s.get("/healthz").status == 200
    except (OSError, http.client.HTTPException):
        return False


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def crowd(port, count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    all_of_them = []
    for _ in range(count):
        c = socket.create_connection(("127.0.0.1", port), 60)
        c.sendall(GET)
        assert status_of(c.recv(1000)) == 200
        all_of_them.append(c)
    print("connected", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--crowd"]:
        crowd(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
