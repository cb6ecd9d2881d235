# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Servers that stop, crash, hang, are slow, and come back: clients get clear errors, and no lease is lost."""
import base64
import contextlib
import hashlib
import hmac
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest
import urllib.request

import harness
from harness import wait_for
from protocol import (BIND, EXECUTE, SYNC, Client, Closed, Peer, Refused, error_fields, extended, kinds, message, parse,
                      query, rows, text)


class CuttingRelay:
    """Stands between proxy and server. It can cut a new connection after a number of the server's bytes."""

    def __init__(self, server_port):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server_port, self.limit, self.open, self.counts = server_port, None, [], []
        self.may_end = threading.Event()  # cleared: a CancelRequest's connection stays open
        self.may_end.set()
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.hang_up()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.server_port))
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.open += [client, server]
            self.counts.append(0)
            threading.Thread(target=self.copy, args=(client, server, None, None), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, client, self.limit, len(self.counts) - 1), daemon=True).start()

    def copy(self, source, target, limit, counted):
        passed = 0
        try:
            while data := source.recv(65536):
                if limit is not None and passed + len(data) >= limit:
                    target.sendall(data[:limit - passed])
                    break
                target.sendall(data)
                passed += len(data)
                if counted is not None:
                    self.counts[counted] = passed
        except OSError:
            pass
        if counted is not None and passed == 0:
            self.may_end.wait()
        for s in (source, target):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def last_session(self):
        return self.counts[-1]

    def cut_after(self, limit):
        self.limit = limit
        self.hang_up()

    def hang_up(self):
        for s in self.open:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
        self.open = []


class LoginServer:
    """A server that logs a user in, answers every query with 1, and hangs up after a number of its own bytes."""

    def __init__(self, password):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.limit = self.sent = None
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self.SALT, 4096)
        self.server_key = hmac.digest(salted, b"Server Key", "sha256")
        threading.Thread(target=self.accept, daemon=True).start()

    SALT = b"sixteen bytes of"
    TOLD = {"server_version": "15.4", "server_encoding": "UTF8", "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
            "IntervalStyle": "postgres", "TimeZone": "UTC", "standard_conforming_strings": "on", "application_name": ""}
    ANSWER = (message("T", b"\0\1?column?\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0") + message("D", b"\0\1\0\0\0\1" b"1")
              + message("C", b"SELECT 1\0") + message("Z", b"I"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        left = self.limit
        self.sent = 0

        def send(data):
            nonlocal left
            connection.sendall(data[:left])
            self.sent += len(data)
            if left is not None:
                left -= min(left, len(data))
                if left == 0:
                    raise Closed
        with connection, contextlib.suppress(Closed, OSError):
            peer = Peer(connection)
            peer.bytes(struct.unpack("!I", peer.bytes(4))[0] - 4)
            send(message("R", struct.pack("!I", 10) + text("SCRAM-SHA-256") + b"\0"))
            first = peer.next()[1].split(b"n,,", 1)[1].decode()
            challenge = (f"r={first.rpartition('r=')[2]}more,s={base64.b64encode(self.SALT).decode()},i=4096")
            send(message("R", struct.pack("!I", 11) + challenge.encode()))
            signed = ",".join([first, challenge, peer.next()[1].decode().rpartition(",p=")[0]])
            signature = base64.b64encode(hmac.digest(self.server_key, signed.encode(), "sha256"))
            send(message("R", struct.pack("!I", 12) + b"v=" + signature) + message("R", b"\0\0\0\0")
                 + b"".join(message("S", text(*pair)) for pair in self.TOLD.items())
                 + message("K", struct.pack("!II", 1, 2)) + message("Z", b"I"))
            while peer.next()[0] == "Q":
                send(self.ANSWER)


class Servers(unittest.TestCase):
    def start(self, **config):
        self.postgres = harness.Postgres()
        self.addCleanup(self.postgres.stop)
        self.proxy = harness.Proxy(harness.document(self.postgres.port, **config), {"root": {"console": "act"}})
        self.addCleanup(self.proxy.stop)

    def breaker(self):
        return self.proxy.show("BREAKERS")[0]["state"]

    def code(self, client):
        """The SQLSTATE of a query's error; None when the query succeeds."""
        for kind, payload in client.ask(query("SELECT 1")):
            if kind == "E":
                return error_fields(payload)["C"]
        return None

    def refusal(self):
        try:
            Client(self.proxy.port).close()
        except Refused as e:
            return e.fields["C"]
        return None

    def no_lease_is_left(self):
        wait_for("no lease and no waiter",
                 lambda: all(p["leased"] == "0" and p["waiting"] == "0" for p in self.proxy.show("POOLS")))

    def test_a_stopped_server_is_not_asked_and_is_found_when_it_is_back(self):
        self.start(server={"host": "localhost"})  # a name that has to be resolved
        with Client(self.proxy.port) as c:
            self.assertIsNone(self.code(c))
            self.postgres._end(signal.SIGINT)
            wait_for("the breaker to open", lambda: self.code(c) == "53000" and self.breaker() == "open")
            # The client keeps its connection. A new client gets its error at the login.
            self.assertEqual(self.refusal(), "57P03")
            begun = time.monotonic()
            for _ in range(100):
                self.assertEqual(self.code(c), "53000")
            self.assertLess(time.monotonic() - begun, 2)
            self.postgres.start()
            wait_for("the server", lambda: self.code(c) is None, 10)
            self.assertEqual(self.breaker(), "closed")
        self.assertIsNone(self.refusal())
        self.no_lease_is_left()

    def test_a_hung_server_is_given_up_after_its_login_timeout(self):
        self.start(server={"login_timeout": "300ms"})
        self.postgres.freeze()
        try:
            wait_for("the breaker to open", lambda: self.refusal() == "57P03" and self.breaker() == "open")
        finally:
            self.postgres.thaw()
        wait_for("the server", lambda: self.refusal() is None, 10)

    def test_a_server_that_accepts_and_says_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            proxy = harness.Proxy(harness.document(silent.getsockname()[1], server={"login_timeout": "200ms"}))
            self.addCleanup(proxy.stop)
            with self.assertRaises(Refused) as refused:
                Client(proxy.port)
            self.assertEqual(refused.exception.fields["C"], "57P03")
            self.assertIn("login timeout", refused.exception.fields["M"])

    def test_a_server_killed_while_it_works(self):
        self.start()
        with Client(self.proxy.port) as asks, Client(self.proxy.port) as writes, Client(self.proxy.port) as waits:
            self.assertEqual(waits.kinds(query("BEGIN")), "CZ")
            asks.ask(query("BEGIN"))
            asks.send(query("SELECT pg_sleep(60)"))
            writes.send(query("SELECT pg_sleep(61)"))
            wait_for("both run", lambda: self.postgres.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active'") == "3\n")
            self.postgres.kill()
            # Nothing of the open transaction is committed. The statement outside of one may be.
            self.assertEqual(kinds([m for m in asks.until_ready() if m[0] == "E"]), "E(08006)")
            self.assertEqual(kinds([m for m in writes.until_ready() if m[0] == "E"]), "E(08007)")
            # The process of an idle connection may still send why it ends.
            self.assertIn(kinds([m for m in waits.until_ready() if m[0] == "E"]), ("E(08006)", "E(57P01)"))
        self.postgres.start()
        wait_for("the server", lambda: self.refusal() is None, 10)
        self.no_lease_is_left()

    def test_a_breaker_that_a_wrong_password_opened_closes(self):
        """A probe finds the server also when the server refuses the probe's user."""
        self.start()
        self.proxy.write_users({"ann": {"server_password": "another"}, "root": {"console": "act"}})
        self.proxy.psql("RELOAD", user="root", database="headgate")
        self.postgres._end(signal.SIGINT)
        wait_for("the breaker to open", lambda: self.refusal() == "57P03" and self.breaker() == "open")
        self.postgres.start()
        wait_for("the breaker to close", lambda: self.breaker() == "closed", 20)
        Client(self.proxy.port, user="bob", password=harness.PASSWORDS["bob"]).close()

    def test_lost_connections_open_the_breaker(self):
        self.start()
        with Client(self.proxy.port) as a, Client(self.proxy.port) as b:
            for c in (a, b):
                self.assertEqual(c.kinds(query("BEGIN")), "CZ")
            self.kill_at_once()
            for c in (a, b):
                self.assertEqual(kinds(c.until_ready()), "E(08006)closed")
            # No connect has failed since then: the lost connections alone have opened it.
            self.assertEqual(self.breaker(), "open")

    def test_a_commit_that_was_not_answered_is_in_doubt(self):
        self.start(databases={"app": {"pool_mode": "session"}}, pool={"max_overflow": 9})
        bind = message("B", b"\0done\0" + b"\0\0\0\0\0\0")
        sent = {query("COMMIT"): "08007", query("/* app */ COMMIT"): "08007", query("SELECT 1; COMMIT"): "08007",
                bind + EXECUTE + SYNC: "08007", parse("COMMIT") + BIND + EXECUTE + SYNC: "08007",
                query("SELECT 1"): "08006", extended("SELECT 1") + SYNC: "08006"}
        clients = [Client(self.proxy.port) for _ in sent]
        for c in clients:
            self.assertEqual(c.kinds(parse("COMMIT", "done") + SYNC), "1Z")
            self.assertEqual(c.kinds(query("BEGIN")), "CZ")
            self.assertEqual(c.kinds(query("SELECT 1/0")), "E(22012)Z")  # an earlier error does not count as the end of the connection
            self.assertEqual(c.kinds(query("ROLLBACK; BEGIN")), "CCZ")
        self.postgres.freeze()
        for c, what in zip(clients, sent):
            c.send(what)
        wait_for("all are sent", lambda: sum(p["state"] == "active" for p in self.proxy.show("CLIENTS")) == len(sent))
        self.kill_at_once()
        told = [kinds(c.until_ready()) for c in clients]
        for c in clients:
            c.close()
        self.assertEqual(told, [f"E({code})closed" for code in sent.values()])

    def kill_at_once(self):
        """Kills all processes before any of them can send an error, even about the end of another."""
        self.postgres.freeze()
        self.postgres._signal_all(signal.SIGKILL)
        self.postgres.process.wait()

    def test_a_cancel_that_is_stuck_hits_nobody_else(self):
        self.start(pool={"max_overflow": 1, "max_wait": "20s"}, server={"login_timeout": "20s"})
        with Client(self.proxy.port) as a, Client(self.proxy.port) as b:
            first = rows(a.ask(query("SELECT pg_backend_pid()")))
            a.send(query("SELECT pg_sleep(0.5)"))
            wait_for("it runs", lambda: self.postgres.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active'"
                                                          " AND query = 'SELECT pg_sleep(0.5)'"))
            # Existing connections go on. The server accepts no new ones, and no cancel.
            self.postgres.process.send_signal(signal.SIGSTOP)
            try:
                a.cancel(self.proxy.port)
                self.assertEqual(kinds(a.until_ready()), "TDCZ")
                b.send(query("SELECT pg_backend_pid()"))
                wait_for("the cancel is given up", lambda: self.connections_to_server() == 1, 20)
            finally:
                self.postgres.process.send_signal(signal.SIGCONT)
            self.assertNotEqual(rows(b.until_ready()), first)

    def connections_to_server(self):
        """The connections in the kernel's table, also those that the server has not accepted yet."""
        port = f":{self.postgres.port:04X}"
        with open("/proc/net/tcp", encoding="ascii") as table:
            return sum(line.split()[2].endswith(port) and line.split()[3] == "01" for line in table.readlines()[1:])

    def test_nothing_is_told_that_is_not_so_while_servers_come_and_go(self):
        """A ledger: reported commits are in it, reported failures are not, and only those in doubt may be."""
        self.start(pool={"max_overflow": 3})
        self.postgres.sql("CREATE TABLE ledger (who int, n int, PRIMARY KEY (who, n))", database="app")
        told, failed, stop = set(), set(), threading.Event()

        def work(who):
            client = None
            n = 0
            while not stop.is_set():
                n += 1
                try:
                    client = client or Client(self.proxy.port)
                    for sql in ("BEGIN", f"INSERT INTO ledger VALUES ({who}, {n})", "COMMIT"):
                        answer = client.ask(query(sql))
                        codes = [error_fields(p)["C"] for k, p in answer if k == "E"]
                        if codes or answer[-1][0] == "closed":
                            if sql != "COMMIT" or "08006" in codes:
                                failed.add((who, n))
                            elif answer[-1][0] != "closed":
                                failed.add((who, n))
                            if answer[-1][0] == "closed":
                                client.close()
                                client = None
                            break
                    else:
                        if ("C", b"COMMIT\0") in answer:
                            told.add((who, n))
                except (Refused, Closed, OSError):
                    failed.add((who, n))
                    client = client and client.close()
            if client:
                client.close()
        threads = [threading.Thread(target=work, args=(who,)) for who in range(6)]
        for t in threads:
            t.start()

        def progress():
            before = len(told)
            wait_for("transactions", lambda: len(told) > before + 50)
        try:
            progress()
            self.postgres.kill()
            self.postgres.start()
            progress()
            self.postgres.restart()
            progress()
            self.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ann'")
            progress()
            self.postgres.freeze()
            time.sleep(0.2)
            self.postgres.thaw()
            progress()
        finally:
            stop.set()
            for t in threads:
                t.join(60)
        lines = self.postgres.sql("SELECT who, n FROM ledger", database="app").split()
        there = {tuple(map(int, line.split("|"))) for line in lines}
        self.assertEqual(told - there, set(), "reported as committed, but missing")
        self.assertEqual(failed & there, set(), "reported as failed, but present")
        self.no_lease_is_left()

    def test_a_server_that_goes_at_every_byte_loses_no_lease(self):
        postgres = harness.Postgres()
        self.addCleanup(postgres.stop)
        with CuttingRelay(postgres.port) as relay:
            proxy = harness.Proxy(harness.document(relay.port, pool={"max_overflow": 1}, breaker={"consecutive_failures": 100}),
                                  {"root": {"console": "act"}})
            self.addCleanup(proxy.stop)
            script = (query("BEGIN"), query("SELECT 1"), extended("SELECT 2") + SYNC, query("COPY (SELECT 3) TO STDOUT"),
                      query("COMMIT"))

            def run():
                """Whether the whole script has succeeded."""
                with Client(proxy.port) as c:
                    return all(kinds(c.ask(part)) in ("CZ", "TDCZ", "12TDCZ", "HdcCZ") for part in script)
            with Client(proxy.port):
                login = relay.last_session()  # the client's login made one connection to the server
            self.assertTrue(run())
            session = relay.last_session()
            self.assertGreater(session, login + 100)
            for cut in range(login, session + 1):
                relay.cut_after(cut)
                try:
                    self.assertFalse(run() and cut < session, cut)
                except (Refused, Closed, ConnectionResetError):
                    pass
                relay.cut_after(None)
                wait_for("the next borrower", lambda: self.well(proxy), 10)
            self.assertTrue(run())
            wait_for("no lease", lambda: all(p["leased"] == "0" and p["waiting"] == "0" for p in proxy.show("POOLS")))

    def test_a_cancel_while_another_is_on_its_way(self):
        postgres = harness.Postgres()
        self.addCleanup(postgres.stop)
        with CuttingRelay(postgres.port) as relay:
            proxy = harness.Proxy(harness.document(relay.port, databases={"app": {"pool_mode": "session"}}))
            self.addCleanup(proxy.stop)
            self.addCleanup(relay.may_end.set)
            with Client(proxy.port) as c:
                relay.may_end.clear()
                for seconds in (60, 61):
                    c.send(query(f"SELECT pg_sleep({seconds})"))
                    wait_for("it runs", lambda: postgres.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active'"
                                                             f" AND query = 'SELECT pg_sleep({seconds})'"))
                    c.cancel(proxy.port)
                    if seconds == 61:
                        relay.may_end.set()
                    self.assertEqual(kinds(c.until_ready()), "TE(57014)Z")

    def test_a_server_that_goes_at_every_byte_of_its_login(self):
        with LoginServer(harness.SERVER_PASSWORD) as server:
            # Each transaction gets a new connection.
            proxy = harness.Proxy(harness.document(server.port, pool={"max_overflow": 1, "overflow_ttl": "0s",
                                                                      "backoff_min": "1ms", "backoff_max": "1ms"},
                                                   breaker={"consecutive_failures": 10_000}),
                                  {"ann": {"trust": True}, "root": {"console": "act"}})
            self.addCleanup(proxy.stop)
            self.assertTrue(self.well(proxy))
            login = server.sent - len(LoginServer.ANSWER)
            self.assertGreater(login, 300)
            for cut in range(1, login + 1):
                server.limit = cut
                with Client(proxy.port) as c:
                    told = kinds(c.ask(query("SELECT 1")))
                    if cut < login:
                        self.assertEqual(told, "E(53000)Z", cut)
                    else:
                        self.assertIn(told, ("E(53000)Z", "E(08006)closed", "E(08007)closed"))
            server.limit = None
            wait_for("the next borrower", lambda: self.well(proxy), 10)
            wait_for("no lease", lambda: all(p["leased"] == "0" and p["waiting"] == "0" for p in proxy.show("POOLS")))

    def well(self, proxy):
        try:
            with Client(proxy.port) as c:
                return rows(c.ask(query("SELECT 1"))) == ["1"]
        except (Refused, Closed, OSError):
            return False

    def test_a_server_that_says_that_it_goes_is_probed(self):
        self.start()

        def logins():
            with urllib.request.urlopen(self.proxy.status + "metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            return sum(float(line.split()[-1]) for line in lines if "successes" in line and 'name="main"' in line)
        with Client(self.proxy.port) as c:
            self.assertIsNone(self.code(c))
            before = logins()
            self.assertGreater(before, 0)
            # No client asks for a connection. Only the probe makes one.
            self.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ann'")
            wait_for("the probe", lambda: logins() > before)
            self.assertEqual(self.breaker(), "closed")
            self.assertIsNone(self.code(c))

    def test_pgbench_while_the_server_comes_and_goes(self):
        self.start(server={"login_timeout": "10s"})
        self.pgbench("-i", "-q")

        def hang():
            self.postgres.freeze()
            try:
                # A process that was just starting may not be frozen. It finishes its work first.
                wait_for("all that are left to be stuck", lambda: all(
                    c["state"] in ("active", "waiting") for c in self.proxy.show("CLIENTS")))
            finally:
                self.postgres.thaw()

        def stop():
            self.postgres._end(signal.SIGINT)
            wait_for("all to have been told", lambda: not self.proxy.show("CLIENTS"))
            self.postgres.start()

        def kill():
            self.postgres.kill()
            self.postgres.start()
        self.assertEqual(self.pgbench_beside(hang, "-t", "100"), (0, 0, ""))  # clients that wait notice nothing
        for name, event in (("stop", stop), ("kill", kill), ("restart", self.postgres.restart)):
            with self.subTest(name):
                code, aborted, errors = self.pgbench_beside(event, "-T", "3")
                # pgbench ends a client at its first error, and prints the error.
                self.assertEqual((code, aborted > 0), (2, True), errors)
                self.assertRegex(errors, "the connection to the server was lost|terminating connection|is down")
        self.assertEqual(self.postgres.sql(
            "SELECT count(DISTINCT s) FROM (SELECT sum(abalance) s FROM pgbench_accounts UNION ALL SELECT sum(tbalance)"
            " FROM pgbench_tellers UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL"
            " SELECT sum(delta) FROM pgbench_history) sums", database="app"), "1\n")
        self.no_lease_is_left()

    def test_pgbench_while_the_server_is_slow_to_accept(self):
        self.start(server={"login_timeout": "10s"})
        self.pgbench("-i", "-q")
        self.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ann'")
        self.assertIsNone(self.refusal())
        self.postgres.process.send_signal(signal.SIGSTOP)  # existing connections go on, the server accepts no new ones
        try:
            with self.pgbench_started("-n", "-c", "4", "-t", "20") as running:
                wait_for("a connect to be stuck", lambda: self.proxy.show("POOLS")[0]["connecting"] != "0")
                self.postgres.process.send_signal(signal.SIGCONT)
                out, errors = running.communicate(timeout=60)
        finally:
            self.postgres.process.send_signal(signal.SIGCONT)
        self.assertEqual((running.returncode, errors), (0, ""))
        self.assertEqual(self.history(), 80)
        self.no_lease_is_left()

    def pgbench_beside(self, event, *options):
        """Runs pgbench during an event. Returns its result, and checks its history against what it was told."""
        before = self.history()
        with self.pgbench_started("-n", "-c", "4", *options) as running:
            wait_for("transactions", lambda: self.history() > before)
            event()
            out, errors = running.communicate(timeout=60)
        wait_for("the server", lambda: self.refusal() is None, 10)
        told = int(re.search(r"transactions actually processed: (\d+)", out)[1])
        there = self.history() - before
        aborted = errors.count("aborted in command")
        self.assertLessEqual(told, there, "reported as committed, but missing")
        self.assertLessEqual(there, told + aborted, "present, but reported to no client")
        self.pgbench("-n", "-c", "4", "-t", "20")
        return running.returncode, aborted, errors

    def history(self):
        return int(self.postgres.sql("SELECT count(*) FROM pgbench_history", database="app"))

    def pgbench_started(self, *options):
        at = ["-h", "127.0.0.1", "-p", str(self.proxy.port), "-U", "ann", "app"]
        return subprocess.Popen(["pgbench", *options, *at], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, "PGPASSWORD": harness.PASSWORDS["ann"]})

    def pgbench(self, *options):
        with self.pgbench_started(*options) as running:
            errors = running.communicate(timeout=60)[1]
        self.assertEqual(running.returncode, 0, errors)


if __name__ == "__main__":
    unittest.main(verbosity=2)
