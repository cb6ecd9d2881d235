# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Sessions: transactions, the extended protocol, COPY, cancellation, and state that must not leak."""
import os
import shutil
import signal
import struct
import subprocess
import threading
import unittest

import harness
from harness import wait_for
from protocol import (BIND, COPY_DONE, EXECUTE, FLUSH, GSS_REQUEST, SSL_REQUEST, SYNC, TERMINATE, Client, Refused, copy_data,
                      error_fields, extended, kinds, message, parse, query, rows, start_packet)

DATABASES = {"app": {}, "one": {}, "sess": {"pool_mode": "session"}, "clean": {"reset": "always"},
             "lax": {"search_path": "ignore", "options": "ignore", "unknown_parameters": "ignore"}}


class Sessions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = harness.Postgres()
        cls.addClassCleanup(cls.postgres.stop)
        document = harness.document(cls.postgres.port, databases=DATABASES, limits={"slow": "3/1h", "none": "1/1h"})
        pools = document["zones"]["proxy"]["resource_pools"]
        pools["one"] = {**pools["app"], "max_overflow": 1}
        cls.proxy = harness.Proxy(document, {"root": {"console": "act", "tier": "slow"}, "bob": {"tier": "slow"}})
        cls.addClassCleanup(cls.proxy.stop)

    def client(self, database="app", **more):
        return Client(self.proxy.port, database=database, **more)

    def no_lease_is_left(self):
        def nothing():
            return all(int(p["leased"]) == 0 and int(p["waiting"]) == 0 for p in self.proxy.show("POOLS"))
        wait_for("no lease and no waiter", nothing)

    # Which server ---------------------------------------------------------------------------------------------------

    def test_a_server_is_lent_for_a_transaction_and_kept_inside_of_it(self):
        with self.client("one") as a, self.client("one") as b:
            self.assertEqual(a.kinds(query("BEGIN")), "CZ")
            b.send(query("SELECT 'b'"))
            self.assertEqual(rows(a.ask(query("SELECT 'a'"))), ["a"])
            wait_for("b waits", lambda: [p for p in self.proxy.show("POOLS")
                                         if p["database"] == "one" and p["waiting"] == "1"])
            self.assertEqual(a.kinds(query("COMMIT")), "CZ")
            self.assertEqual(rows(b.until_ready()), ["b"])

    def test_a_failed_transaction_keeps_its_server_until_it_ends(self):
        with self.client("one") as a:
            self.assertEqual(a.kinds(query("BEGIN")), "CZ")
            self.assertEqual(a.kinds(query("SELECT 1/0")), "E(22012)Z")
            self.assertEqual(a.kinds(query("SELECT 1")), "E(25P02)Z")
            self.assertEqual([p["leased"] for p in self.proxy.show("POOLS") if p["database"] == "one"], ["1"])
            self.assertEqual(a.kinds(query("ROLLBACK")), "CZ")
        self.no_lease_is_left()

    def test_session_mode_keeps_its_server(self):
        with self.client("sess") as a:
            first = rows(a.ask(query("SELECT pg_backend_pid()")))
            self.assertEqual(a.kinds(query("CREATE TEMP TABLE t (x int)")), "CZ")
            self.assertEqual(rows(a.ask(query("SELECT pg_backend_pid()"))), first)
            self.assertEqual(a.kinds(parse("SELECT 7", "s") + SYNC), "1Z")
            self.assertEqual(kinds(a.ask(message("B", b"\0s\0" + b"\0\0\0\0\0\0") + EXECUTE + SYNC)), "2DCZ")
        self.no_lease_is_left()
        with self.client("sess") as b:
            self.assertEqual(b.kinds(query("SELECT * FROM t")), "E(42P01)Z")
            self.assertEqual(b.kinds(parse("SELECT 7", "s") + SYNC), "1Z")

    def test_listen_and_notify_in_session_mode(self):
        with self.client("sess") as a, self.client("sess") as b:
            self.assertEqual(a.kinds(query("LISTEN news")), "CZ")
            self.assertEqual(b.kinds(query("NOTIFY news, 'hello'")), "CZ")
            kind, payload = a.next()
            self.assertEqual(kind, "A")
            self.assertIn(b"news\0hello\0", payload)

    # Extended protocol ----------------------------------------------------------------------------------------------

    def test_extended_protocol_and_pipelines(self):
        with self.client() as c:
            self.assertEqual(c.kinds(extended("SELECT 1") + SYNC), "12TDCZ")
            c.send((extended("SELECT 2") + SYNC) * 3)
            self.assertEqual([kinds(c.until_ready()) for _ in range(3)], ["12TDCZ"] * 3)
            c.send(query("SELECT 3") * 50)
            self.assertEqual([rows(c.until_ready()) for _ in range(50)], [["3"]] * 50)
            self.assertEqual(c.kinds(SYNC), "Z")
            self.assertEqual(c.kinds(parse("SELECT 4") + message("D", b"S\0") + SYNC), "1tTZ")
        self.no_lease_is_left()

    def test_an_error_skips_to_a_sync_that_comes_later(self):
        with self.client("one") as c:
            c.send(extended("SELECT 1 / (random() * 0)::int"))
            c.send(FLUSH)
            self.assertEqual([c.next()[0] for _ in range(3)], ["1", "2", "T"])
            self.assertEqual(c.next()[0], "E")
            c.send(extended("SELECT 1"))
            self.assertEqual(c.kinds(SYNC), "Z")
            self.assertEqual(rows(c.ask(query("SELECT 5"))), ["5"])
        self.no_lease_is_left()

    def test_flush_in_the_middle(self):
        with self.client() as c:
            c.send(parse("SELECT 6") + FLUSH)
            self.assertEqual(c.next()[0], "1")
            self.assertEqual(c.kinds(BIND + EXECUTE + SYNC), "2DCZ")

    def test_a_flush_behind_a_sync_keeps_no_server(self):
        with self.client() as c:
            self.assertEqual(c.kinds(extended("SELECT 1") + SYNC + FLUSH), "12TDCZ")
            self.no_lease_is_left()

    def test_named_statements_get_a_clear_error_in_transaction_mode(self):
        with self.client() as c:
            answer = c.ask(parse("SELECT 1", "name") + SYNC)
            self.assertEqual(kinds(answer), "E(22P02)Z")
            self.assertIn("need pool_mode session", error_fields(answer[0][1])["M"])
            # A large one in the middle of a segment, behind messages that are answered.
            answer = c.kinds(extended("SELECT 1") + parse("SELECT '" + "x" * 300_000 + "'", "n") + SYNC)
            self.assertEqual(answer, "12TDCE(22P02)Z")
            self.assertEqual(c.kinds(query("BEGIN")), "CZ")
            self.assertEqual(c.ask(parse("SELECT 1", "name") + SYNC)[-1], ("Z", b"E"))
            self.assertEqual(c.kinds(query("ROLLBACK")), "CZ")

    # Bytes ----------------------------------------------------------------------------------------------------------

    def test_a_session_cut_at_every_byte(self):
        script = (query("SELECT 1") + extended("SELECT 2") + SYNC + query("BEGIN") + query("SELECT 3") + query("COMMIT")
                  + parse("SELECT 4", "n") + SYNC + query("COPY (SELECT 5) TO STDOUT"))
        with self.client() as c:
            c.send(script)
            whole = [kinds(c.until_ready()) for _ in range(7)]
        for cut in range(1, len(script)):
            with self.client() as c:
                c.send(script[:cut])
                c.send(script[cut:])
                self.assertEqual([kinds(c.until_ready()) for _ in range(7)], whole, cut)
        with self.client() as c:
            for i in range(len(script)):
                c.send(script[i:i + 1])
            self.assertEqual([kinds(c.until_ready()) for _ in range(7)], whole)
        self.no_lease_is_left()

    def test_messages_larger_than_any_buffer(self):
        with self.client() as c:
            long = "x" * 3_000_000
            self.assertEqual(rows(c.ask(query(f"SELECT '{long}'"))), [long])
            self.assertEqual(rows(c.ask(extended(f"SELECT '{long}'") + SYNC)), [long])
            self.assertEqual(len(rows(c.ask(query("SELECT repeat('y', 1000) FROM generate_series(1, 20000)")))), 20000)

    def test_a_client_that_does_not_read_holds_up_itself_only(self):
        with self.client("app") as lazy, self.client("app") as other:
            before = self.resident()
            lazy.send(query("SELECT repeat('z', 10000) FROM generate_series(1, 20000)"))  # 200 MB
            wait_for("the answer to get stuck", lambda: [c for c in self.proxy.show("CLIENTS") if c["state"] == "active"])
            for _ in range(20):
                self.assertEqual(rows(other.ask(query("SELECT 1"))), ["1"])
            self.assertLess(self.resident() - before, 8 << 20)
            self.assertEqual(len(rows(lazy.until_ready())), 20000)

    def resident(self):
        with open(f"/proc/{self.proxy.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    # COPY -----------------------------------------------------------------------------------------------------------

    def test_copy_both_ways(self):
        self.postgres.sql("CREATE TABLE IF NOT EXISTS numbers (n int)", "TRUNCATE numbers", database="app")
        data = b"".join(b"%d\n" % i for i in range(100_000))
        with self.client("one") as c:
            c.send(query("COPY numbers FROM STDIN"))
            self.assertEqual(c.next()[0], "G")
            for i in range(0, len(data), 50_000):
                c.send(copy_data(data[i:i + 50_000]))
            self.assertEqual(c.kinds(COPY_DONE), "CZ")
            answer = c.ask(query("COPY numbers TO STDOUT"))
            self.assertEqual(b"".join(p for k, p in answer if k == "d"), data)
        self.no_lease_is_left()

    def test_copy_that_fails(self):
        self.postgres.sql("CREATE TABLE IF NOT EXISTS pairs (a int, b int)", database="app")
        with self.client("one") as c:
            # The server refuses a row while the client still sends. The rest of the data is ignored.
            c.send(query("COPY pairs FROM STDIN"))
            self.assertEqual(c.next()[0], "G")
            c.send(copy_data(b"1\t2\nx\ty\n"))
            self.assertEqual(kinds(c.until_ready()), "E(22P02)Z")
            c.send(copy_data(b"3\t4\n") + COPY_DONE)
            self.assertEqual(rows(c.ask(query("SELECT count(*) FROM pairs"))), ["0"])
            # The client gives up.
            c.send(query("COPY pairs FROM STDIN"))
            self.assertEqual(c.next()[0], "G")
            self.assertEqual(c.kinds(copy_data(b"1\t2\n") + message("f", b"no more\0")), "E(57014)Z")
            # The COPY fails at its end.
            c.send(query("COPY pairs FROM STDIN"))
            self.assertEqual(c.next()[0], "G")
            self.assertEqual(c.kinds(copy_data(b"1\t2\t3\n") + COPY_DONE), "E(22P04)Z")
            # The COPY fails before it begins.
            self.assertEqual(c.kinds(query("COPY nowhere FROM STDIN")), "E(42P01)Z")
            self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])
        self.no_lease_is_left()

    def test_copy_with_the_extended_protocol(self):
        self.postgres.sql("CREATE TABLE IF NOT EXISTS pairs (a int, b int)", database="app")
        copy = parse("COPY pairs FROM STDIN") + BIND + EXECUTE
        with self.client("one") as c:
            # libpq sends a Sync that the server throws away.
            c.send(copy + SYNC)
            self.assertEqual([c.next()[0] for _ in range(3)], ["1", "2", "G"])
            self.assertEqual(c.kinds(copy_data(b"1\t2\n") + COPY_DONE + SYNC), "CZ")
            self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])
            # The client sends everything at once.
            self.assertEqual(c.kinds(copy + SYNC + copy_data(b"1\t2\n") + COPY_DONE + SYNC), "12GCZ")
            self.assertEqual(rows(c.ask(query("SELECT 2"))), ["2"])
            # The COPY fails, and the client ends it with a Sync.
            c.send(copy + FLUSH)
            self.assertEqual([c.next()[0] for _ in range(3)], ["1", "2", "G"])
            c.send(copy_data(b"x\n"))
            self.assertEqual(c.next()[0], "E")
            self.assertEqual(c.kinds(copy_data(b"1\t2\n") + COPY_DONE + SYNC), "Z")
            self.assertEqual(rows(c.ask(query("SELECT 3"))), ["3"])
        self.no_lease_is_left()
        self.postgres.sql("DROP TABLE pairs", database="app")

    # Parameters and state that stays ----------------------------------------------------------------------------------

    def test_parameters_follow_their_client(self):
        with self.client("one", parameters={"application_name": "first", "DateStyle": "German"}) as a, \
                self.client("one", parameters={"application_name": "second"}) as b:
            self.assertEqual(a.parameters["application_name"], "first")
            for _ in range(3):
                self.assertEqual(rows(a.ask(query("SHOW application_name"))), ["first"])
                self.assertEqual(rows(b.ask(query("SHOW application_name"))), ["second"])
                self.assertEqual(rows(a.ask(query("SELECT '2026-11-26'::date"))), ["26.11.2026"])
                self.assertEqual(rows(b.ask(query("SELECT '2026-11-26'::date"))), ["2026-11-26"])
            b.ask(query("SET TimeZone TO 'Asia/Tokyo'"))
            self.assertEqual(rows(a.ask(query("SHOW TimeZone"))), [a.parameters["TimeZone"]])
            self.assertEqual(rows(b.ask(query("SHOW TimeZone"))), ["Asia/Tokyo"])

    def test_a_parameter_that_cannot_be_set_ends_the_session(self):
        with self.client("one", parameters={"TimeZone": "No'where\\"}) as c:
            answer = c.ask(query("SELECT 1"))
            self.assertEqual(kinds(answer), "E(22023)closed")
        self.no_lease_is_left()

    def test_state_that_a_tag_betrays_is_reset_and_the_client_warned_once(self):
        with self.client("one") as a, self.client("one") as b:
            first = a.ask(query("SET work_mem TO '77MB'")) + [a.next()]
            self.assertEqual(kinds(first), "CZN")
            self.assertEqual(kinds(a.ask(query("SET work_mem TO '77MB'"))), "CZ")
            self.assertNotEqual(rows(b.ask(query("SHOW work_mem"))), ["77MB"])
            b.ask(query("PREPARE p AS SELECT 1"))
            self.assertEqual(kinds([m for m in a.ask(query("EXECUTE p")) if m[0] != "N"]), "E(26000)Z")

    def test_state_that_nobody_sees_leaks_without_reset_always_and_not_with_it(self):
        for database, leaks in (("one", True), ("clean", False)):
            with self.client(database) as a:
                a.ask(query("SELECT set_config('search_path', 'nowhere', false)"))
            self.no_lease_is_left()
            with self.client(database) as b:
                self.assertEqual(rows(b.ask(query("SHOW search_path"))) == ["nowhere"], leaks, database)
                b.ask(query("DISCARD ALL"))

    def test_start_parameters_by_policy(self):
        with self.client(parameters={"extra_float_digits": "3"}) as c:
            self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])
        for name, value in (("search_path", "x"), ("geqo", "off"), ("options", "-c geqo=off"), ("replication", "true")):
            with self.assertRaises(Refused) as refused:
                self.client(parameters={name: value})
            self.assertIn(refused.exception.fields["C"], ("08P01", "0A000"))
        with self.client("lax", parameters={"search_path": "x", "geqo": "off", "options": "-c geqo=off"}) as c:
            self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])

    def test_encryption_is_declined_and_newer_protocols_negotiated_down(self):
        for first, second in ((SSL_REQUEST, GSS_REQUEST), (GSS_REQUEST, SSL_REQUEST)):
            with self.client(login=False) as c:
                for request in (first, second):
                    c.send(struct.pack("!II", 8, request))
                    self.assertEqual(c.bytes(1), b"N")
                newer = start_packet({"user": "ann", "database": "app", "_pq_.thing": "1"}, (3 << 16) | 2)
                c.send(newer)
                said = c.next()
                self.assertEqual(said, ("v", struct.pack("!II", 3 << 16, 1) + b"_pq_.thing\0"))
                with Client(self.postgres.port, login=False) as direct:  # PostgreSQL itself answers the same
                    direct.send(newer)
                    self.assertEqual(direct.next(), said)
                c.log_in(harness.PASSWORDS["ann"])
                self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])

    # Cancellation -----------------------------------------------------------------------------------------------------

    def test_a_cancel_reaches_the_query_of_its_client(self):
        with self.client() as c:
            c.send(query("SELECT pg_sleep(60)"))
            wait_for("it runs", lambda: self.postgres.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"))
            c.cancel(self.proxy.port)
            self.assertEqual(kinds(c.until_ready()), "TE(57014)Z")
            self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])

    def test_a_cancel_of_what_still_waits_for_a_server(self):
        with self.client("one") as a, self.client("one") as b:
            self.assertEqual(a.kinds(query("BEGIN")), "CZ")
            b.send(extended("SELECT 1") + SYNC)
            wait_for("b waits", lambda: [p for p in self.proxy.show("POOLS") if p["waiting"] == "1"])
            b.cancel(self.proxy.port)
            self.assertEqual(kinds(b.until_ready()), "E(57014)Z")
            self.assertEqual(a.kinds(query("COMMIT")), "CZ")
            self.assertEqual(rows(b.ask(query("SELECT 2"))), ["2"])
        self.no_lease_is_left()

    def test_a_hundred_cancels_hit_nobody_else(self):
        with self.client("one") as victim, self.client("one") as other:
            stop = threading.Event()

            def cancel():
                while not stop.is_set():
                    victim.cancel(self.proxy.port)
            threads = [threading.Thread(target=cancel) for _ in range(10)]
            for t in threads:
                t.start()
            try:
                hit = 0
                for _ in range(50):
                    victim.send(query("SELECT pg_sleep(0.05)"))
                    other.send(query("SELECT pg_sleep(0.001)"))
                    self.assertEqual(kinds(other.until_ready()), "TDCZ")
                    hit += "57014" in kinds(victim.until_ready())
            finally:
                stop.set()
                for t in threads:
                    t.join()
            self.assertGreater(hit, 0)
        self.no_lease_is_left()

    def test_wrong_keys_are_closed_alike(self):
        with self.client() as c:
            c.send(query("SELECT pg_sleep(0.3)"))
            right = c.key
            for key in (right[:4] + bytes(b ^ 1 for b in right[4:]), b"\0" * 8, os.urandom(8)):
                self.assertEqual(c.cancel(self.proxy.port, key), b"")
            self.assertEqual(kinds(c.until_ready()), "TDCZ")

    # Clients and servers that go ---------------------------------------------------------------------------------------------------------

    def test_a_client_killed_at_every_byte_loses_no_server(self):
        self.postgres.sql("CREATE TABLE IF NOT EXISTS kept (x int)", "TRUNCATE kept", database="app")
        script = (query("BEGIN") + query("INSERT INTO kept VALUES (1)") + extended("SELECT pg_sleep(0.01)") + SYNC
                  + query("COPY kept FROM STDIN") + copy_data(b"2\n"))
        for cut in range(len(script) + 1):
            with self.client("one") as c:
                c.send(script[:cut])
        self.no_lease_is_left()
        with self.client("one") as c:
            self.assertEqual(rows(c.ask(query("SELECT count(*) FROM kept"))), ["0"])
            self.assertEqual(c.ask(query("SELECT 1"))[-1], ("Z", b"I"))

    def test_a_client_that_goes_while_it_waits_is_forgotten(self):
        with self.client("one") as a:
            a.ask(query("BEGIN"))
            with self.client("one") as b:
                b.send(query("SELECT 1"))
                wait_for("b waits", lambda: [p for p in self.proxy.show("POOLS") if p["waiting"] == "1"])
            wait_for("b is gone", lambda: all(p["waiting"] == "0" for p in self.proxy.show("POOLS")))
            self.assertEqual(a.kinds(query("COMMIT")), "CZ")
        self.no_lease_is_left()

    def test_a_server_killed_in_the_middle_is_told(self):
        for statement, code in (("SELECT pg_sleep(60)", "57P01"),):
            with self.client("one") as c:
                pid = rows(c.ask(query("BEGIN; SELECT pg_backend_pid()")))[0]
                c.send(query(statement))
                wait_for("it runs", lambda: self.postgres.sql(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'"))
                self.postgres.sql(f"SELECT pg_terminate_backend({pid})")
                self.assertEqual(kinds([m for m in c.until_ready() if m[0] != "T"]), f"E({code})closed")
        with self.client("one") as c:
            self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])
        self.no_lease_is_left()

    def test_garbage_ends_the_session(self):
        for bytes_ in (b"GET / HTTP/1.1\r\n\r\n", b"Q\0\0\0\1", message("p", b"again"), b"\0" * 100):
            with self.client() as c:
                self.assertEqual(kinds(c.ask(bytes_)), "E(08P01)closed")
        with self.client() as c:
            c.send(TERMINATE)
            self.assertEqual(c.until_ready(), [("closed", b"")])

    # Limits -----------------------------------------------------------------------------------------------------------

    def test_a_user_has_so_many_transactions(self):
        with self.client(user="bob", password=harness.PASSWORDS["bob"]) as c:
            # Messages that execute nothing are free, and so is the rest of a transaction.
            self.assertEqual(c.kinds(parse("SELECT 1") + message("D", b"S\0") + SYNC), "1tTZ")
            self.assertEqual(c.kinds(SYNC), "Z")
            for sql in ("BEGIN", "SELECT 1", "SELECT 2; SELECT 3", "COMMIT"):
                self.assertNotIn("E", c.kinds(query(sql)))
            self.assertEqual(c.kinds(extended("SELECT 2") + SYNC), "12TDCZ")
            self.assertEqual(c.kinds(query("SELECT 3")), "TDCZ")
            refused = c.ask(query("SELECT 4"))
            self.assertEqual(kinds(refused), "E(53400)Z")
            self.assertIn("retry in ", error_fields(refused[0][1])["H"])
            self.assertEqual(c.kinds(extended("SELECT 5") + SYNC), "E(53400)Z")
            c.send(query("SELECT 6") + extended("SELECT 7") + SYNC)
            self.assertEqual([kinds(c.until_ready()) for _ in range(2)], ["E(53400)Z", "E(53400)Z"])
            self.assertEqual(c.kinds(parse("SELECT 1") + SYNC), "1Z")
        limits = {row["user"]: row for row in self.proxy.show("LIMITS")}
        self.assertEqual(limits["bob"]["remaining"], "0")
        self.no_lease_is_left()

    def test_a_transaction_behind_a_commit_needs_a_permit_of_its_own(self):
        with self.client(user="root", password=harness.PASSWORDS["root"]) as c:  # three transactions an hour
            self.assertEqual(c.kinds(query("BEGIN")), "CZ")
            c.send(query("COMMIT") + query("SELECT 1") + query("SELECT 2") + query("SELECT 3"))
            self.assertEqual([kinds(c.until_ready()) for _ in range(4)], ["CZ", "TDCZ", "TDCZ", "E(53400)Z"])

    # Real clients -----------------------------------------------------------------------------------------------------

    def psql(self, *arguments):
        return subprocess.Popen(["psql", "-XqAt", *arguments, self.proxy.url()], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "PGPASSWORD": harness.PASSWORDS["ann"]})

    def test_psql_commands(self):
        done, errors = self.psql().communicate(
            "\\copy (SELECT generate_series(1, 3)) TO STDOUT\nSELECT 1 AS a \\gdesc\n\\d pg_tablespace\n", timeout=60)
        self.assertEqual(errors, "")
        self.assertEqual(done.splitlines()[:5], ["1", "2", "3", "a|integer", "oid|oid||not null|"])

    def test_psql_watch(self):
        psql = self.psql()
        try:
            psql.stdin.write("SELECT 'tick' \\watch 0.01\n")
            psql.stdin.flush()
            ticks = 0
            while ticks < 5:
                ticks += psql.stdout.readline() == "tick\n"
        finally:
            psql.kill()
            psql.communicate()

    def test_psql_control_c(self):
        psql = self.psql("-c", "SELECT pg_sleep(60)")
        try:
            wait_for("it runs", lambda: self.postgres.sql(
                "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"))
            psql.send_signal(signal.SIGINT)
            errors = psql.communicate(timeout=30)[1]
        finally:
            psql.kill()
            psql.communicate()
        self.assertIn("canceling statement due to user request", errors)

    def test_node_postgres(self):
        modules = os.environ.get("NODE_MODULES", "")
        if not shutil.which("node") or not os.path.isdir(os.path.join(modules, "pg-copy-streams")):
            self.skipTest("there is no node, or no pg: ./dev test brings them")
        done = subprocess.run(["node", os.path.join(harness.HERE, "node.mjs"), modules, str(self.proxy.port)], text=True,
                              capture_output=True, timeout=120,
                              env={**os.environ, "PGPASSWORD": harness.PASSWORDS["ann"]})
        self.assertEqual(done.returncode, 0, done.stderr + self.proxy.log.read_text())
        self.no_lease_is_left()

    def test_pgbench_and_pg_dump(self):
        environment = {**os.environ, "PGPASSWORD": harness.PASSWORDS["ann"]}
        at = ["-h", "127.0.0.1", "-p", str(self.proxy.port), "-U", "ann"]

        def bench(database, *options):
            done = subprocess.run(["pgbench", *options, *at, database], env=environment, text=True, capture_output=True,
                                  timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            if "-i" not in options:
                self.assertIn("number of failed transactions: 0 ", done.stdout)
        bench("app", "-i", "-q")
        for database, mode in (("app", "simple"), ("app", "extended"), ("sess", "simple"), ("sess", "extended"),
                               ("sess", "prepared")):
            bench(database, "-n", "-c", "4", "-t", "50", "-M", mode)
        bench("app", "-n", "-c", "4", "-t", "20", "-C")
        sums = self.postgres.sql("SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)",
                                 database="app")
        self.assertEqual(sums, "t\n")

        def dump(*where):
            return subprocess.run(["pg_dump", *where], env=environment, check=True, capture_output=True, timeout=120).stdout
        through = dump(*at, "sess")
        direct = subprocess.run(["pg_dump", "-h", "127.0.0.1", "-p", str(self.postgres.port), "-U", "ann", "app"], check=True,
                                capture_output=True, timeout=120,
                                env={**os.environ, "PGPASSWORD": harness.SERVER_PASSWORD}).stdout
        self.assertGreater(len(direct), 100_000)
        # Since its releases of 2025, pg_dump begins and ends its output with a random word.
        self.assertEqual(*([line for line in d.splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))]
                           for d in (through, direct)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
