# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Logins that are accepted and refused, timeouts, the console, reload and drain."""
import json
import os
import signal
import socket
import struct
import subprocess
import unittest
import urllib.error
import urllib.request

import harness
from harness import wait_for
from protocol import FLUSH, Client, Refused, extended, kinds, message, query, rows, start_packet, text


class Logins(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = harness.Postgres()
        cls.addClassCleanup(cls.postgres.stop)

    def start(self, users=None, **config):
        proxy = harness.Proxy(harness.document(self.postgres.port, **config),
                              {"root": {"console": "act"}, **(users or {})})
        self.addCleanup(proxy.stop)
        return proxy

    def start_with_three_failures(self):
        """A proxy at which an address may fail three times."""
        document = harness.document(self.postgres.port)
        document["zones"]["proxy"]["rate_limiters"]["failed_logins"]["quota"] = "3/1h"
        proxy = harness.Proxy(document)
        self.addCleanup(proxy.stop)
        return proxy

    def refusal(self, proxy, **login):
        with self.assertRaises(Refused) as refused:
            Client(proxy.port, **login).close()
        return refused.exception.fields

    def test_right_wrong_and_unknown(self):
        proxy = self.start()
        Client(proxy.port).close()
        wrong = self.refusal(proxy, password="no")
        unknown = self.refusal(proxy, user="eve", password="no")
        self.assertEqual(wrong, {**unknown, "M": unknown["M"].replace("eve", "ann")})
        self.assertEqual(wrong["C"], "28P01")
        # Only a client that has logged in learns whether a database exists.
        self.assertEqual(self.refusal(proxy, password="no", database="nowhere")["C"], "28P01")
        self.assertEqual(self.refusal(proxy, database="nowhere")["C"], "3D000")

    def test_an_unknown_user_is_led_on_as_far_as_a_wrong_password(self):
        proxy = self.start()

        def conversation(user):
            with Client(proxy.port, login=False) as c:
                c.send(start_packet({"user": user, "database": "app"}))
                out = [c.next()]
                first = b"n,,n=,r=abcdefgh"
                c.send(message("p", text("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first))
                out.append(c.next())
                nonce = out[-1][1][4:].split(b",")[0]
                c.send(message("p", b"c=biws," + nonce + b",p=" + b"A" * 43 + b"="))
                return out + c.until_ready()
        known, unknown = conversation("ann"), conversation("eve")
        self.assertEqual([k for k, _ in known], [k for k, _ in unknown])
        self.assertEqual([len(p) for _, p in known], [len(p) for _, p in unknown])
        # An unknown user has the same salt each time, like a known one.
        self.assertEqual(*(conversation("eve")[1][1].split(b",")[1] for _ in range(2)))

    def test_failed_logins_are_limited_by_address(self):
        proxy = self.start_with_three_failures()
        for _ in range(3):
            self.assertEqual(self.refusal(proxy, password="no")["C"], "28P01")
        self.assertEqual(self.refusal(proxy)["C"], "28000")

    def test_wrong_cancel_keys_are_limited_by_address_too(self):
        proxy = self.start_with_three_failures()
        with Client(proxy.port) as c:
            c.send(query("SELECT pg_sleep(60)"))
            wait_for("it runs", lambda: self.postgres.sql(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'"))
            c.cancel(proxy.port)  # the right key, which costs nothing
            self.assertEqual(kinds(c.until_ready()), "TE(57014)Z")
            for _ in range(3):
                self.assertEqual(c.cancel(proxy.port, os.urandom(8)), b"")
            # Now even the right key does nothing from this address.
            c.send(query("SELECT pg_sleep(0.3)"))
            self.assertEqual(c.cancel(proxy.port), b"")
            self.assertEqual(kinds(c.until_ready()), "TDCZ")
            self.assertEqual(self.refusal(proxy)["C"], "28000")

    def test_guesses_that_come_at_once_are_no_more(self):
        proxy = self.start_with_three_failures()
        guesses = [Client(proxy.port, login=False) for _ in range(10)]
        proofs = []
        for c in guesses:  # each of them comes as far as its proof
            c.send(start_packet({"user": "ann", "database": "app"}))
            c.next()
            first = b"n,,n=,r=abcdefgh"
            c.send(message("p", text("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first))
            proofs.append(message("p", b"c=biws," + c.next()[1][4:].split(b",")[0] + b",p=" + b"A" * 43 + b"="))
        told = []
        for c, proof in zip(guesses, proofs):
            c.send(proof)
            told.append(kinds(c.until_ready()))
            c.close()
        self.assertEqual(told, ["E(28P01)closed"] * 3 + ["E(28000)closed"] * 7)

    def test_logins_that_are_no_logins(self):
        proxy = self.start(proxy={"client_login_timeout": "300ms"})
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, os.urandom(64), struct.pack("!I", 8),
                     struct.pack("!II", 10_000_000, 3 << 16), start_packet({"user": "ann"})[:-1],
                     start_packet({"user": "ann"}) + message("Q", text("SELECT 1")),
                     start_packet({"user": "ann"}) + message("p", b"x" * 5000),
                     start_packet({"user": "ann", "database": "a" * 9000}) + message("p", b"\0\0\0\0")):
            with Client(proxy.port, login=False) as c:
                c.send(data)
                last = c.until_ready()
                while last[-1][0] != "closed":
                    last = c.until_ready()
        Client(proxy.port).close()

    def test_a_trusted_user_needs_no_password_and_the_console_no_server(self):
        proxy = self.start({"ann": {"trust": True}})
        with Client(proxy.port, password="") as c:
            self.assertEqual(rows(c.ask(query("SELECT current_user"))), ["ann"])

    def test_too_many_clients(self):
        proxy = self.start(proxy={"max_client_connections": 2})
        with Client(proxy.port), Client(proxy.port):
            self.assertEqual(self.refusal(proxy)["C"], "53300")
        wait_for("a place", lambda: not proxy.show("CLIENTS"))
        Client(proxy.port).close()

    def test_a_server_that_refuses_the_user_is_told_and_does_not_open_the_breaker(self):
        proxy = self.start({"ann": {"server_password": "another"}})
        for _ in range(4):
            self.assertEqual(self.refusal(proxy)["C"], "28P01")
        Client(proxy.port, user="bob", password=harness.PASSWORDS["bob"]).close()
        self.assertEqual(proxy.show("BREAKERS")[0]["state"], "closed")
        missing = self.start(databases={"app": {"dbname": "nowhere"}})
        self.assertEqual(self.refusal(missing)["C"], "3D000")
        self.assertEqual(missing.show("BREAKERS")[0]["state"], "closed")

    def test_refusals_of_one_user_close_nothing_to_the_others(self):
        """The same for errors with less common codes."""
        self.postgres.sql("DROP DATABASE IF EXISTS shut", "CREATE DATABASE shut ALLOW_CONNECTIONS false")
        proxy = self.start(databases={"app": {}, "shut": {"dbname": "shut"}})
        for _ in range(4):
            self.assertEqual(self.refusal(proxy, database="shut")["C"], "55000")
        self.assertEqual(proxy.show("BREAKERS")[0]["state"], "closed")
        Client(proxy.port).close()

    def test_a_file_of_users_that_others_read_is_refused(self):
        proxy = self.start()
        os.chmod(proxy.directory / "users.json", 0o644)
        done = subprocess.run([harness.PROGRAM, str(proxy.config_file)], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("mode 0600", done.stderr)

    # Timeouts ---------------------------------------------------------------------------------------------------------

    def test_statement_and_idle_transaction_timeouts(self):
        proxy = self.start({"ann": {"statement_timeout": "300ms"}, "bob": {"idle_transaction_timeout": "300ms"}})
        with Client(proxy.port) as c:
            self.assertEqual(kinds(c.ask(query("SELECT pg_sleep(60)"))), "TE(57014)Z")
            self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])
        with Client(proxy.port, user="bob", password=harness.PASSWORDS["bob"]) as c:
            self.assertEqual(c.kinds(query("BEGIN")), "CZ")
            self.assertEqual(kinds(c.until_ready()), "E(25P03)closed")
        wait_for("no lease", lambda: all(p["leased"] == "0" for p in proxy.show("POOLS")))
        self.assertEqual(self.postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"), "0\n")

    def test_a_full_pool_is_told_and_its_codes_can_be_chosen(self):
        proxy = self.start(pool={"max_overflow": 1, "max_wait": "1s"})
        with Client(proxy.port) as a, Client(proxy.port) as b:
            self.assertEqual(a.kinds(query("BEGIN")), "CZ")
            self.assertEqual(b.kinds(query("SELECT 1")), "E(53300)Z")
            self.assertEqual(a.kinds(query("COMMIT")), "CZ")
            self.assertEqual(rows(b.ask(query("SELECT 1"))), ["1"])
        chosen = self.start(pool={"max_overflow": 1, "max_wait": "1s"}, proxy={"pool_exhausted_code": "57014"})
        with Client(chosen.port) as a, Client(chosen.port) as b:
            self.assertEqual(a.kinds(query("BEGIN")), "CZ")
            self.assertEqual(b.kinds(query("SELECT 1")), "E(57014)Z")

    def test_connections_of_one_user_are_given_up_for_another(self):
        proxy = self.start(server={"max_server_connections": 2})
        clients = []
        try:
            for name in ("ann", "bob", "root"):
                clients.append(Client(proxy.port, user=name, password=harness.PASSWORDS[name]))
            for _ in range(3):
                for c in clients:
                    self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])
            self.assertLessEqual(int(proxy.show("SERVERS")[0]["connections"]), 2)
            # While both connections are lent, the third client waits for one of them.
            for c in clients[:2]:
                self.assertEqual(c.kinds(query("BEGIN")), "CZ")
            clients[2].send(query("SELECT 3"))
            wait_for("it waits", lambda: proxy.show("SERVERS")[0]["waiting"] == "1")
            self.assertEqual(clients[0].kinds(query("COMMIT")), "CZ")
            self.assertEqual(rows(clients[2].until_ready()), ["3"])
        finally:
            for c in clients:
                c.close()

    def test_a_permit_that_is_waited_for(self):
        proxy = self.start({"ann": {"tier": "slow"}}, limits={"slow": "5/1s"}, proxy={"permit_wait": "5s"})
        with Client(proxy.port) as c:
            self.assertEqual([kinds(c.ask(query("SELECT 1"))) for _ in range(8)], ["TDCZ"] * 8)
        stats = {row["name"]: row["value"] for row in proxy.show("STATS")}
        self.assertEqual(stats["transactions_granted"], "8")

    def test_a_user_without_limits(self):
        proxy = self.start({"ann": {"tier": "slow", "limited": False}}, limits={"slow": "1/1h"})
        with Client(proxy.port) as c:
            self.assertEqual([kinds(c.ask(query("SELECT 1"))) for _ in range(5)], ["TDCZ"] * 5)

    def test_what_counts_as_silent_and_as_long(self):
        proxy = self.start({"ann": {"statement_timeout": "600ms"}, "bob": {"idle_transaction_timeout": "400ms"}})
        with Client(proxy.port) as c:  # each statement is within the timeout, all together are not
            c.send(query("SELECT pg_sleep(0.2)") * 5)
            self.assertEqual([kinds(c.until_ready()) for _ in range(5)], ["TDCZ"] * 5)
        with Client(proxy.port, user="bob", password=harness.PASSWORDS["bob"]) as c:
            c.send(extended("SELECT pg_sleep(0.8)") + FLUSH)  # the server works for longer than the timeout
            self.assertEqual([c.next()[0] for _ in range(5)], list("12TDC"))
            self.assertEqual(kinds(c.until_ready()), "E(25P03)closed")  # then it waits for a Sync

    # Operation --------------------------------------------------------------------------------------------------------

    def test_the_console(self):
        proxy = self.start({"bob": {"console": "see"}})
        with Client(proxy.port):
            for name in ("POOLS", "CLIENTS", "SERVERS", "STATS", "LIMITS", "BREAKERS"):
                self.assertTrue(name in ("LIMITS",) or proxy.show(name), name)
                self.assertEqual(proxy.show(name, user="bob"), proxy.show(name))
        self.assertEqual(self.refusal(proxy, database="headgate")["C"], "42501")
        with Client(proxy.port, user="bob", password=harness.PASSWORDS["bob"], database="headgate") as c:
            self.assertEqual(c.kinds(query("RELOAD")), "E(42501)Z")
            self.assertEqual(c.kinds(query("DROP TABLE x")), "E(42601)Z")
            self.assertEqual(c.kinds(message("P", text("", "SHOW POOLS") + b"\0\0") + message("S")), "E(0A000)Z")

    def test_reload(self):
        proxy = self.start({"ann": {"tier": "slow"}}, limits={"slow": "1/1h"})
        with Client(proxy.port) as c:
            self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])
            self.assertEqual(c.kinds(query("SELECT 2")), "E(53400)Z")
            # A mistake is reported, and nothing changes.
            right = json.loads(proxy.config_file.read_text())
            proxy.write_config({**right, "proxy": {**right["proxy"], "lisen": 1}})
            done = proxy.psql("RELOAD", user="root", database="headgate", check=False)
            self.assertIn("/proxy/lisen", done.stderr)
            self.assertEqual(c.kinds(query("SELECT 2")), "E(53400)Z")
            # So is a change that needs a restart.
            proxy.write_config({**right, "proxy": {**right["proxy"], "listen": "127.0.0.1:1"}})
            self.assertIn("/proxy/listen", proxy.psql("RELOAD", user="root", database="headgate", check=False).stderr)
            # A changed password for the server is used at once, on new connections.
            proxy.write_config(right)
            self.addCleanup(self.postgres.sql, f"ALTER ROLE bob PASSWORD '{harness.SERVER_PASSWORD}'")
            with Client(proxy.port, user="bob", password=harness.PASSWORDS["bob"]) as bob:
                before = rows(bob.ask(query("SELECT pg_backend_pid()")))
                self.postgres.sql("ALTER ROLE bob PASSWORD 'rotated'")
                proxy.write_users({"ann": {"tier": "slow"}, "root": {"console": "act"}, "bob": {"server_password": "rotated"}})
                proxy.psql("RELOAD", user="root", database="headgate")
                self.assertNotEqual(rows(bob.ask(query("SELECT pg_backend_pid()"))), before)
            # A signal reloads too: more transactions, and another password for the client.
            right["zones"]["proxy"]["rate_limiters"]["transactions"]["tiers"][1]["quota"] = "1000/1h"
            proxy.write_config(right)
            proxy.write_users({"ann": {"tier": "slow", "verifier": harness.verifier("a new one")}})
            proxy.signal(signal.SIGHUP)
            wait_for("the reload", lambda: "reloaded" in proxy.log.read_text())
            self.assertEqual(rows(c.ask(query("SELECT 2"))), ["2"])
        self.assertEqual(self.refusal(proxy)["C"], "28P01")
        Client(proxy.port, password="a new one").close()

    def test_the_page_answers_to_its_host_names(self):
        proxy = self.start(proxy={"status_host_names": ["status.example.com"]})

        def status_for(host):
            try:
                request = urllib.request.Request(proxy.status + "healthz", headers={"Host": host})
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as e:
                with e:
                    return e.code
        self.assertEqual([status_for(h) for h in ("status.example.com", "localhost", "other.example.com")],
                         [200, 200, 403])

    def test_drain_ends_transactions_first(self):
        proxy = self.start()
        with Client(proxy.port) as busy, Client(proxy.port) as idle:
            self.assertEqual(busy.kinds(query("BEGIN")), "CZ")
            proxy.signal(signal.SIGTERM)
            self.assertEqual(kinds(idle.until_ready()), "E(57P01)closed")
            self.assertEqual(rows(busy.ask(query("SELECT 'still'"))), ["still"])
            self.assertEqual(busy.kinds(query("COMMIT")), "CZ")
            self.assertEqual(kinds(busy.until_ready()), "E(57P01)closed")
        self.assertEqual(proxy.process.wait(20), 0)

    def test_drain_ends_sessions_between_their_transactions(self):
        proxy = self.start(databases={"app": {"pool_mode": "session"}})
        console = Client(proxy.port, user="root", password=harness.PASSWORDS["root"], database="headgate")
        with Client(proxy.port) as c, console:
            self.assertEqual(c.kinds(query("BEGIN")), "CZ")
            proxy.signal(signal.SIGTERM)
            wait_for("the drain", lambda: self.is_closed(proxy.port))
            self.assertEqual(c.kinds(query("COMMIT")), "CZ")
            self.assertEqual(kinds(c.until_ready()), "E(57P01)closed")
            self.assertEqual(proxy.process.wait(4), 0)  # an open console does not delay the drain

    def test_drain_cuts_no_answer_short(self):
        proxy = self.start()
        with Client(proxy.port) as c:
            c.send(query("SELECT repeat('z', 10000) FROM generate_series(1, 3000)"))
            wait_for("the answer to get stuck", lambda: proxy.show("CLIENTS")[0]["state"] == "active")
            proxy.signal(signal.SIGTERM)
            answer = c.until_ready()
            self.assertEqual((len(rows(answer)), answer[-1][0]), (3000, "Z"))
            self.assertEqual(kinds(c.until_ready()), "E(57P01)closed")
        self.assertEqual(proxy.process.wait(20), 0)

    def is_closed(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return False
        except (ConnectionRefusedError, ConnectionResetError):  # reset: it was not accepted before the socket closed
            return True

    def test_a_drain_that_takes_too_long_says_so(self):
        proxy = self.start(proxy={"drain_timeout": "200ms"})
        with Client(proxy.port) as busy:
            self.assertEqual(busy.kinds(query("BEGIN")), "CZ")
            proxy.signal(signal.SIGTERM)
            self.assertEqual(proxy.process.wait(20), 1)

    def test_out_of_descriptors(self):
        proxy = harness.Proxy(harness.document(self.postgres.port), {"ann": {"trust": True}, "root": {"console": "act"}},
                              descriptors=48)
        self.addCleanup(proxy.stop)
        with Client(proxy.port, password="") as here:
            self.assertEqual(rows(here.ask(query("SELECT 1"))), ["1"])
            crowd = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(100)]
            try:
                for _ in range(20):
                    self.assertEqual(rows(here.ask(query("SELECT 1"))), ["1"])
            finally:
                for s in crowd:
                    s.close()
            wait_for("room again", lambda: proxy.psql("SHOW STATS", user="root", database="headgate", check=False).stdout)

    # Numbers ----------------------------------------------------------------------------------------------------------

    def test_two_thousand_idle_clients_and_ten_thousand_connects(self):
        proxy = self.start({"ann": {"trust": True}}, proxy={"max_client_connections": 3000})
        clients = [Client(proxy.port, password="") for _ in range(2000)]
        try:
            self.assertEqual(len(proxy.show("CLIENTS")), 2000)
            for c in clients[::100]:
                self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])
        finally:
            for c in clients:
                c.close()
        wait_for("all are gone", lambda: not proxy.show("CLIENTS"))

        def descriptors():
            return len(os.listdir(f"/proc/{proxy.process.pid}/fd"))
        before = descriptors()
        for _ in range(10_000):
            with socket.create_connection(("127.0.0.1", proxy.port)) as s:
                s.sendall(start_packet({"user": "ann", "database": "app"}))
        wait_for("all are gone", lambda: not proxy.show("CLIENTS"))
        wait_for("their descriptors too", lambda: descriptors() <= before + 2)
        self.assertTrue(all(p["leased"] == "0" and p["waiting"] == "0" for p in proxy.show("POOLS")))
        with Client(proxy.port, password="") as c:
            self.assertEqual(rows(c.ask(query("SELECT 1"))), ["1"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
