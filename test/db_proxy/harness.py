# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Starts a proxy, and a PostgreSQL for it, on private ports, and stops both by their own process ids."""
import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import private_postgres  # noqa: E402
from loopback import wait_for  # noqa: E402,F401

try:
    private_postgres.newest_binaries()
except private_postgres.NotInstalled as e:
    print("skipped:", e)
    sys.exit(private_postgres.SKIPPED)

PROGRAM = os.environ.get("DB_PROXY", "")
PASSWORDS = {"ann": "ann's password", "bob": "bob's password", "root": "root's password"}
SERVER_PASSWORD = "on-the-server"


def document(server_port, proxy=None, server=None, databases=None, pool=None, limits=None, breaker=None):
    """A configuration with short times. The arguments replace parts of it."""
    databases = databases or {"app": {}}
    defaults = {"server": "main", "dbname": "app"}
    pools = {"size": 0, "max_overflow": 4, "overflow_ttl": "60s", "max_wait": "5s", "ping_interval": "1s",
             "backoff_min": "50ms", "backoff_max": "200ms", **(pool or {})}
    return {
        "proxy": {"listen": "127.0.0.1:0", "status": "127.0.0.1:0", "users": "users.json", "drain_timeout": "5s",
                  "servers": {"main": {"port": server_port, "login_timeout": "2s", **(server or {})}},
                  "databases": {name: {**defaults, **own} for name, own in databases.items()}, **(proxy or {})},
        "zones": {"proxy": {
            "rate_limiters": {
                "transactions": {"tiers": [{"name": "default", "quota": "1000000/1s"},
                                           *({"name": n, "quota": q} for n, q in (limits or {}).items())]},
                "failed_logins": {"quota": "1000/1m"}},
            "circuit_breakers": {"main": {"consecutive_failures": 2, "reset_timeout": "300ms",
                                          "max_reset_timeout": "600ms", **(breaker or {})}},
            "resource_pools": {name: pools for name in databases}}}}


def verifier(password):
    return subprocess.run([PROGRAM, "--verifier"], input=password + "\n", text=True, check=True,
                          capture_output=True).stdout.strip()


class Proxy:
    """A running proxy. `users` maps the names of users to members that are added to them."""

    def __init__(self, config, users=None, descriptors=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="headgate-test-"))
        self.config_file = self.directory / "proxy.json"
        self.log = self.directory / "log"
        self.write_config(config)
        self.write_users(users or {})
        self.process = None
        self.descriptors = descriptors
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def write_config(self, config):
        self.config_file.write_text(json.dumps(config))

    def write_users(self, more):
        users = []
        for name, password in PASSWORDS.items():
            own = {"name": name, "verifier": verifier(password), "server_password": SERVER_PASSWORD, **more.get(name, {})}
            if own.get("trust"):
                del own["verifier"]
            users.append(own)
        path = self.directory / "users.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"mock_secret": "0123456789abcdef", "users": users}))

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([PROGRAM, str(self.config_file)], stdout=subprocess.PIPE, stderr=log,
                                            text=True, preexec_fn=self.descriptors and self.limit_descriptors)
        line = self.process.stdout.readline()
        assert line.startswith("db_proxy on port"), line + self.log.read_text()
        self.port = int(line.split()[3].rstrip(","))
        self.status = line.split()[-1]

    def limit_descriptors(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

    def url(self, user="ann", database="app"):
        return f"host=127.0.0.1 port={self.port} user={user} dbname={database}"

    def psql(self, *sql, user="ann", database="app", check=True, options=(), env=None, input=None):
        """Runs each command as a statement of its own. Returns psql's output, with the errors in `.stderr`."""
        arguments = [a for s in sql for a in ("-c", s)]
        done = subprocess.run(["psql", "-XqAt", *options, *arguments, self.url(user, database)], text=True, input=input,
                              capture_output=True, timeout=60,
                              env={**os.environ, "PGPASSWORD": PASSWORDS.get(user, ""), **(env or {})})
        if check:
            assert done.returncode == 0, f"psql: {done.returncode}: {done.stderr}\n{self.log.read_text()}"
        return done

    def show(self, what, user="root"):
        """A table of the console, as a list of dictionaries."""
        lines = self.psql("SHOW " + what, user=user, database="headgate", options=["-F\t", "-P", "tuples_only=off",
                                                                                    "-P", "footer=off"]).stdout
        names, *rows = [line.split("\t") for line in lines.splitlines()]
        return [dict(zip(names, row)) for row in rows]

    def signal(self, what):
        self.process.send_signal(what)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process:
            self.process.stdout.close()
            self.process = None
        shutil.rmtree(self.directory, ignore_errors=True)


class Postgres(private_postgres.PrivatePostgres):
    """A server with the database and the roles that the tests use."""

    def __init__(self):
        super().__init__()
        with contextlib.ExitStack() as failed:
            failed.callback(self.stop)
            self.sql("CREATE DATABASE app", *(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{SERVER_PASSWORD}'"
                                              for name in PASSWORDS))
            failed.pop_all()

    def sql(self, *commands, database="postgres"):
        arguments = [a for c in commands for a in ("-c", c)]
        return subprocess.run(["psql", "-XqAt", *arguments, self.url.rsplit("/", 1)[0] + "/" + database], check=True,
                              text=True, capture_output=True, timeout=60).stdout

    def connections(self, user="ann"):
        """How many connections of a user the server has."""
        return int(self.sql(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'"))
