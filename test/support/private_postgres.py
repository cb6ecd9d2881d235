#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""A private PostgreSQL server: in a temporary directory, on a free port of 127.0.0.1, removed afterwards.

  private_postgres.py run -- COMMAND [ARGUMENT ...]

runs COMMAND while such a server runs, with its URL in POSTGRES_URL, and exits as COMMAND does, or with 77 where no
PostgreSQL is installed. As a module:

  with PrivatePostgres() as server:
      print(server.url)
      server.kill()     # as by kill -9
      server.start()
"""

import contextlib
import glob
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

USER, PASSWORD, DATABASE = "headgate", "open-sesame", "postgres"
SKIPPED = 77  # what Meson takes for a skipped test


class NotInstalled(Exception):
    pass


def newest_binaries():
    """The newest /usr/lib/postgresql/*/bin that has a server."""
    found = [pathlib.Path(name).parent for name in glob.glob("/usr/lib/postgresql/*/bin/postgres")]
    if not found:
        raise NotInstalled("no PostgreSQL server in /usr/lib/postgresql/*/bin")
    return max(found, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class PrivatePostgres:
    """Starts when it is made or entered; `stop` or the end of the `with` block removes everything."""

    def __init__(self):
        self.binaries = newest_binaries()
        self.owner = self._owner()
        self.process = None
        self.port = free_port()
        self.room = pathlib.Path(tempfile.mkdtemp(prefix="headgate-postgres-"))
        try:
            if self.owner:
                shutil.chown(self.room, self.owner)
            self._initdb()
            self.start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def url(self):
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def pid(self):
        return self.process.pid

    def start(self, patience=30):
        """Starts the server, and waits until it answers."""
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.room,
                   "fsync": "off", "log_min_messages": "fatal"}
        with open(self.room / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.room / "data", *(f"-c{k}={v}" for k, v in options.items())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_owner())
        end = time.monotonic() + patience
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("PostgreSQL does not start:\n" + (self.room / "log").read_text())
            time.sleep(0.05)

    def restart(self):
        self._end(signal.SIGINT)
        self.start()

    def kill(self):
        """Like kill -9. The server's children notice, and end too."""
        self._end(signal.SIGKILL)
        # The children hold the shared memory for a moment. Until then no other server starts on the same data.
        while self._children():
            time.sleep(0.02)

    def freeze(self):
        """Stops the server and all its processes, until `thaw`."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self):
        self._signal_all(signal.SIGCONT)

    def stop(self):
        """Ends the server, whatever state it is in, and removes its directory."""
        if self.process and self.process.poll() is None:
            self.thaw()
            self._end(signal.SIGINT)
        shutil.rmtree(self.room, ignore_errors=True)

    @staticmethod
    def _owner():
        """PostgreSQL refuses to run as root."""
        if os.getuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name).pw_name
        raise NotInstalled("PostgreSQL refuses to run as root, and there is no user postgres or nobody")

    def _as_owner(self):
        """Arguments for subprocess."""
        common = {"cwd": self.room, "env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}}
        if not self.owner:
            return common
        entry = pwd.getpwnam(self.owner)
        return {**common, "user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _initdb(self):
        secret = self.room / "password"
        secret.write_text(PASSWORD + "\n")
        if self.owner:
            shutil.chown(secret, self.owner)
        subprocess.run([self.binaries / "initdb", "-D", self.room / "data", "-U", USER, "--auth=scram-sha-256",
                        f"--pwfile={secret}", "--no-sync", "--encoding=UTF8"],
                       check=True, stdout=subprocess.DEVNULL, **self._as_owner())

    def _answers(self):
        return subprocess.run([self.binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)],
                              **self._as_owner()).returncode == 0

    def _end(self, how):
        self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _children(self):
        """The server's processes, also those that outlive it: all work in the data directory."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "cwd") == str(self.room / "data"):
                    found.append(int(entry.name))
        return found

    def _signal_all(self, what):
        for pid in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)


def stop_on_termination():
    """Makes SIGTERM end the `with` blocks."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def main():
    if sys.argv[1:3] != ["run", "--"] or len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    stop_on_termination()
    try:
        with PrivatePostgres() as server:
            return subprocess.run(sys.argv[3:], env={**os.environ, "POSTGRES_URL": server.url}).returncode
    except NotInstalled as e:
        print(f"skipped: {e}", file=sys.stderr)
        return SKIPPED


if __name__ == "__main__":
    sys.exit(main())
