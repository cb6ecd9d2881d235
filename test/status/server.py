#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""The status server as machines see it: server.py LOAD PROMTOOL"""
import http.client
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from loopback import raw, wait_for  # noqa: E402

TOKEN = "the-secret"


class Load:
    """A service under load, with its status server."""

    def __init__(self, program, *arguments, descriptors=None):
        def few():
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        self.process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=few)
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
    told = {kind: {line.split()[2] for line in text.splitlines() if line.startswith(f"# {kind} ") and len(line.split(" ", 3)) == 4}
            for kind in ("TYPE", "HELP")}
    assert told["TYPE"] == told["HELP"], told["TYPE"] ^ told["HELP"]
    check_by_promtool(text, promtool)
    check_dashboard(told["TYPE"], promtool)


def check_dashboard(metrics, promtool):
    """Every query of docs/grafana.json parses, and names metrics that are there."""
    dashboard = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs" / "grafana.json").read_text())
    queries = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", [])]
    assert len(queries) > 15
    for query in queries:
        for name in re.findall(r"headgate_\w+", query):
            assert re.sub("_bucket$", "", name) in metrics, (name, query)
    if os.path.exists(promtool):
        plain = [q.replace("$__rate_interval", "1m").replace("$zone", ".*") for q in queries]
        rules = {"groups": [{"name": "dashboard", "rules": [{"record": f"query:{i}", "expr": q} for i, q in enumerate(plain)]}]}
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump(rules, file)  # JSON is valid YAML
            file.flush()
            checked = subprocess.run([promtool, "check", "rules", file.name], capture_output=True)
        assert checked.returncode == 0, checked


def check_by_promtool(text, promtool):
    if os.path.exists(promtool):
        # It exits with 3 for advice on names and help texts, and with 1 for a text that it cannot parse.
        lint = subprocess.run([promtool, "check", "metrics"], input=text.encode(), capture_output=True)
        assert lint.returncode in (0, 3), lint.stderr
        assert b"error while" not in lint.stderr, lint.stderr


def check_requests(load):
    assert load.ask("/healthz")[:2] == (200, "ok\n")
    assert load.ask("/readyz")[:2] == (200, "ready\n")
    status, page, answer = load.ask("/")
    assert status == 200 and "<title>headgate</title>" in page and "default-src 'none'" in answer.getheader("Content-Security-Policy")
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page, "an external asset"
    assert load.ask("/", "HEAD")[:2] == (200, "")
    assert load.ask("/nothing")[0] == 404
    for method, path, allowed in (("DELETE", "/", "GET, HEAD"), ("get", "/", "GET, HEAD"), ("GET", "/admin", "POST")):
        status, _, answer = load.ask(path, method)
        assert (status, answer.getheader("Allow")) == (405, allowed), (method, path)
    assert b" 413 " in raw(load.port, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n").split(b"\r\n")[0]
    assert b" 413 " in raw(load.port, b"POST /admin HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n").split(b"\r\n")[0]
    assert b" 400 " in raw(load.port, b"garbage\r\n\r\n").split(b"\r\n")[0]
    assert raw(load.port, b"GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").count(b"200 OK") == 2
    # Idle connections are bounded, and the server goes on.
    idle = [socket.create_connection(("127.0.0.1", load.port)) for _ in range(40)]
    assert load.ask("/healthz")[0] == 200
    for s in idle:
        s.close()


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
# What a client may send before it is silent for ever.
SILENT = {"nothing": b"", "a line feed": b"\r\n", "half a method": b"GE", "half a line": b"GET /healthz HTTP", "half a header": GET[:-4],
          "no body": b"POST /admin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
          "half a body": b"POST /admin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
          "half a chunk": b"POST /admin HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{",
          "one request": GET,
          "one request too large": b"GET /" + b"x" * 20_000,
          "a page it does not read": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200}


def check_silent_clients(load):
    for what, sent in SILENT.items():
        crowd = []
        for _ in range(150):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(30)
            s.connect(("127.0.0.1", load.port))
            try:
                s.sendall(sent)
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                pass  # the server closed it for a newer connection
            crowd.append(s)
        began = time.monotonic()
        for path in ("/healthz", "/metrics", "/"):
            assert load.ask(path)[0] == 200, what
        assert time.monotonic() - began < 3, (what, time.monotonic() - began)
        for s in crowd:
            s.close()
    # The server closes a trickling client's connection at the deadline, however often the client sends.
    with socket.create_connection(("127.0.0.1", load.port), 30) as s:
        s.settimeout(0.2)
        began = time.monotonic()
        for byte in GET[:-2] * 1000:
            try:
                s.sendall(bytes([byte]))
                if s.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - began < 20


def check_out_of_descriptors(load):
    crowd = [socket.create_connection(("127.0.0.1", load.port), 30) for _ in range(120)]
    for _ in range(3):
        assert load.ask("/healthz")[0] == 200
    for s in crowd:
        s.close()


def get(host_lines, target=b"/status.json", version=b"1.1"):
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + host_lines + b"Connection: close\r\n\r\n"


def status_of(load, request):
    return int(raw(load.port, request).split(b" ")[1])


def check_hosts(load):
    port = str(load.port).encode()
    for host in (b"localhost", b"LOCALHOST", b"LocalHost:" + port, b"localhost.", b"localhost.:80", b"127.0.0.1", b"127.0.0.1:" + port,
                 b"127.0.0.1:1", b"127.8.9.10", b"[::1]", b"[::1]:" + port, b"[0:0:0:0:0:0:0:1]", b"[::FFFF:127.0.0.1]:80", b"localhost:",
                 b"status.example.com", b"Status.Example.COM.:9090", b"  localhost  "):
        assert status_of(load, get(b"Host: " + host + b"\r\n")) == 200, host
        assert status_of(load, get(b"hOST:" + host + b"\r\n")) == 200, host
    for host in (b"evil.example", b"evil.example:" + port, b"localhost.evil.example", b"127.0.0.1.evil.example", b"evillocalhost",
                 b"example.com", b"x.status.example.com", b"192.0.2.1", b"0.0.0.0", b"[::]", b"[2001:db8::1]:80", b"2130706433", b"127.1"):
        for path in (b"/status.json", b"/metrics", b"/", b"/healthz", b"/readyz", b"/admin", b"/nothing"):
            assert status_of(load, get(b"Host: " + host + b"\r\n", path)) == 403, (host, path)
    for host in (b"", b"::1", b"[::1", b"::1]", b"[::1]x", b"[localhost]", b"[::1%lo]", b"user@localhost", b"localhost:99999", b"localhost:x",
                 b"localhost:-1", b"localhost:80:80", b"localhost localhost", b"localhost,evil.example", b"local\xffhost", b"http://localhost",
                 b"localhost/", b":80"):
        assert status_of(load, get(b"Host: " + host + b"\r\n")) == 400, host
    assert status_of(load, get(b"")) == 400  # HTTP/1.1 needs a Host
    assert status_of(load, get(b"", b"/readyz")) == 200  # but a probe reveals nothing
    assert status_of(load, get(b"", version=b"1.0")) == 200
    for twice in (b"Host: localhost\r\nHost: localhost\r\n", b"Host: localhost\r\nHost: evil.example\r\n",
                  b"Host: evil.example\r\nhost: localhost\r\n"):
        for path in (b"/status.json", b"/healthz"):
            assert status_of(load, get(twice, path)) == 400, twice
    # When the target is a whole URL, its host counts and not the Host header (RFC 9112, 3.2.2).
    for target in (b"http://localhost/status.json", b"HTTP://LOCALHOST:" + port + b"/status.json?since=1", b"https://[::1]/metrics",
                   b"http://127.0.0.1", b"http://localhost?x", b"http://status.example.com/healthz"):
        assert status_of(load, get(b"Host: evil.example\r\n", target)) == 200, target
    assert status_of(load, get(b"Host: localhost\r\n", b"http://evil.example/status.json")) == 403
    assert status_of(load, get(b"Host: localhost\r\n", b"http://localhost@evil.example/")) == 400
    assert status_of(load, get(b"Host: localhost\r\n", b"http://localhost/nothing")) == 404
    assert status_of(load, get(b"Host: localhost\r\n", b"http:///status.json")) == 400
    assert status_of(load, get(b"Host: localhost\r\n", b"ftp://localhost/status.json")) == 404


def check_lengths(load):
    head = b"POST /admin HTTP/1.1\r\nHost: localhost\r\n"
    smuggled = GET.replace(b"healthz", b"readyz")
    for fields in (b"Content-Length: 3\r\nContent-Length: 3\r\n", b"Content-Length: 3\r\nContent-Length: 4\r\n", b"Content-Length: 3, 3\r\n",
                   b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                   b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding: \r\n",
                   b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: chunked, identity\r\n", b"Transfer-Encoding: xchunked\r\n",
                   b"Content-Length: -1\r\n", b"Content-Length: +3\r\n", b"Content-Length: 0x3\r\n", b"Content-Length: \r\n",
                   b"Content-Length: 99999999999999999999\r\n",
                   b"Authorization: Bearer x\r\nAuthorization: Bearer the-secret\r\n"):
        answer = raw(load.port, head + fields + b"\r\n0\r\n\r\n" + smuggled)
        assert answer.split(b" ")[1] == b"400" and answer.count(b"HTTP/1.1 ") == 1, (fields, answer)
    assert b" 400 " in raw(load.port, head.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").split(b"\r\n")[0]
    whole = head + b"Transfer-Encoding: Chunked\r\nAuthorization: Bearer the-secret\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert b"must be one of" in raw(load.port, whole)


def check_twins(load, promtool):
    names = [z["name"] for z in load.status()["zones"]]
    assert sorted(names) == ["shop", "shop#2"], names
    _, text, _ = load.ask("/metrics")
    series = [line.rsplit(" ", 1)[0] for line in text.split("\n") if line and not line.startswith("#")]
    twice = {s for s in series if series.count(s) > 1}
    assert not twice, twice
    check_by_promtool(text, promtool)
    twin = next(z for z in load.status()["zones"] if len(z["primitives"]) == 6)
    for zone in names:  # the named zone acts, and the others do not
        load.admin(zone=zone, action="force_open", name="database")
        state = {z["name"]: next(p["state"] for p in z["primitives"] if (p["kind"], p["name"]) == ("circuit_breaker", "database"))
                 for z in load.status()["zones"]}
        assert state[zone] == "open" and list(state.values()).count("open") == 1, (zone, state)
        load.admin(zone=zone, action="automatic", name="database")
    for p in twin["primitives"]:  # by the shown name, whatever bytes the real name has
        assert load.admin(zone=twin["name"], action="force_open", name=p["name"])[0] == 200, p["name"]
    assert all(p["state"] == "open" for z in load.status()["zones"] if z["name"] == twin["name"] for p in z["primitives"])


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
    assert load.admin(action="forget_key", name="calls", key="client:1")[0] == 200
    for scheme in ("bearer ", "BEARER ", "bEARER  ", "Bearer\t"):
        assert load.ask("/admin", "POST", '{"action": "x"}', {"Authorization": scheme + TOKEN})[0] == 400, scheme
    for wrong in (TOKEN, "Bearer" + TOKEN, "Bearer-" + TOKEN, "Basic " + TOKEN, "Bearer " + TOKEN.upper(), "Bearer", "Bearer " + TOKEN + "x",
                  "Bearer x " + TOKEN, "Bearer " + TOKEN + " x"):
        assert load.ask("/admin", "POST", '{"action": "x"}', {"Authorization": wrong})[0] == 401, wrong
    # When an action of the service throws, the answer and the event log say so.
    status, text, _ = load.admin(action="run", name="Explode")
    assert status == 500 and "a spark" in json.loads(text)["detail"], (status, text)
    failed = [e for e in load.status()["events"] if e["event"] == "action_failed"]
    assert [(e["name"], e["detail"]) for e in failed] == [("Explode", "a spark")], failed
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
    check_silent_clients(load)
    check_hosts(load)
    check_lengths(load)
    check_metrics(load, sys.argv[2])
    check_events(load)
    check_admin(load)
    load.end()
    twins = Load(sys.argv[1], TOKEN, "twin")
    check_twins(twins, sys.argv[2])
    twins.end()
    poor = Load(sys.argv[1], descriptors=24)
    check_out_of_descriptors(poor)
    poor.end()
    closed = Load(sys.argv[1])
    assert closed.status()["admin"] is False
    assert closed.admin(action="pause", name="database")[0] == 403
    closed.end()
    print("ok" if os.path.exists(sys.argv[2]) else
          "ok; without promtool, which ./dev test installs, the metrics were only searched for what must be there")


if __name__ == "__main__":
    main()
