#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Starts the proxy and a PostgreSQL for it, with generated passwords: demo.py DB_PROXY [PORT [STATUS_PORT]]

Ctrl-C ends both, and removes the temporary directory with their files.
"""
import json
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "test" / "support"))
import private_postgres  # noqa: E402


def user(program, name, password, server_password, **more):
    verifier = subprocess.run([program, "--verifier"], input=password + "\n", text=True, check=True,
                              capture_output=True).stdout.strip()
    return {"name": name, "verifier": verifier, "server_password": server_password, **more}


def write_files(program, directory, server, ports):
    """Copies the configuration beside this file, with other ports. Returns the copy, and a password for each user."""
    passwords = {name: secrets.token_urlsafe(12) for name in ("app", "guest", "admin")}
    text = (HERE / "proxy.json").read_text()
    for setting, value in (('"port": 5432', f'"port": {server.port}'), ("127.0.0.1:6432", f"127.0.0.1:{ports[0]}"),
                           ("127.0.0.1:6480", f"127.0.0.1:{ports[1]}")):
        assert setting in text, setting
        text = text.replace(setting, value)
    config = directory / "proxy.json"
    config.write_text(text)
    users = directory / "users.json"
    users.touch(mode=0o600)
    users.write_text(json.dumps({"mock_secret": secrets.token_urlsafe(24), "users": [
        user(program, "app", passwords["app"], server.password),
        user(program, "guest", passwords["guest"], server.password, tier="guest"),
        user(program, "admin", passwords["admin"], server.password, console="act")]}, indent=2))
    return config, passwords


class Server(private_postgres.PrivatePostgres):
    """A server with the roles and the database of the demo."""

    def __init__(self):
        super().__init__()
        self.password = secrets.token_urlsafe(12)
        commands = [f"CREATE ROLE {name} LOGIN PASSWORD '{self.password}'" for name in ("app", "guest", "admin")]
        for command in [*commands, "CREATE DATABASE app OWNER app"]:
            subprocess.run(["psql", "-Xq", "-c", command, self.url], check=True)


def main():
    if not 2 <= len(sys.argv) <= 4:
        print(__doc__, file=sys.stderr)
        return 2
    program = pathlib.Path(sys.argv[1]).resolve()
    ports = [*sys.argv[2:], *("6432", "6480")[len(sys.argv) - 2:]]
    private_postgres.stop_on_termination()
    try:
        server = Server()
    except private_postgres.NotInstalled as e:
        print(f"db_proxy: {e}", file=sys.stderr)
        return 1
    with server, tempfile.TemporaryDirectory() as directory:
        config, passwords = write_files(program, pathlib.Path(directory), server, ports)
        with subprocess.Popen([program, config], stdout=subprocess.PIPE, text=True) as proxy:
            try:
                line = proxy.stdout.readline()
                if not line:
                    return proxy.wait()
                port, status = line.split()[3].rstrip(","), line.split()[-1]
                at = f"-h 127.0.0.1 -p {port}"
                print(f"""{line.strip()}

Its PostgreSQL is on port {server.port}. In another terminal:
  PGPASSWORD={passwords["app"]} psql {at} -U app app
  PGPASSWORD={passwords["app"]} pgbench {at} -U app -i app
  PGPASSWORD={passwords["app"]} pgbench {at} -U app -S -c 8 -T 30 app
  PGPASSWORD={passwords["guest"]} psql {at} -U guest app       # guest may run 5 transactions in 10 seconds
  PGPASSWORD={passwords["admin"]} psql {at} -U admin headgate  # the console: SHOW POOLS;
  kill -STOP {server.pid}; kill -CONT {server.pid}                       # no new connections to the server; again
and in a browser: {status}
Ctrl-C ends everything.""", flush=True)
                return proxy.wait()
            except KeyboardInterrupt:
                return proxy.wait(40)
            finally:
                if proxy.poll() is None:
                    proxy.terminate()


if __name__ == "__main__":
    sys.exit(main())
