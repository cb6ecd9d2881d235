#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Attacks of a hostile or broken network on the configuration service. Each test ends with a healthy service."""
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
        # Too long: the server refuses before the client sends the body.
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            c.sendall(head + b"Content-Length: 200000\r\n\r\n")
            self.assertEqual(status_of(c.recv(1000)), 413)
        # A client that does not wait for the 100 gets one answer.
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
                       b"Content-Length: 0x3\r\n", b"Content-Length: 3\r\nContent-Length: 3\r\n", b"Content-Length: 3, 3\r\n",
                       b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: chunked, identity\r\n",
                       b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"):
            answer = s.raw(head + fields + b"\r\n0\r\n\r\n" + smuggled)
            self.assertEqual(status_of(answer), 400, fields)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, fields)
        self.assertEqual(s.get("/v1/config/smuggled").status, 404)
        s.check_well()

    def test_what_may_be_there_once_is_refused_when_it_is_there_twice(self):
        s = self.quick()
        for twice in (b"Host: localhost\r\nHost: localhost\r\n", b"Host: localhost\r\nhost: evil.example\r\n",
                      b"Host: localhost\r\nX-User: ann\r\nX-User: bob\r\n", b"Host: localhost\r\nOrigin: null\r\nOrigin: http://localhost\r\n",
                      b"Host: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n", b"X: no host\r\n"):
            for path in (b"/healthz", b"/v1/config"):
                answer = s.raw(b"GET " + path + b" HTTP/1.1\r\n" + twice + b"\r\n" + GET)
                self.assertEqual((status_of(answer), answer.count(b"HTTP/1.1 ")), (400, 1), twice)
        # A field that holds a list may occur more than once.
        put = b"PUT /v1/config/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n"
        self.assertEqual(status_of(s.raw(put + b"\r\n1")), 202)
        self.assertEqual(status_of(s.raw(put + b'If-Match: "7"\r\nIf-Match: "1"\r\n\r\n2')), 202)
        self.assertEqual(status_of(s.raw(put + b'If-None-Match: "7"\r\nIf-None-Match: "2"\r\n\r\n3')), 412)
        s.check_well()

    def test_a_whole_url_is_a_target(self):
        s = self.quick()

        def ask(target, host=b"evil.example", method=b"GET", body=b""):
            return s.raw(method + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\nContent-Length: "
                         + str(len(body)).encode() + b"\r\n\r\n" + body)
        self.assertEqual(status_of(ask(b"http://localhost/v1/config/a/b", method=b"PUT", body=b"1")), 202)
        self.assertEqual(status_of(ask(b"HTTP://LocalHost:80/v1/config/a/b?sync=true", method=b"PUT", body=b"2")), 200)
        for target in (b"https://127.0.0.1:1/v1/config/a/b", b"http://[::1]", b"http://localhost?x", b"http://localhost/status.json?since=1"):
            self.assertEqual(status_of(ask(target)), 200, target)
        for target in (b"http://evil.example/v1/config", b"http:///v1/config", b"http://u@localhost/", b"http://localhost@evil.example/"):
            self.assertEqual(status_of(ask(target, host=b"localhost")), 403, target)
        self.assertEqual(status_of(ask(b"ftp://localhost/healthz", host=b"localhost")), 404)
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


# The bytes that a client sends before it is silent for ever.
SILENT = {"nothing": b"", "half a line": b"GET /heal", "half a header": GET[:-3], "an answered request": GET,
          "half a body": b"PUT /v1/config/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n1",
          "half a chunk": b"PUT /v1/config/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n1",
          "no body after 100": b"PUT /v1/config/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-Continue\r\nContent-Length: 10\r\n\r\n",
          "an answer it does not read": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100,
          "a refusal it does not read": b"garbage\r\n\r\n"}


class Crowds(ServiceTest):
    def test_silent_clients_keep_nobody_out(self):
        s = self.service(document(service={"max_connections": 20, "idle_timeout": "10m", "header_timeout": "10m", "body_timeout": "10m",
                                           "log_requests": False}))
        for what, sent in SILENT.items():
            crowd = []
            for _ in range(60):
                c = socket.socket()
                c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                c.settimeout(20)
                c.connect(("127.0.0.1", s.port))
                try:
                    c.sendall(sent)
                except OSError:
                    pass  # the server hung up on it for a newer client
                crowd.append(c)
            began = time.monotonic()
            self.assertEqual(s.get("/healthz").status, 200, what)
            self.assertEqual(s.get("/v1/config/nothing").status, 404, what)
            self.assertLess(time.monotonic() - began, 5, what)
            for c in crowd:
                c.close()
        wait_for("the log", lambda: s.events("clients_let_go"))
        s.check_well()

    def test_who_is_at_work_is_not_let_go(self):
        script = ("import json, sys, time\nprint('{\"ready\": true}', flush=True)\nfor line in sys.stdin:\n    time.sleep(1)\n"
                  "    print(json.dumps({'id': json.loads(line)['id'], 'tree': {}}), flush=True)")
        s = self.service(document(service={"max_connections": 3, "parser_command": [sys.executable, "-c", script]}))
        wait_for("workers", lambda: s.primitive("resource_pool", "ast_parser")["idle"] == 2)
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            c.sendall(b"POST /v1/parse HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
            wait_for("it runs", lambda: s.primitive("resource_pool", "ast_parser")["leased"] == 1)
            crowd = [socket.create_connection(("127.0.0.1", s.port), 20) for _ in range(20)]
            self.assertEqual(status_of(c.recv(1000)), 200)
        for one in crowd:
            one.close()
        s.check_well()

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
        time.sleep(1)  # no event to wait for: the test measures the CPU time of a second without work
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
