#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Every endpoint and every refusal of the configuration service, as a client sees them."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

from harness import LIMITS, TOKENS, Service, ServiceTest, document, main, wait_for


class Values(ServiceTest):
    def test_put_get_versions_and_durability(self):
        s = self.service()
        first = s.put("shop/price", {"apple": 30}, user="ann")
        self.assertEqual((first.status, first.json()), (202, {"path": "shop/price", "version": 1, "durable": False}))
        self.assertEqual(first.headers["ETag"], '"1"')
        read = s.get("/v1/config/shop/price")
        self.assertEqual((read.status, read.json(), read.headers["X-Config-Durable"]), (200, {"apple": 30}, "false"))
        self.assertEqual(s.post("/v1/sync").json(), {"written": 1, "unsaved": 0})
        self.assertEqual(s.get("/v1/config/shop/price").headers["X-Config-Durable"], "true")
        second = s.put("shop/price?sync=true", 31, user="ann")
        self.assertEqual((second.status, second.json()["version"], second.json()["durable"]), (200, 2, True))
        self.assertEqual(s.get("/v1/config/nothing").code, "not_found")
        self.assertEqual(s.ask("HEAD", "/v1/config/shop/price").headers["ETag"], '"2"')
        s.check_well()

    def test_a_value_comes_back_as_it_was_written(self):
        s = self.service(document(limits={"config_update": "100/1m"}))
        for value in ['12345678901234567890123', '1.10', '"\\u00e9 é"', '{"a": 1, "a": 2}', 'null', '[]', ' {"spaces" :1} ']:
            self.assertEqual(s.put("x?sync=true", value).status, 200)
            self.assertEqual(s.get("/v1/config/x").body, value)
        s.stop()
        s.start()
        self.assertEqual(s.get("/v1/config/x").body, ' {"spaces" :1} ')

    def test_preconditions(self):
        s = self.service()
        self.assertEqual(s.put("x", 1, headers={"If-Match": "*"}).code, "precondition_failed")
        self.assertEqual(s.put("x", 1, headers={"If-None-Match": "*"}).status, 202)
        again = s.put("x", 2, headers={"If-None-Match": "*"})
        self.assertEqual((again.status, again.code, again.json()["version"]), (412, "precondition_failed", 1))
        self.assertEqual(s.put("x", 2, headers={"If-Match": '"7", "8"'}).status, 412)
        self.assertEqual(s.put("x", 2, headers={"If-Match": '"7", W/"1"'}).status, 202)
        unchanged = s.get("/v1/config/x", headers={"If-None-Match": '"2"'})
        self.assertEqual((unchanged.status, unchanged.body), (304, ""))
        self.assertEqual(s.get("/v1/config/x", headers={"If-None-Match": '"1"'}).status, 200)

    def test_delete_and_history(self):
        s = self.service()
        self.assertEqual(s.ask("DELETE", "/v1/config/x").code, "not_found")
        s.put("x", 1, user="ann")
        s.post("/v1/sync")
        s.put("x", 2, user="bob")
        self.assertEqual(s.ask("DELETE", "/v1/config/x", headers={"If-Match": '"1"'}).status, 412)
        self.assertEqual(s.ask("DELETE", "/v1/config/x").json()["version"], 3)
        self.assertEqual(s.get("/v1/config/x").status, 404)
        for _ in range(2):  # before and after the database has all versions
            versions = s.get("/v1/config/x/history").json()["versions"]
            self.assertEqual([(v["version"], v["author"], v.get("value"), v.get("deleted", False)) for v in versions],
                             [(3, "anonymous", None, True), (2, "bob", 2, False), (1, "ann", 1, False)])
            self.assertEqual(s.post("/v1/sync").status, 200)
        self.assertEqual(s.get("/v1/config/x").status, 404)
        self.assertEqual(s.put("x", 4).json()["version"], 4)
        self.assertEqual(s.get("/v1/config/y/history").status, 404)

    def test_list_by_prefix_in_pages(self):
        s = self.service(document(limits={"config_update": "1000/1m"}))
        for i in range(7):
            s.put(f"a/{i}", i)
        s.put("b/0", 0)
        s.post("/v1/sync")
        s.put("a/35", [35])
        s.ask("DELETE", "/v1/config/a/6")
        whole = s.get("/v1/config?prefix=a/").json()
        self.assertEqual([e["path"] for e in whole["entries"]], ["a/0", "a/1", "a/2", "a/3", "a/35", "a/4", "a/5"])
        self.assertEqual([e["path"] for e in whole["entries"] if not e["durable"]], ["a/35"])
        seen, after = [], ""
        while True:
            page = s.get(f"/v1/config?prefix=a/&limit=2&after={after}").json()
            self.assertLessEqual(len(page["entries"]), 2)
            seen += [e["path"] for e in page["entries"]]
            after = page["next"]
            if after is None:
                break
        self.assertEqual(seen, [e["path"] for e in whole["entries"]])
        self.assertEqual(len(s.get("/v1/config").json()["entries"]), 8)
        for wrong in ("limit=0", "limit=1001", "limit=x", "prefix=%C3%A9"):
            self.assertEqual(s.get("/v1/config?" + wrong).status, 400)

    def test_memory_is_bounded_and_versions_go_on(self):
        s = self.service(document(service={"max_entries": 10}, limits={"config_update": "1000/1m"}))
        for turn in (1, 2, 3):
            for i in range(40):
                self.assertEqual(s.put(f"many/{i}", turn).json()["version"], turn)
            self.assertEqual(s.post("/v1/sync").json()["unsaved"], 0)
        self.assertEqual(s.get("/v1/config/many/0").json(), 3)
        self.assertEqual(len(s.get("/v1/config/many/39/history").json()["versions"]), 3)

    def test_the_backlog_is_bounded(self):
        s = self.service(document(service={"max_unsaved": 3}))
        for i in range(3):
            self.assertEqual(s.put("x", i).status, 202)
        full = s.put("x", 4)
        self.assertEqual((full.status, full.code), (503, "backlog_full"))
        s.post("/v1/sync")
        self.assertEqual(s.put("x", 4).status, 202)


class Refusals(ServiceTest):
    def test_the_eleventh_update_of_a_user(self):
        s = self.service()
        granted = [s.put("x", i, user="ann") for i in range(15)]
        self.assertEqual([a.status for a in granted], [202] * 10 + [429] * 5)
        self.assertEqual([a.headers["RateLimit"].split(";")[1] for a in granted[:10]], [f"r={9 - i}" for i in range(10)])
        refused = granted[-1]
        self.assertEqual(refused.headers["Content-Type"], "application/problem+json")
        self.assertEqual((refused.code, refused.json()["status"], refused.json()["title"]), ("rate_limited", 429, "Too Many Requests"))
        self.assertTrue(1 <= int(refused.headers["Retry-After"]) <= 6, refused.headers["Retry-After"])
        self.assertGreater(refused.json()["retry_after_ms"], 0)
        self.assertEqual(refused.headers["RateLimit-Policy"], '"config_update";q=10;w=60')
        self.assertTrue(refused.headers["RateLimit"].startswith('"config_update";r=0;t='))
        self.assertEqual(s.put("x", 1, user="bob").status, 202)
        self.assertEqual(s.get("/v1/config/x", user="ann").status, 200)
        s.check_well()

    def test_the_parser_limit(self):
        s = self.service(document(limits={"ast_parse": "2/1m"}))
        self.assertEqual([s.post("/v1/parse", "x").status for _ in range(3)], [200, 200, 429])

    def test_paths_and_methods(self):
        s = self.service()
        for path in ("", "a//b", "a/", "a/../b", "..", "a/%2e%2e/b", "a/./b", "a%00b", "a%2", "a%zz", "a%C3%A9", "a%20b",
                     "a/" * 17 + "a", "a" * 65):
            self.assertEqual(s.put(path, 1).status, 400, path)
            self.assertEqual(s.put(path, 1).code, "bad_path", path)
        self.assertEqual(s.put("a%2Fb", 1).json()["path"], "a/b")
        self.assertEqual(s.put("%61/c", 1).json()["path"], "a/c")
        for method, path in (("POST", "/v1/config/x"), ("PUT", "/v1/config"), ("GET", "/v1/sync"), ("PUT", "/v1/parse"),
                             ("GET", "/v1/reload"), ("PUT", "/v1/config/x/history"), ("PATCH", "/v1/config/x")):
            answer = s.ask(method, path, "1")
            self.assertEqual((answer.status, answer.code), (405, "method_not_allowed"), (method, path))
            self.assertTrue(answer.headers["Allow"])
        self.assertEqual(s.get("/v1/other").code, "not_found")
        self.assertEqual(s.get("/other").code, "not_found")

    def test_bad_json(self):
        s = self.service()
        for body, position in (('{"a":', 6), ("", 1), ("nul", 4), ("1 2", 3), ('{"a" 1}', 6), ("NaN", 1)):
            answer = s.put("x", body)
            self.assertEqual((answer.status, answer.code), (400, "bad_json"), body)
            self.assertEqual(answer.json()["position"], position, body)
        for body in (b'"\xff"', b'"\xc3"', b"[" * 101 + b"]" * 101, b"[" * 900_000, b'{"a":' * 200_000, b"\xef\xbb\xbf1", b"1\0"):
            answer = s.ask("PUT", "/v1/config/x", body)
            self.assertEqual((answer.status, answer.code), (400, "bad_json"), body[:20])
        self.assertEqual(s.ask("PUT", "/v1/config/x", b"[" * 100 + b"]" * 100).status, 202)
        s.check_well()

    def test_no_number_is_too_large_or_too_small(self):
        s = self.service(document(limits={"config_update": "1000/1m"}))
        for number in ("1e999", "-1e999", "1e-999", "-0", "-0.0e-0", "1E+400", "9" * 400, "-" + "9" * 5000, "0." + "0" * 400 + "1",
                       '[1e999, {"a": -1e99999999999}]'):
            self.assertEqual(s.put("n?sync=true", number).status, 200, number[:20])
            self.assertEqual(s.get("/v1/config/n").body, number)
            self.assertIn('"value": ' + number, s.get("/v1/config/n/history").body)
            self.assertIn('"value": ' + number, s.get("/v1/config?prefix=n").body)
        for wrong in ("1e", "1e+", "01", "-", "-01", "1.", ".5", "+1", "0x1", "Infinity", "-Infinity", "1_000", "1e9.9"):
            self.assertEqual(s.put("n", wrong).code, "bad_json", wrong)

    def test_the_path_history_is_no_path_of_a_value(self):
        s = self.service()
        for path in ("history", "x/history/history", "history/history", "histor%79"):
            self.assertEqual((s.get("/v1/config/" + path).status, s.get("/v1/config/" + path).code), (400, "bad_path"), path)
        self.assertEqual((s.put("history", 1).code, s.ask("DELETE", "/v1/config/history").code), ("bad_path", "bad_path"))
        for path in ("history/x", "History", "history-of-x", "x.history", "/".join(["a"] * 16)):
            self.assertEqual(s.put(path, 1).status, 202, path)
            self.assertEqual(len(s.get(f"/v1/config/{path}/history").json()["versions"]), 1, path)
        self.assertEqual(s.get("/v1/config/history%2Fx%2Fhistory").status, 200)
        self.assertEqual(s.put("x%2Fhistory", 1).status, 405)

    def test_every_answer_has_a_request_id_that_is_in_the_log(self):
        s = self.service()
        seen = [s.put("x", 1), s.get("/nothing"), s.get("/healthz"), s.put("x", "{")]
        ids = [a.headers["X-Request-Id"] for a in seen]
        self.assertEqual(len(set(ids)), 4)
        wait_for("the log", lambda: set(ids) <= {e["request"] for e in s.events("request")})
        line = next(e for e in s.events("request") if e["request"] == ids[0])
        self.assertEqual((line["method"], line["target"], line["status"], line["level"]), ("PUT", "/v1/config/x", 202, "info"))


class Users(ServiceTest):
    def with_users(self, **more):
        return self.service(document(tiers=[("trusted", "1000/1m")], **more),
                            users={"ann": {}, "tess": {"tier": "trusted"}, "root": {"admin": True}})

    def test_tokens(self):
        s = self.with_users()
        self.assertEqual(s.put("x", 1, token=TOKENS["ann"]).status, 202)
        s.post("/v1/sync", token=TOKENS["ann"])
        self.assertEqual(s.get("/v1/config/x/history", token=TOKENS["ann"]).json()["versions"][0]["author"], "ann")
        for wrong in (None, "token-of-anna", "token-of-an", "x" * 5000):
            answer = s.put("x", 1, token=wrong, user="ann")
            self.assertEqual((answer.status, answer.code, answer.headers["WWW-Authenticate"]), (401, "unauthorized", "Bearer"))
        self.assertEqual(s.get("/healthz").status, 200)
        self.assertEqual(s.get("/readyz").status, 200)
        self.assertEqual(s.get("/metrics").status, 401)
        self.assertEqual(s.get("/status.json").status, 401)
        self.assertEqual(s.get("/history.json?parts=1,2,3").status, 401)
        self.assertEqual(s.get("/history.json?parts=1,2,3", token=TOKENS["ann"]).status, 200)
        self.assertEqual(s.get("/status.json", token=TOKENS["ann"]).status, 200)
        self.assertEqual(s.get("/").status, 200)

    def test_failed_tokens_are_limited_by_address(self):
        s = self.with_users(limits={"failed_login": "5/1m"})
        self.assertEqual([s.get("/v1/config", token="guess").status for _ in range(7)], [401] * 5 + [429] * 2)
        # A valid token still gets in, and a request without a token gets 401: many clients may share one address.
        self.assertEqual(s.get("/v1/config", token=TOKENS["ann"]).status, 200)
        self.assertEqual([s.get("/status.json").status for _ in range(7)], [401] * 7)
        self.assertEqual(s.get("/v1/config", headers={"Authorization": "Basic guess"}).status, 401)
        # The limit covers every endpoint that checks a token.
        for method, path in (("GET", "/status.json"), ("GET", "/history.json"), ("GET", "/metrics"), ("POST", "/admin"), ("PUT", "/v1/config/x"), ("POST", "/v1/reload")):
            self.assertEqual(s.ask(method, path, "{}", token="guess").status, 429, path)

    def test_guesses_at_the_page_are_limited_too(self):
        s = self.with_users(limits={"failed_login": "3/1m"})
        self.assertEqual([s.post("/admin", "{}", token="guess").status for _ in range(5)], [401] * 3 + [429] * 2)
        self.assertEqual(s.post("/admin", "{}", token=TOKENS["root"]).status, 400)

    def guess(self, s, **headers):
        return s.get("/v1/config", token="guess", headers={k.replace("_", "-"): v for k, v in headers.items()}).status

    def test_a_trusted_proxy_is_believed_about_its_clients(self):
        s = self.with_users(limits={"failed_login": "2/1h"}, service={"trusted_proxies": ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]})
        self.assertEqual([self.guess(s, X_Forwarded_For="192.0.2.1") for _ in range(3)], [401, 401, 429])
        # The same client, through any number of proxies and in any notation. Addresses before the last untrusted one do not count.
        for value in ("192.0.2.1", "192.0.2.1:4711", "8.8.8.8, 192.0.2.1", "192.0.2.1, 10.1.2.3", " 192.0.2.1 ,fd00::1", "::ffff:192.0.2.1"):
            self.assertEqual(self.guess(s, X_Forwarded_For=value), 429, value)
        for value in ("for=192.0.2.1", "For=\"192.0.2.1:80\";proto=http", "for=8.8.8.8, for=192.0.2.1;by=10.0.0.1", "proto=https;FOR=192.0.2.1"):
            self.assertEqual(self.guess(s, Forwarded=value), 429, value)
        # Other clients have their own limit.
        self.assertEqual(self.guess(s, X_Forwarded_For="192.0.2.2"), 401)
        self.assertEqual(self.guess(s, Forwarded="for=192.0.2.3"), 401)
        # An IPv6 client owns all addresses of its /64.
        self.assertEqual([self.guess(s, X_Forwarded_For=f"2001:db8::{i}") for i in range(1, 4)], [401, 401, 429])
        self.assertEqual(self.guess(s, Forwarded='for="[2001:db8::9]:80"'), 429)
        self.assertEqual(self.guess(s, X_Forwarded_For="2001:db8:0:1::1"), 401)
        # Fields that cannot be read, or that disagree, count for the proxy itself.
        unsure = [self.guess(s, X_Forwarded_For="unknown"), self.guess(s, Forwarded="for=_hidden"), self.guess(s),
                  self.guess(s, X_Forwarded_For="192.0.2.7", Forwarded="for=192.0.2.8"), self.guess(s, X_Forwarded_For="192.0.2.9, nobody")]
        self.assertEqual(unsure, [401, 401, 429, 429, 429])
        self.assertEqual(s.get("/v1/config", token=TOKENS["ann"], headers={"X-Forwarded-For": "192.0.2.1"}).status, 200)
        wait_for("the log", lambda: any(e.get("client") == "192.0.2.2" and e["peer"] == "127.0.0.1" for e in s.events("request")))

    def test_nobody_else_is_believed_about_where_he_comes_from(self):
        s = self.with_users(limits={"failed_login": "2/1h"}, service={"trusted_proxies": ["10.0.0.0/8"]})
        self.assertEqual([self.guess(s, X_Forwarded_For=f"192.0.2.{i}", Forwarded=f"for=192.0.2.{i}") for i in range(4)], [401, 401, 429, 429])

    def test_the_scheme_of_a_token_has_no_case_and_the_token_has(self):
        s = self.with_users()
        for value in ("bearer token-of-ann", "BEARER token-of-ann", "Bearer   token-of-ann", "bEARER\ttoken-of-ann"):
            self.assertEqual(s.get("/v1/config", headers={"Authorization": value}).status, 200, value)
            self.assertEqual(s.get("/status.json", headers={"Authorization": value}).status, 200, value)
        for value in ("token-of-ann", "Bearertoken-of-ann", "Basic token-of-ann", "Bearer TOKEN-OF-ANN", "Bearer"):
            self.assertEqual(s.get("/v1/config", headers={"Authorization": value}).status, 401, value)
        self.assertEqual(s.post("/admin", json.dumps({"action": "pause", "zone": "config", "name": "database"}),
                                headers={"Authorization": "bearer token-of-root"}).status, 200)

    def test_tiers(self):
        s = self.with_users()
        self.assertEqual([s.put("x", i, token=TOKENS["ann"]).status for i in range(11)], [202] * 10 + [429])
        trusted = [s.put("x", i, token=TOKENS["tess"]) for i in range(11)]
        self.assertEqual({a.status for a in trusted}, {202})
        self.assertEqual(trusted[0].headers["RateLimit-Policy"], '"config_update";q=1000;w=60')

    def test_only_an_administrator_acts(self):
        s = self.with_users()
        force = json.dumps({"action": "force_open", "zone": "config", "name": "config_server"})
        self.assertEqual(s.post("/admin", force, token=TOKENS["ann"]).status, 401)
        self.assertEqual(s.post("/v1/reload", token=TOKENS["ann"]).code, "forbidden")
        self.assertEqual(s.post("/v1/reload", token=TOKENS["root"]).status, 200)
        self.assertEqual(s.post("/admin", force, token=TOKENS["root"]).status, 200)
        refused = s.get("/v1/config/x", token=TOKENS["ann"])
        self.assertEqual((refused.status, refused.code), (503, "circuit_open"))

    def test_mistakes_in_the_file_of_users(self):
        s = self.with_users()
        (s.directory / "users.json").write_text(json.dumps({"users": [{"name": "a b", "sha256": "12"}, {"tier": "gold", "x": 1}]}))
        answer = s.post("/v1/reload", token=TOKENS["root"])
        self.assertEqual(answer.status, 422)
        self.assertEqual(sorted(p["pointer"] for p in answer.json()["problems"]),
                         ["/users/0/name", "/users/0/sha256", "/users/1", "/users/1", "/users/1/tier", "/users/1/x"])
        self.assertEqual(s.put("x", 1, token=TOKENS["ann"]).status, 202)

    def test_without_users_only_this_machine_and_no_page_of_another_site(self):
        s = self.service()
        self.assertTrue(s.events("open_to_all"))
        for host in ("evil.example", "127.0.0.1.evil.example", f"evil.example:{s.port}", "", "user@localhost", "localhost:x", "::1", "0.0.0.0"):
            self.assertEqual(s.get("/v1/config", headers={"Host": host}).code, "wrong_host", host)
        for host in (f"localhost:{s.port}", "localhost", f"[::1]:{s.port}", "LOCALHOST", "LocalHost.:1", "127.0.0.2", "[0:0::1]"):
            self.assertEqual(s.get("/v1/config", headers={"Host": host}).status, 200, host)
        for origin in ("http://evil.example", "null", f"https://127.0.0.1:{s.port}", "http://127.0.0.1.evil.example"):
            self.assertEqual(s.put("x", 1, headers={"Origin": origin}).code, "cross_origin", origin)
            self.assertEqual(s.post("/admin", "{}", headers={"Origin": origin}).code, "cross_origin", origin)
        # Another port of this machine is another site.
        for origin in ("http://localhost", "http://127.0.0.1:1", "http://localhost:80", f"http://localhost:{s.port}/", f"http://user@localhost:{s.port}"):
            self.assertEqual(s.put("x", 1, headers={"Origin": origin}).code, "cross_origin", origin)
        self.assertEqual(s.put("x", 1, headers={"Origin": f"http://127.0.0.1:{s.port}"}).status, 202)
        self.assertEqual(s.put("x", 1, headers={"Origin": "http://localhost:7777", "Host": "localhost:7777"}).status, 202)  # a tunnel
        self.assertEqual(s.put("x", 1, user="a b").code, "bad_user")

    def test_without_users_it_listens_on_loopback_only(self):
        s = self.service()
        ended = subprocess.run([s.program, "--config", s.config_file, "--data", s.directory, "--listen", "0.0.0.0:0"],
                               capture_output=True, text=True, timeout=10)
        self.assertEqual(ended.returncode, 1)
        self.assertIn("loopback", ended.stderr)


class Configuration(ServiceTest):
    def test_reload_by_signal_and_by_request(self):
        s = self.service()
        for i in range(10):
            s.put("x", i, user="ann")
        self.assertEqual(s.put("x", 1, user="ann").status, 429)
        s.write_config(document(limits={"config_update": "20/1m"}))
        s.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: s.events("reloaded"))
        # Twice as much is allowed, and half of it is used.
        self.assertEqual([s.put("x", i, user="ann").status for i in range(12)].count(202), 10)
        s.write_config(document(limits={"config_update": "1000/1m"}))
        self.assertEqual(s.post("/v1/reload").json(), {"reloaded": True})
        self.assertEqual(s.put("x", 1, user="ann").headers["RateLimit-Policy"], '"config_update";q=1000;w=60')

    def test_a_bad_document_is_refused_with_all_of_its_mistakes(self):
        s = self.service()
        wrong = document()
        wrong["service"]["sync_interval"] = "soon"
        wrong["service"]["max_bodi"] = 1
        wrong["service"]["trusted_proxies"] = ["10.0.0.1", "10.0.0.1/8"]
        wrong["zones"]["config"]["circuit_breakers"]["database"]["probes"] = 0
        wrong["zones"]["parser"]["rate_limiters"] = {}
        s.write_config(wrong)
        answer = s.post("/v1/reload")
        self.assertEqual((answer.status, answer.code), (422, "invalid_config"))
        pointers = {p["pointer"] for p in answer.json()["problems"]}
        expected = {"/service/sync_interval", "/service/max_bodi", "/service/trusted_proxies", "/zones/config/circuit_breakers/database/probes"}
        self.assertEqual(pointers & expected, expected)
        s.write_config("{")
        self.assertIn("no JSON", s.post("/v1/reload").json()["problems"][0]["found"])
        s.config_file.unlink()
        self.assertEqual(s.post("/v1/reload").status, 422)
        for name, other in (("database", "other.db"), ("parser_output", 4096), ("max_entries", 7)):
            s.write_config(document(service={name: other}))
            self.assertEqual([p["pointer"] for p in s.post("/v1/reload").json()["problems"]], ["/service/" + name])
        self.assertEqual(s.put("x", 1).status, 202)
        s.check_well()

    def test_what_cannot_start_says_why(self):
        s = self.service()
        taken = f"127.0.0.1:{s.port}"
        missing = document()
        del missing["zones"]["config"]["bulkheads"]
        for config, arguments, says in ((document(), ["--listen", taken], "in use"), (document(), ["--listen", "here"], "address and a port"),
                                        (missing, [], "sync"), ("{", [], "no JSON"),
                                        (document(), ["--users", "/nothing"], "/nothing"),
                                        (document(), ["--database", "postgresql://h:x/"], "port")):
            s.write_config(config)
            ended = subprocess.run([s.program, "--config", s.config_file, "--data", s.directory] + arguments,
                                   capture_output=True, text=True, timeout=10)
            self.assertEqual(ended.returncode, 1, ended.stderr)
            self.assertIn(says, ended.stderr)
        self.assertEqual(subprocess.run([s.program], capture_output=True).returncode, 2)


class Parser(ServiceTest):
    def test_source_in_tree_out(self):
        s = self.service()
        tree = s.post("/v1/parse", "x = 1").json()["tree"]
        self.assertEqual((tree["type"], tree["body"][0]["type"]), ("Module", "Assign"))
        wrong = s.post("/v1/parse", "x = (")
        self.assertEqual((wrong.status, wrong.code, wrong.json()["line"], wrong.json()["column"]), (422, "syntax_error", 1, 5))
        self.assertEqual(s.ask("POST", "/v1/parse", b"\xff").code, "bad_utf8")
        s.check_well()

    def worker(self, text, timeout="10s"):
        """A service whose workers report that they are ready, then run this Python for each question; `line` is the question."""
        script = ("import json, os, sys, time\nprint('{\"ready\": true}', flush=True)\nfor line in sys.stdin:\n"
                  "    tree = json.dumps({'id': json.loads(line)['id'], 'tree': {}})\n" +
                  "".join("    " + one + "\n" for one in text.splitlines()))
        return self.service(document(service={"parser_command": [sys.executable, "-c", script], "parser_timeout": timeout,
                                              "parser_output": 4096}))

    def test_a_worker_that_hangs_is_killed_at_its_deadline(self):
        s = self.worker("if 'hang' in line: time.sleep(60)\nprint(tree, flush=True)", timeout="1s")
        before = set(s.workers())
        began = time.monotonic()
        answer = s.post("/v1/parse", "hang")
        self.assertEqual((answer.status, answer.code), (504, "timed_out"))
        self.assertLess(time.monotonic() - began, 5)
        wait_for("it is replaced", lambda: set(s.workers()) != before)
        self.assertEqual(s.post("/v1/parse", "well").status, 200)
        s.check_well()

    def test_a_worker_that_dies_writes_garbage_or_too_much_is_replaced(self):
        s = self.worker("if 'die' in line: os._exit(1)\nif 'long' in line: print('x' * 100_000, flush=True)\n"
                        "print('garbage' if 'garbage' in line else tree, flush=True)\nif 'twice' in line: print(tree.replace('{}', '[]'), flush=True)")
        for source, code in (("die", "parser_died"), ("garbage", "parser_garbage"), ("long", "parser_output_too_large")):
            for _ in range(3):
                answer = s.post("/v1/parse", source)
                self.assertEqual((answer.status, answer.code), (502, code))
                self.assertEqual(s.post("/v1/parse", "well").json(), {"tree": {}})
        # The service must never take a surplus answer for the answer to the next question.
        for source in ("twice", "well", "well") * 4:
            answer = s.post("/v1/parse", source)
            self.assertTrue(answer.json() == {"tree": {}} or answer.code == "parser_garbage", answer.body)
        s.workers()
        s.check_well()

    def test_a_worker_at_its_limit_of_memory(self):
        s = self.service(document(service={"parser_memory": 100 << 20, "max_body": 4 << 20, "parser_timeout": "20s"}))
        answer = s.post("/v1/parse", "[" + "1," * 1_000_000 + "]", timeout=30)
        self.assertEqual((answer.status, answer.code), (502, "parser_died"))
        self.assertEqual(s.post("/v1/parse", "x").status, 200)
        s.check_well()

    def test_workers_killed_under_load(self):
        s = self.service(document(limits={"ast_parse": "100000/1m"}))
        answers, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                answers.append(s.post("/v1/parse", "x = 1").status)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for t in threads:
            t.start()
        for round in range(1, 7):
            wait_for("answers", lambda: answers.count(200) >= 10 * round, 60)
            s.kill_a_worker()
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(set(answers) - {200, 502, 503}, set())
        wait_for("it parses again", lambda: s.post("/v1/parse", "x").status == 200)
        s.check_well()

    def test_no_process_is_left(self):
        s = self.service()
        s.post("/v1/parse", "x")
        children = s.workers()
        s.stop()

        def gone():
            return all(not os.path.exists(f"/proc/{c}") for c in children)
        wait_for("the workers are gone", gone)


class Pages(ServiceTest):
    def test_status_pages(self):
        s = self.service()
        self.assertIn("<title>headgate</title>", s.get("/").body)
        self.assertIn('headgate_rate_limiter_granted_total{zone="config",name="config_update"}', s.get("/metrics").body)
        self.assertEqual({z["name"] for z in s.get("/status.json").json()["zones"]}, {"config", "parser"})
        self.assertEqual(s.get("/healthz").body, "ok\n")

    def test_the_demonstration_breaks_and_heals(self):
        s = self.service(arguments=["--demo"], config=document(limits={"ast_parse": "1000/1m"}))
        run = lambda name: s.post("/admin", json.dumps({"action": "run", "name": name}))
        self.assertEqual(s.get("/status.json").json()["actions"], ["Break the database", "Heal the database"])
        wait_for("the limiter at work", lambda: s.primitive("rate_limiter", "config_update")["refused"] > 0)
        self.assertEqual(run("Break the database").status, 200)
        wait_for("the breaker opens", lambda: s.primitive("circuit_breaker", "config_server")["state"] == "open")
        refused = wait_for("a refusal", lambda: (lambda a: a.status == 503 and a)(s.get("/v1/config/lost/elsewhere")))
        self.assertIn(refused.code, ("circuit_open", "connect_failed", "database_error"))
        self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
        self.assertEqual(run("Heal the database").status, 200)
        wait_for("it closes", lambda: s.primitive("circuit_breaker", "config_server")["state"] == "closed")
        wait_for("it answers", lambda: s.get("/v1/config/lost/elsewhere").status == 404)


if __name__ == "__main__":
    main()
