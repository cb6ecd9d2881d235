#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Values and limits when the service, its disk or its database fail."""
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time

from harness import Service, ServiceTest, document, main, wait_for

FAULTY = os.environ.get("CONFIG_SERVICE_FAULTY", "")  # the same service, on files that a test can make full


def wait_for_save(s):
    """Waits until the current limits are in their file: only the second save from now on is sure to begin after this call."""
    saved = s.directory / "limits-config_update.state"
    for _ in range(2):
        before = saved.stat().st_mtime_ns if saved.exists() else 0
        wait_for("a save", lambda: saved.exists() and saved.stat().st_mtime_ns > before)


class Restarts(ServiceTest):
    def test_what_was_acknowledged_as_durable_survives_kill_9(self):
        s = self.service(document(limits={"config_update": "100000/1m"}))
        for turn in range(5):
            for i in range(20):
                assert s.put(f"k/{i}?sync=true", [turn, i]).json()["durable"]
            s.put("k/lost", turn)
            s.kill()
            s.start()
            for i in range(20):
                self.assertEqual(s.get(f"/v1/config/k/{i}").json(), [turn, i])
        s.check_well()

    def test_kill_9_under_load(self):
        s = self.service(document(limits={"config_update": "1000000/1m"}, service={"sync_interval": "20ms"}))
        durable, answers, lock = {}, [], threading.Lock()

        def write(who):
            n = 0
            while not stop.is_set():
                n += 1
                try:
                    a = s.put(f"{who}/{n % 7}?sync=true", n, timeout=5)
                    answers.append(a.status)
                    if a.status == 200:
                        with lock:
                            durable[f"{who}/{n % 7}"] = (a.json()["version"], n)
                except Exception:
                    return

        for _ in range(4):
            stop = threading.Event()
            writers = [threading.Thread(target=write, args=(f"w{i}",)) for i in range(4)]
            for w in writers:
                w.start()
            before = len(answers)
            wait_for("writes", lambda: len(answers) >= before + 20)
            s.kill()
            stop.set()
            for w in writers:
                w.join()
            s.start()
            self.assertGreater(len(durable), 0)
            for path, (version, value) in durable.items():
                there = s.get(f"/v1/config/{path}")
                now = int(there.headers["ETag"].strip('"'))
                self.assertGreaterEqual(now, version, path)
                if now == version:
                    self.assertEqual(there.json(), value)
        s.check_well()

    def test_sigterm_finishes_syncs_and_saves(self):
        s = self.service(document(limits={"config_update": "5/1h"}))
        for i in range(3):
            s.put("x", i, user="ann")
        began = time.monotonic()
        s.stop()
        self.assertLess(time.monotonic() - began, 10)
        s.start()
        self.assertEqual((s.get("/v1/config/x").json(), s.get("/v1/config/x").headers["ETag"]), (2, '"3"'))
        # The limits are exact: two of five are left.
        self.assertEqual([s.put("x", i, user="ann").status for i in range(3)], [202, 202, 429])
        self.assertEqual(s.events("ended")[0]["unsaved"], 0)

    def test_sigterm_lets_a_request_finish_and_takes_no_other(self):
        s = self.service(document(service={"parser_command": [sys.executable, "-c", (
            "import json, time\nprint('{\"ready\": true}', flush=True)\nimport sys\nfor line in sys.stdin:\n"
            "    time.sleep(1)\n    print(json.dumps({'id': json.loads(line)['id'], 'tree': {}}), flush=True)")]}))
        wait_for("workers", lambda: s.primitive("resource_pool", "ast_parser")["idle"] == 2)
        answers = []
        slow = threading.Thread(target=lambda: answers.append(s.post("/v1/parse", "x", timeout=20)))
        slow.start()
        wait_for("it runs", lambda: s.primitive("resource_pool", "ast_parser")["leased"] == 1)
        s.process.send_signal(signal.SIGTERM)
        slow.join()
        self.assertEqual(answers[0].status, 200)
        self.assertEqual(answers[0].headers["Connection"], "close")
        self.assertEqual(s.process.wait(15), 0)

    def test_kill_9_regains_at_most_what_was_granted_since_the_last_save(self):
        s = self.service(document(limits={"config_update": "10/1h"}, service={"save_interval": "100ms"}))
        for i in range(4):
            s.put("x", i, user="ann")
        wait_for_save(s)
        for i in range(3):  # a save may catch some of them
            s.put("x", i, user="ann")
        s.kill()
        s.start()
        again = [s.put("x", i, user="ann").status for i in range(10)].count(202)
        self.assertTrue(3 <= again <= 6, again)

    def test_a_broken_file_of_limits_is_put_aside(self):
        s = self.service()
        s.stop()
        (s.directory / "limits-config_update.state").write_bytes(b"not a snapshot")
        s.start()
        self.assertEqual(s.put("x", 1).status, 202)
        self.assertTrue((s.directory / "limits-config_update.state.bad").exists())
        self.assertEqual(len(s.events("limits_not_loaded")), 1)


class Disk(ServiceTest):
    def faulty(self, **service):
        if not FAULTY:
            self.skipTest("CONFIG_SERVICE_FAULTY does not name the service with files that can be full")
        self.switch = tempfile.NamedTemporaryFile("w+", suffix=".full")
        self.addCleanup(self.switch.close)
        return self.service(document(limits={"config_update": "100000/1m"}, service=service), program=FAULTY,
                            env={"HEADGATE_FAULTY_VFS": self.switch.name})

    def full(self, *endings):
        with open(self.switch.name, "w") as f:
            f.write("\n".join(endings))

    def test_a_full_disk(self):
        for ending in (".db", "-wal"):
            s = self.faulty()
            self.assertEqual(s.put("before?sync=true", 1).status, 200)
            self.full(ending)
            refused = None
            for i in range(60):  # the database file is written at a checkpoint only
                a = s.put(f"during/{i}?sync=true", json.dumps("x" * 30_000))
                if a.status != 200:
                    refused = a
                    break
            if ending == "-wal":
                self.assertIsNotNone(refused)
            if refused:
                self.assertEqual((refused.status, refused.json()["stored"], refused.json()["durable"]), (503, True, False))
            self.assertEqual(s.get("/v1/config/before").json(), 1)
            self.assertEqual(s.get("/healthz").status, 200)
            self.full()
            wait_for("it syncs again", lambda: s.post("/v1/sync").status == 200)
            self.assertEqual(s.put("after?sync=true", 2).status, 200)
            s.check_well()
            s.kill()
            s.start()
            self.assertEqual([s.get(f"/v1/config/{k}").status for k in ("before", "after", "during/0")], [200] * 3)

    def test_the_bound_on_pages(self):
        s = self.service(document(limits={"config_update": "100000/1m"}, service={"max_database_pages": 40}))
        self.assertEqual(s.put("before?sync=true", 1).status, 200)
        answers = [s.put(f"big/{i}?sync=true", json.dumps("x" * 40_000)) for i in range(8)]
        self.assertEqual(answers[-1].status, 503)
        self.assertIn(answers[-1].code, ("database_error", "circuit_open"))
        self.assertEqual(s.get("/v1/config/before").json(), 1)
        self.assertEqual(s.get("/v1/config/big/0").status, 200)
        s.check_well()
        wait_for("the log says why", lambda: any("full" in e["why"] for e in s.events("sync_failed")))

    def test_a_locked_database(self):
        s = self.service(document(breaker={"consecutive_failures": 100}))
        s.put("x?sync=true", 1)
        other = sqlite3.connect(s.directory / "config.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        refused = s.put("x?sync=true", 2)
        self.assertEqual((refused.status, refused.json()["version"], refused.json()["durable"]), (503, 2, False))
        self.assertEqual(s.get("/v1/config/x").json(), 2)
        self.assertEqual(s.get("/v1/config/other").status, 404)  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        wait_for("it syncs again", lambda: s.post("/v1/sync").status == 200)
        s.check_well()

    def test_a_database_that_cannot_be_opened(self):
        s = self.service()
        s.stop()
        for end in ("", "-wal", "-shm"):
            (s.directory / ("config.db" + end)).unlink(missing_ok=True)
        (s.directory / "config.db").mkdir()
        s.start()
        self.assertEqual(s.get("/healthz").status, 200)
        failed = s.get("/v1/config/x")
        self.assertEqual(failed.status, 503)
        self.assertIn("Retry-After", failed.headers)
        (s.directory / "config.db").rmdir()
        wait_for("it opens it", lambda: s.get("/v1/config/x").status == 404)
        self.assertEqual(wait_for("it writes", lambda: (lambda a: a.status == 200 and a)(s.put("x?sync=true", 1))).json()["version"], 1)
        s.check_well()


class Schedules(ServiceTest):
    """Random requests, faults and restarts, from a seed that is printed."""

    def test_no_durable_write_is_lost_and_no_quota_exceeded(self):
        seed = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
        print("SEED =", seed, file=sys.stderr)
        r = random.Random(seed)
        quota = 8  # permits in 24 hours: none comes back during the test
        s = self.service(document(limits={"config_update": f"{quota}/24h"}, service={"save_interval": "50ms", "sync_interval": "30ms"}))
        granted = {}            # by user: all grants of the test
        durable, latest = {}, {}
        slack = {}              # by user: grants since a save, which a kill may undo
        users = [f"u{i}" for i in range(40)]
        restarts = 0
        for step in range(400):
            what = r.random()
            if what < 0.75:
                user, path = r.choice(users), f"p/{r.randrange(12)}"
                value = [seed, step]
                sync = r.random() < 0.5
                a = s.put(path + ("?sync=true" if sync else ""), value, user=user)
                self.assertIn(a.status, (200, 202, 429), a.body)
                if a.status != 429:
                    granted[user] = granted.get(user, 0) + 1
                    self.assertLessEqual(granted[user], quota + slack.get(user, 0), user)
                    version = a.json()["version"]
                    latest[path] = (version, value)
                    if a.status == 200:
                        durable[path] = (version, value)
            elif what < 0.9:
                path = f"p/{r.randrange(12)}"
                a = s.get("/v1/config/" + path)
                self.assertEqual(a.status, 200 if path in latest else 404)
                if path in latest:
                    self.assertEqual(a.json(), latest[path][1])
            elif what < 0.95:
                self.assertEqual(s.post("/v1/sync").status, 200)
                durable.update(latest)
            elif what < 0.98:
                s.stop()
                s.start()
                durable.update(latest)
                restarts += 1
            else:
                # Let a save end, so that the bound is known: only the grants below come after it.
                wait_for_save(s)
                for _ in range(r.randrange(3)):
                    user = r.choice(users)
                    if s.put("p/extra", step, user=user).status != 429:
                        granted[user] = granted.get(user, 0) + 1
                        slack[user] = slack.get(user, 0) + 1
                s.kill()
                s.start()
                restarts += 1
                for path, (version, value) in list(latest.items()):
                    a = s.get("/v1/config/" + path)
                    kept = durable.get(path)
                    if a.status == 404:
                        self.assertIsNone(kept, path)
                        del latest[path]
                        continue
                    found = int(a.headers["ETag"].strip('"'))
                    if kept:
                        self.assertGreaterEqual(found, kept[0])
                    latest[path] = durable[path] = (found, a.json())
                    if kept and found == kept[0]:
                        self.assertEqual(a.json(), kept[1])
        for path, (version, value) in durable.items():
            a = s.get("/v1/config/" + path)
            self.assertGreaterEqual(int(a.headers["ETag"].strip('"')), version)
        print(f"{restarts} restarts, {sum(granted.values())} updates", file=sys.stderr)
        s.check_well()


if __name__ == "__main__":
    main()
