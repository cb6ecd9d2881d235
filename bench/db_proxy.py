#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Compares the PostgreSQL proxy with PgBouncer on one PostgreSQL: db_proxy.py DB_PROXY OUTPUT [PAIRS [SECONDS]]

Pairs are interleaved. A ratio is the median of the pairs. Its interval is the 10th to the 90th percentile of the medians
of resampled pairs (bootstrap). JSON goes to OUTPUT, a table to the terminal. Needs pgbouncer, strace, psql and pgbench.
"""
import json
import os
import pathlib
import pwd
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test" / "db_proxy"), str(ROOT / "test" / "support")]
os.environ["DB_PROXY"] = sys.argv[1]
import harness  # noqa: E402
import private_postgres  # noqa: E402
from protocol import Client, query  # noqa: E402

PAIRS, SECONDS, CLIENTS = int((sys.argv[3:4] or [15])[0]), int((sys.argv[4:5] or [3])[0]), 8
TICK = os.sysconf("SC_CLK_TCK")


class PgBouncer:
    """A PgBouncer with the same modes and bounds as the proxy of this benchmark."""

    def __init__(self, server_port):
        self.directory = tempfile.TemporaryDirectory()
        room = pathlib.Path(self.directory.name)
        self.port = private_postgres.free_port()
        verifier = harness.verifier(harness.PASSWORDS["ann"])
        (room / "users.txt").write_text(f'"ann" "{verifier}"\n"bob" "{harness.SERVER_PASSWORD}"\n')
        (room / "pgbouncer.ini").write_text(f"""[databases]
app = host=127.0.0.1 port={server_port} dbname=app user=bob
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {room}/users.txt
pool_mode = transaction
default_pool_size = {CLIENTS}
max_client_conn = 3000
log_connections = 0
log_disconnections = 0
logfile = {room}/log
""")
        as_owner = {}
        if os.getuid() == 0:  # PgBouncer refuses to run as root
            entry = pwd.getpwnam("nobody")
            for path in [room, *room.iterdir()]:
                os.chown(path, entry.pw_uid, entry.pw_gid)
            as_owner = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self.process = subprocess.Popen(["/usr/sbin/pgbouncer", "-q", str(room / "pgbouncer.ini")],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_owner)
        harness.wait_for("pgbouncer", lambda: self.process.poll() is None and answers(self.port))

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.directory.cleanup()


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def cpu(pid):
    """User and system seconds of a process and its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICK, int(fields[12]) / TICK


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def pgbench(port, *options, user="ann", seconds=SECONDS):
    """The number of transactions, and the transactions a second."""
    done = subprocess.run(["pgbench", "-n", "-S", "-c", str(CLIENTS), "-T", str(seconds), *options, "-h", "127.0.0.1", "-p", str(port),
                           "-U", user, "app"], env={**os.environ, "PGPASSWORD": harness.PASSWORDS[user]}, text=True,
                          capture_output=True, timeout=seconds + 60)
    assert done.returncode == 0, done.stderr
    return (int(re.search(r"actually processed: (\d+)", done.stdout)[1]), float(re.search(r"tps = ([\d.]+)", done.stdout)[1]))


def measure(proxy, *options, user="ann"):
    """The throughput, and the proxy's microseconds of CPU for one transaction: in all, and in user mode only."""
    before = cpu(proxy.process.pid)
    count, rate = pgbench(proxy.port, *options, user=user)
    used = [b - a for a, b in zip(before, cpu(proxy.process.pid))]
    return {"rate": rate, "cpu": sum(used) / count * 1e6, "user": used[0] / count * 1e6}


def pairs(ours, theirs):
    out = []
    for i in range(PAIRS):
        order = (ours, theirs) if i % 2 == 0 else (theirs, ours)
        got = {f: f() for f in order}
        out.append((got[ours], got[theirs]))
    return out


def compare(rows, name, target, measured, what, digits=1):
    values = [(a[what], b[what]) for a, b in measured]
    ratios = [a / b for a, b in values]
    r = random.Random(1)
    medians = sorted(statistics.median(r.choices(ratios, k=len(ratios))) for _ in range(2000))
    row = {"name": name, "ratio": round(statistics.median(ratios), 3), "low": round(medians[200], 3), "high": round(medians[1800], 3),
           "ours": round(statistics.median(a for a, _ in values), digits),
           "theirs": round(statistics.median(b for _, b in values), digits), "target": target}
    rows.append(row)
    print("{name:44} {ours:>9} {theirs:>9}  {ratio:.3f} [{low:.3f}, {high:.3f}]  target {target}".format(**row), flush=True)


def note(rows, name, target, ours, theirs=""):
    rows.append({"name": name, "ours": ours, "theirs": theirs, "target": target})
    print(f"{name:44} {ours:>9} {theirs:>9}  target {target}", flush=True)


def calls(proxy, *options, user="ann"):
    """System calls of the proxy for one transaction."""
    with tempfile.NamedTemporaryFile("r") as out:
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out.name, "-p", str(proxy.process.pid)], stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        count, _ = pgbench(proxy.port, *options, user=user)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        total = next(line for line in out.read().splitlines() if line.endswith("total"))
    return round(int(total.split()[3 if len(total.split()) > 5 else 2]) / count, 2)


def error_ms(client):
    """Milliseconds from a query to its error, on an open connection."""
    begin = time.monotonic()
    answer = client.ask(query("SELECT 1"))
    assert any(kind == "E" for kind, _ in answer), answer
    return (time.monotonic() - begin) * 1000


def success_ms(client):
    """Milliseconds until a query succeeds."""
    begin = time.monotonic()
    while any(kind == "E" for kind, _ in client.ask(query("SELECT 1"))):
        assert time.monotonic() - begin < 30
        time.sleep(0.005)
    return round((time.monotonic() - begin) * 1000, 1)


def main():
    rows = []
    with harness.Postgres() as postgres:
        subprocess.run(["pgbench", "-i", "-q", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "ann", "app"], check=True,
                       capture_output=True, env={**os.environ, "PGPASSWORD": harness.SERVER_PASSWORD})
        config = harness.document(postgres.port, pool={"max_overflow": CLIENTS}, proxy={"max_client_connections": 3000},
                                  breaker={"consecutive_failures": 3, "reset_timeout": "500ms", "max_reset_timeout": "1s"})
        bouncer = PgBouncer(postgres.port)
        proxy = harness.Proxy(config, {"bob": {"limited": False}})
        try:
            for mode in ("simple", "extended"):
                got = pairs(lambda: measure(proxy, "-M", mode), lambda: measure(bouncer, "-M", mode))
                compare(rows, f"CPU a transaction, us, {mode}", "<= 1.0", got, "cpu")
                compare(rows, f"transactions a second, {mode}", ">= 1.0", got, "rate", 0)
            got = pairs(lambda: measure(proxy, "-C"), lambda: measure(bouncer, "-C"))
            compare(rows, "transactions a second, -C", ">= 1.0", got, "rate", 0)
            note(rows, "system calls a transaction, simple", "<= 5.1", calls(proxy, "-M", "simple"), calls(bouncer, "-M", "simple"))
            note(rows, "system calls a transaction, extended", "<= 5.1", calls(proxy, "-M", "extended"), calls(bouncer, "-M", "extended"))
            got = pairs(lambda: measure(proxy), lambda: measure(proxy, user="bob"))
            compare(rows, "user CPU us, limits on / off", "+ <= 0.5 us", got, "user", 2)
            for one in (proxy, bouncer):
                one.clients = [Client(one.port) for _ in range(1000)]
            note(rows, "MB resident with 1,000 idle clients", "<= 10", round(resident(proxy.process.pid), 1),
                 round(resident(bouncer.process.pid), 1))
            for one in (proxy, bouncer):
                for client in one.clients:
                    client.close()
            with Client(proxy.port) as c:
                c.ask(query("SELECT 1"))
                postgres._end(signal.SIGINT)
                note(rows, "server closed or breaker open: ms to an error", "<= 5", round(max(error_ms(c) for _ in range(50)), 2))
                time.sleep(2)  # the breaker has doubled its pause
                postgres.start()
                note(rows, "server back: ms to the first success", "<= 1000", success_ms(c))
        finally:
            proxy.stop()
            bouncer.stop()
    pathlib.Path(sys.argv[2]).write_text(json.dumps(rows, indent=2))


main()
