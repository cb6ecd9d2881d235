#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Runs a test program beside a PostgreSQL server of its own: run.py PROGRAM [ARGUMENT ...]

The program finds the server's URL in POSTGRES_URL. It may write the name of a command to the descriptor in
POSTGRES_CONTROL. The answer is one byte, when the command is done.
"""

import os
import pathlib
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import private_postgres  # noqa: E402

COMMANDS = ("kill", "start", "freeze", "thaw")


def run(server, command):
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()], env={
            **os.environ, "POSTGRES_URL": server.url, "POSTGRES_CONTROL": str(theirs.fileno())}) as program:
        theirs.close()
        try:
            for line in ours.makefile():
                assert line.strip() in COMMANDS, line
                getattr(server, line.strip())()
                ours.sendall(b".")
            return program.wait()
        finally:
            program.kill()


def main():
    private_postgres.stop_on_termination()
    try:
        with private_postgres.PrivatePostgres() as server:
            return run(server, sys.argv[1:])
    except private_postgres.NotInstalled as e:
        print(f"skipped: {e}", file=sys.stderr)
        return private_postgres.SKIPPED


if __name__ == "__main__":
    sys.exit(main())
