#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Measures the configuration service with wrk, protected and not: config_service.py DIRECTORY_OF_THE_PROGRAMS OUTPUT

Pairs are interleaved. The ratio is the median of the pairs. Its interval is the 10th to the 90th percentile of the
medians of resampled pairs (bootstrap). JSON goes to OUTPUT, a table to the terminal.
"""
import http.client
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAIRS, SECONDS, CONNECTIONS = 10, 3, 32
PUT = 'wrk.method = "PUT"\nwrk.body = "1"\n'


class Server:
    def __init__(self, program):
        self.directory = tempfile.TemporaryDirectory()
        text = (ROOT / "examples/config_service/config.json").read_text().replace(
            '"database": "config.db"', '"database": "config.db", "log_requests": false', 1)
        config = pathlib.Path(self.directory.name) / "config.json"
        config.write_text(text)
        began = time.monotonic()
        self.process = subprocess.Popen([program, "--config", config, "--data", self.directory.name, "--listen", "127.0.0.1:0"],
                                        cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.port = int(json.loads(self.process.stdout.readline())["url"].rsplit(":", 1)[1].rstrip("/"))
        self.ask("GET", "/v1/config/first")
        self.first_answer_ms = (time.monotonic() - began) * 1000
        time.sleep(1)  # the parsers start
        self.ask("PUT", "/v1/config/shop/price?sync=true", "30")

    def ask(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        c.request(method, path, body, {"Host": "localhost"})
        return c.getresponse().status

    def rate(self, path, script=""):
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as lua:
            lua.write(script + 'wrk.headers["Host"] = "localhost"\n')
            lua.flush()
            said = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", lua.name, f"http://127.0.0.1:{self.port}{path}"],
                                  capture_output=True, text=True, check=True).stdout
        return float(next(line for line in said.splitlines() if line.startswith("Requests/sec")).split()[1])

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.directory.cleanup()


def compare(name, target, ours, baseline):
    pairs = []
    for i in range(PAIRS):
        order = (ours, baseline) if i % 2 == 0 else (baseline, ours)
        got = {f: f() for f in order}
        pairs.append((got[ours], got[baseline]))
    ratios = [a / b for a, b in pairs]
    r = random.Random(1)
    medians = sorted(statistics.median(r.choices(ratios, k=len(ratios))) for _ in range(2000))
    row = {"name": name, "ratio": round(statistics.median(ratios), 3), "low": round(medians[200], 3), "high": round(medians[1800], 3),
           "ours": round(statistics.median(a for a, _ in pairs)), "baseline": round(statistics.median(b for _, b in pairs)), "target": target}
    print("{name:34} {ours:>8}/s {baseline:>8}/s  {ratio:.3f} [{low:.3f}, {high:.3f}]  target {target}".format(**row), flush=True)
    return row


def main():
    programs, output = pathlib.Path(sys.argv[1]), sys.argv[2]
    starts = []
    for _ in range(5):
        s = Server(programs / "config_service")
        try:
            starts.append(s.first_answer_ms)
        finally:
            s.stop()
    rows = [{"name": "start to first answer", "ms": round(statistics.median(starts), 1), "target": "<= 200"}]
    print(f"start to first answer              {rows[0]['ms']} ms  target <= 200")
    bare = Server(programs / "config_service_unprotected")
    ours = Server(programs / "config_service")
    try:
        rows.append(compare("GET in memory, protected / not", ">= 0.95", lambda: ours.rate("/v1/config/shop/price"), lambda: bare.rate("/v1/config/shop/price")))
        rows.append(compare("GET looked up, protected / not", ">= 0.95", lambda: ours.rate("/v1/config/not/there"), lambda: bare.rate("/v1/config/not/there")))
        for _ in range(12):
            ours.ask("PUT", "/v1/config/shop/price", "30")
        rows.append(compare("PUT refused / healthz", ">= 0.95", lambda: ours.rate("/v1/config/shop/price", PUT), lambda: ours.rate("/healthz")))
    finally:
        ours.stop()
        bare.stop()
    pathlib.Path(output).write_text(json.dumps(rows, indent=2))


main()
