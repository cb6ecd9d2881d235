#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""The configuration service on a real PostgreSQL that is killed, frozen and restarted."""
import os
import pathlib
import sys
import threading
import time
import unittest

from harness import ServiceTest, document, main, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import private_postgres  # noqa: E402

try:
    private_postgres.newest_binaries()
except private_postgres.NotInstalled as e:
    print("skipped:", e)
    sys.exit(private_postgres.SKIPPED)


class Postgres(ServiceTest):
    @classmethod
    def setUpClass(cls):
        cls.server = private_postgres.PrivatePostgres()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def on_postgres(self, **more):
        s = self.service(document(limits={"config_update": "1000000/1m"}, **more), arguments=["--database", self.server.url])
        self.prefix = f"t{s.port}-{time.time_ns()}"  # the tests share the server
        return s

    def test_values_versions_history_and_lists(self):
        s = self.on_postgres()
        p = self.prefix
        self.assertEqual(s.put(f"{p}/a?sync=true", {"x": [1, "é", None]}, user="ann").json(), {"path": f"{p}/a", "version": 1, "durable": True})
        s.put(f"{p}/B", 2)
        s.put(f"{p}/a", 3)
        self.assertEqual(s.post("/v1/sync").json(), {"written": 2, "unsaved": 0})
        s.ask("DELETE", f"/v1/config/{p}/B")
        self.assertEqual([e["path"] for e in s.get(f"/v1/config?prefix={p}/").json()["entries"]], [f"{p}/a"])
        s.stop()
        s.start()
        self.assertEqual(s.get(f"/v1/config/{p}/a").json(), 3)
        self.assertEqual(s.get(f"/v1/config/{p}/B").status, 404)
        self.assertEqual([(v["version"], v["author"]) for v in s.get(f"/v1/config/{p}/a/history").json()["versions"]],
                         [(2, "anonymous"), (1, "ann")])
        # PostgreSQL sorts paths byte by byte, as SQLite does.
        for name in ("b", "A", "_", "Z", "a.b", "a-b"):
            s.put(f"{p}/order/{name}", 1)
        s.post("/v1/sync")
        listed = [e["path"].rsplit("/", 1)[1] for e in s.get(f"/v1/config?prefix={p}/order/").json()["entries"]]
        self.assertEqual(listed, sorted(["b", "A", "_", "Z", "a.b", "a-b"]))
        s.check_well()

    def load(self, s, stop, answers):
        n = 0
        while not stop.is_set():
            n += 1
            path = f"{self.prefix}/load/{threading.get_ident()}/{n}"
            a = s.put(path + "?sync=true", n, timeout=30)
            answers.append((a.status, path, n))
            answers.append((s.get(f"/v1/config/{self.prefix}/nothing/{n}", timeout=30).status, None, None))

    def under_load(self, disturb, times=2):
        s = self.on_postgres()
        s.check_well()
        stop, answers = threading.Event(), []
        self.answers = answers
        threads = [threading.Thread(target=self.load, args=(s, stop, answers)) for _ in range(3)]
        for t in threads:
            t.start()
        try:
            for _ in range(times):
                wait_for("success", lambda: [a for a in answers[-20:] if a[0] == 200], 60)
                disturb()
            wait_for("success again", lambda: [a for a in answers[-5:] if a[0] == 200], 60)
        finally:
            stop.set()
            for t in threads:
                t.join()
        self.assertEqual({a[0] for a in answers} - {200, 404, 503, 504}, set())
        wait_for("it syncs again", lambda: s.post("/v1/sync").status == 200, 30)
        s.check_well()
        s.kill()
        s.start()
        for status, path, n in answers:
            if status == 200 and path:
                self.assertEqual(s.get(f"/v1/config/{path}").json(), n)

    def test_killed_and_started_again_under_load(self):
        def disturb():
            self.server.kill()
            wait_for("refusals", lambda: 503 in [a[0] for a in self.answers[-5:]], 60)
            self.server.start()
        self.under_load(disturb)

    def test_restarted_under_load(self):
        self.under_load(self.server.restart)

    def test_frozen_under_load(self):
        # The kernel accepts connections for a frozen server, so only deadlines help.
        def disturb():
            self.server.freeze()
            try:
                # One second until the deadline, three until the service gives up the connection.
                wait_for("a deadline", lambda: {503, 504} & {a[0] for a in self.answers}, 60)
            finally:
                self.server.thaw()
        self.under_load(disturb, 1)

    def test_down_at_the_start_and_refusals_are_fast(self):
        self.server.kill()
        try:
            s = self.on_postgres()
            self.assertEqual(s.get("/healthz").status, 200)
            wait_for("the breaker opens", lambda: s.get("/v1/config/x").code in ("connect_failed", "circuit_open"))
            began = time.monotonic()
            for _ in range(20):
                a = s.get("/v1/config/x")
                self.assertEqual(a.status, 503)
                self.assertGreaterEqual(int(a.headers["Retry-After"]), 1)
            self.assertLess(time.monotonic() - began, 5)
        finally:
            self.server.start()
        wait_for("it recovers", lambda: s.get("/v1/config/x").status == 404)
        s.check_well()


if __name__ == "__main__":
    main()
