#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""The status server as machines see it: server.py LOAD PROMTOOL"""
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from loopback import raw, wait_for  # noqa: E402

TOKEN = "the-secret"


class Load:
    """A service under load, with its status server."""

    def __init__(self, program, token):
        self.process = subprocess.Popen([program] + ([token] if token else []), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def end(self):
        self.tell("quit")
        assert self.process.wait(10) == 0

    def ask(self, path, method="GET", body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer

    def status(self, since=0):
        return json.loads(self.ask(f"/status.json?since={since}")[1])

    def primitive(self, kind):
        return next(p for p in self.status()["zones"][0]["primitives"] if p["kind"] == kind)

    def admin(self, token=TOKEN, **what):
        return self.ask("/admin", "POST", json.dumps({"zone": "shop", **what}), {"Authorization": "Bearer " + token})


def check_metrics(load, promtool):
    status, text, answer = load.ask("/metrics")
    assert status == 200 and answer.getheader("Content-Type").startswith("text/plain; version=0.0.4")
    for needed in ('headgate_circuit_breaker_state{zone="shop",name="database",state="closed"} 1',
                   'headgate_rate_limiter_granted_total{zone="shop",name="calls"}',
                   'headgate_resource_pool_leased{zone="shop",name="database"}',
                   'headgate_circuit_breaker_run_seconds_bucket{zone="shop",name="database",le="+Inf"}',
                   'headgate_bulkhead_running{zone="shop",name="reports"} 1'):
        assert needed in text, needed
    if os.path.exists(promtool):
        # Its advice on names and help texts ends with 3; what it cannot parse ends with 1.
        lint = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert lint.returncode in (0, 3), lint.stderr
        assert "error while" not in lint.stderr, lint.stderr


def check_requests(load):
    assert load.ask("/healthz")[:2] == (200, "ok\n")
    assert load.ask("/readyz")[:2] == (200, "ready\n")
    status, page, answer = load.ask("/")
    assert status == 200 and "<title>headgate</title>" in page and "default-src 'none'" in answer.getheader("Content-Security-Policy")
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page, "an external asset"
    assert load.ask("/", "HEAD")[:2] == (200, "")
    assert load.ask("/nothing")[0] == 404
    assert load.ask("/", "DELETE")[0] == 405
    assert load.ask("/admin")[0] == 405
    assert b" 413 " in raw(load.port, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n").split(b"\r\n")[0]
    assert b" 413 " in raw(load.port, b"POST /admin HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n").split(b"\r\n")[0]
    assert b" 400 " in raw(load.port, b"garbage\r\n\r\n").split(b"\r\n")[0]
    assert raw(load.port, b"GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").count(b"200 OK") == 2
    # Idle connections are bounded, and the server goes on.
    idle = [socket.create_connection(("127.0.0.1", load.port)) for _ in range(40)]
    assert load.ask("/healthz")[0] == 200
    for s in idle:
        s.close()


def check_events(load):
    load.tell("break")
    wait_for("the breaker opens", lambda: load.primitive("circuit_breaker")["state"] == "open")
    load.tell("heal")
    wait_for("the breaker closes", lambda: load.primitive("circuit_breaker")["state"] == "closed")
    changes = [e for e in load.status()["events"] if e["event"] == "breaker_state"]
    assert [(e["from"], e["to"]) for e in changes][0] == ("closed", "open")
    assert changes[-1]["to"] == "closed" and changes[0]["zone"] == "shop" and changes[0]["name"] == "database"
    assert abs(changes[0]["time"] - time.time() * 1000) < 60_000
    last = load.status()["last_event"]
    assert load.status(last)["events"] == []
    busiest = load.primitive("rate_limiter")["busiest"]
    assert busiest[0]["key"].startswith("client:")


def check_admin(load):
    assert load.admin("wrong", action="pause", name="database")[0] == 401
    assert load.admin("", action="pause", name="database")[0] == 401
    assert load.admin(action="pause", name="database")[0] == 200
    assert load.primitive("resource_pool")["state"] == "paused"
    assert load.admin(action="resume", name="database")[0] == 200
    assert load.primitive("resource_pool")["state"] == "active"
    assert load.admin(action="force_open", name="database")[0] == 200
    assert load.primitive("circuit_breaker")["state"] == "open"
    assert load.admin(action="automatic", name="database")[0] == 200
    assert load.primitive("circuit_breaker")["state"] == "closed"
    assert load.admin(action="reset_key", name="calls", key="client:1")[0] == 200
    status, text, _ = load.admin(action="explode", name="database")
    assert status == 400 and "must be one of force_open" in json.loads(text)["detail"]
    assert load.admin(action="pause", name="nothing")[0] == 404
    assert load.ask("/admin", "POST", "{", {"Authorization": "Bearer " + TOKEN})[0] == 400
    load.tell("unready")
    wait_for("not ready", lambda: load.ask("/readyz")[:2] == (503, "not ready\n"))


def main():
    load = Load(sys.argv[1], TOKEN)
    wait_for("traffic", lambda: load.primitive("rate_limiter")["metrics"]["granted"] > 10)
    check_requests(load)
    check_metrics(load, sys.argv[2])
    check_events(load)
    check_admin(load)
    load.end()
    closed = Load(sys.argv[1], None)
    assert closed.status()["admin"] is False
    assert closed.admin(action="pause", name="database")[0] == 403
    closed.end()
    print("ok" if os.path.exists(sys.argv[2]) else
          "ok; without promtool, which ./dev test installs, the metrics were only searched for what must be there")


if __name__ == "__main__":
    main()
