# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""A configuration service of its own for each test: a private directory, a free port, stopped by its own pid."""
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import loopback  # noqa: E402
from loopback import wait_for  # noqa: E402

SOURCE = HERE.parent.parent / "examples" / "config_service"
PROGRAM = os.environ.get("CONFIG_SERVICE", "")
TOKENS = {"ann": "token-of-ann", "root": "token-of-root", "tess": "token-of-tess"}

LIMITS = {"config_update": "10/1m", "ast_parse": "100/1m", "failed_login": "10/1m"}


def document(service=None, limits=None, breaker=None, pool=None, parser=None, tiers=()):
    """A configuration with short times. The arguments override values for a test."""
    quotas = {**LIMITS, **(limits or {})}
    breaker_options = {"consecutive_failures": 3, "reset_timeout": "300ms", "max_reset_timeout": "600ms", **(breaker or {})}

    def limiter(name):
        return {"tiers": [{"name": "default", "quota": quotas[name]}] + [{"name": n, "quota": q} for n, q in tiers]}

    return {
        "service": {"listen": "127.0.0.1:0", "database": "config.db",
                    "parser_command": [sys.executable, str(SOURCE / "parse_worker.py")],
                    "look_up_timeout": "1s", "sync_timeout": "2s", "sync_interval": "20s", **(service or {})},
        "zones": {
            "config": {
                "rate_limiters": {"config_update": limiter("config_update"), "failed_login": {"quota": quotas["failed_login"]}},
                "circuit_breakers": {"config_server": breaker_options, "database": breaker_options},
                "resource_pools": {"database": {"size": 3, "max_overflow": 1, "max_wait": "500ms",
                                                "connect_timeout": "1s", "backoff_max": "300ms", **(pool or {})}},
                "retries": {"look_up": {"max_attempts": 2, "backoff_min": "20ms", "backoff_max": "100ms"}},
                "hedges": {"look_up": {"retry": "look_up"}},
                "coalescers": {"reads": {}},
                "bulkheads": {"sync": {"max_concurrent": 1, "max_waiters": 1000}}},
            "parser": {
                "rate_limiters": {"ast_parse": limiter("ast_parse")},
                "resource_pools": {"ast_parser": {"size": 2, "max_wait": "10s", "connect_timeout": "10s",
                                                  "backoff_max": "300ms", **(parser or {})}}}}}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json().get("code")


class Service:
    def __init__(self, config=None, program=None, directory=None, env=None, arguments=(), users=None, limits=None):
        self.program = program or PROGRAM
        self.own_directory = directory is None
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="headgate-test-"))
        self.env, self.arguments, self.process_limits = env, list(arguments), limits
        self.config_file = self.directory / "config.json"
        self.write_config(config or document())
        if users:
            self.write_users(users)
            self.arguments += ["--users", str(self.directory / "users.json")]
        self.process = None
        self.log = self.directory / "log"
        self.start()

    def write_config(self, config):
        self.config_file.write_text(config if isinstance(config, str) else json.dumps(config))

    def write_users(self, users):
        (self.directory / "users.json").write_text(json.dumps({"users": [
            {"name": name, "sha256": hashlib.sha256(TOKENS[name].encode()).hexdigest(), **more} for name, more in users.items()]}))

    def start(self):
        with open(self.log, "ab") as log:
            before = log.tell()
            self.process = subprocess.Popen(
                [self.program, "--config", str(self.config_file), "--data", str(self.directory)] + self.arguments,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(self.env or {})},
                preexec_fn=self.process_limits)

        def listening():
            assert self.process.poll() is None, "it ended: " + self.log.read_text()[before:]
            for line in self.log.read_text()[before:].splitlines():
                if '"event":"listening"' in line:
                    return json.loads(line)["url"]
            return None

        url = wait_for("the service listens", listening)
        self.port = int(url.rsplit(":", 1)[1].rstrip("/"))

    def events(self, name):
        return [json.loads(line) for line in self.log.read_text().splitlines() if f'"event":"{name}"' in line]

    def stop(self, expected=0, seconds=15):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        assert code == expected, f"it ended with {code}: " + self.log.read_text()[-2000:]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """Cleans up at the end of a test, passed or failed."""
        if self.process.poll() is None:
            self.kill()
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, method, path, body=None, user=None, token=None, headers=None, timeout=10):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            all_headers = dict(headers or {})
            if user:
                all_headers["X-User"] = user
            if token:
                all_headers["Authorization"] = "Bearer " + token
            c.request(method, path, body.encode() if isinstance(body, str) else body, all_headers)
            r = c.getresponse()
            return Answer(r.status, r.headers, r.read().decode())
        finally:
            c.close()

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def put(self, path, value, **more):
        return self.ask("PUT", "/v1/config/" + path, value if isinstance(value, str) else json.dumps(value), **more)

    def post(self, path, body="", **more):
        return self.ask("POST", path, body, **more)

    def raw(self, data, **more):
        return loopback.raw(self.port, data, **more)

    def primitive(self, kind, name, **more):
        status = self.get("/status.json", **more).json()
        found = next(p for z in status["zones"] for p in z["primitives"] if p["kind"] == kind and p["name"] == name)
        return {**found, **found["metrics"]}

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_kib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
        return 0

    def children(self):
        return [int(p) for p in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def workers(self):
        """The process ids of both parsers, once both run."""
        def both():
            found = self.children()
            return found if len(found) == 2 else None
        return wait_for("two workers", both)

    def kill_a_worker(self):
        """Kills a running parser. Skips a parser that ends before the signal reaches it."""
        def killed():
            for pid in self.children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return True
            return False
        wait_for("a worker to kill", killed)

    def settle(self):
        """Waits until all connections and workers exist. From then on the number of descriptors shows a leak."""
        for name in ("database", "ast_parser"):
            def whole():
                pool = self.primitive("resource_pool", name)
                return pool["idle"] == pool["size"] and pool["connecting"] == 0
            wait_for(name + " is whole", whole, 60)
        self.get("/v1/config/nothing")
        return self.descriptors()

    def check_well(self):
        """Checks that the service is healthy, and that all connections and workers are back in their pools."""
        assert self.get("/healthz").status == 200
        assert self.get("/readyz").status == 200
        wait_for("all connections are back", lambda: self.primitive("resource_pool", "database")["leased"] == 0)
        wait_for("all workers are back", lambda: self.primitive("resource_pool", "ast_parser")["leased"] == 0)


class ServiceTest(unittest.TestCase):
    """`self.service(...)` starts a service, which ends with the test."""

    def service(self, *args, **kwargs):
        s = Service(*args, **kwargs)
        self.addCleanup(s.close)
        return s


def main():
    if not PROGRAM:
        sys.exit("CONFIG_SERVICE must name the program")
    unittest.main(verbosity=2)
