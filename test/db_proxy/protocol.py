# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""A client of PostgreSQL's protocol that sends any bytes, also those that no driver would send."""
import base64
import hashlib
import hmac
import os
import socket
import struct

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


def message(kind, payload=b""):
    return kind.encode() + struct.pack("!I", len(payload) + 4) + payload


def text(*parts):
    return b"".join(p.encode() + b"\0" for p in parts)


def query(sql):
    return message("Q", text(sql))


def parse(sql, name=""):
    return message("P", text(name, sql) + b"\0\0")


BIND = message("B", text("", "") + b"\0\0\0\0\0\0")
DESCRIBE = message("D", b"P" + text(""))
EXECUTE = message("E", text("") + b"\0\0\0\0")
SYNC, FLUSH, TERMINATE = message("S"), message("H"), message("X")
COPY_DONE = message("c")


def extended(sql, name=""):
    return parse(sql, name) + BIND + DESCRIBE + EXECUTE


def copy_data(data):
    return message("d", data)


def start_packet(parameters, version=3 << 16):
    body = struct.pack("!I", version) + b"".join(text(k, v) for k, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def error_fields(payload):
    return {f[:1].decode(): f[1:].decode() for f in payload.split(b"\0") if f}


class Closed(Exception):
    pass


class Peer:
    """One end of a connection."""

    def __init__(self, connected):
        self.socket = connected
        self.socket.settimeout(30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def bytes(self, n):
        while len(self.buffer) < n:
            got = self.socket.recv(65536)
            if not got:
                raise Closed()
            self.buffer += got
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def next(self):
        kind, length = struct.unpack("!cI", self.bytes(5))
        return kind.decode(), self.bytes(length - 4)


class Client(Peer):
    """A client. It logs in, unless `login` is false."""

    def __init__(self, port, user="ann", password="ann's password", database="app", login=True, parameters=None):
        super().__init__(socket.create_connection(("127.0.0.1", port), 30))
        self.key = None
        self.parameters = {}
        if login:
            self.send(start_packet({"user": user, "database": database, **(parameters or {})}))
            try:
                self.log_in(password)
            except BaseException:
                self.close()
                raise

    def until_ready(self):
        """All messages up to the next ReadyForQuery, or to the end of the connection."""
        out = []
        while not out or out[-1][0] != "Z":
            try:
                out.append(self.next())
            except (Closed, ConnectionResetError):
                out.append(("closed", b""))
                return out
        return out

    def ask(self, data):
        self.send(data)
        return self.until_ready()

    def kinds(self, data):
        """The types of the answers as one word. An error's SQLSTATE follows its type."""
        return kinds(self.ask(data))

    def log_in(self, password):
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n=,r={nonce}"
        while True:
            kind, payload = self.next()
            if kind == "R":
                (request,) = struct.unpack("!I", payload[:4])
                if request == 10:
                    first = f"n,,{bare}".encode()
                    self.send(message("p", text("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first))
                elif request == 11:
                    server_first = payload[4:].decode()
                    fields = dict(p.split("=", 1) for p in server_first.split(","))
                    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]),
                                                 int(fields["i"]))
                    key = hmac.digest(salted, b"Client Key", "sha256")
                    without_proof = f"c=biws,r={fields['r']}"
                    signed = ",".join([bare, server_first, without_proof]).encode()
                    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
                    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
                    self.send(message("p", f"{without_proof},p={proof}".encode()))
            elif kind == "K":
                self.key = payload
            elif kind == "S":
                name, value = payload.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            elif kind == "E":
                raise Refused(error_fields(payload))
            elif kind == "Z":
                return

    def cancel(self, port, key=None):
        """Sends a CancelRequest on a new connection, and waits until the proxy closes that."""
        with socket.create_connection(("127.0.0.1", port), 30) as s:
            s.sendall(struct.pack("!II", 16, CANCEL_REQUEST) + (key or self.key))
            return s.recv(1)


class Refused(Exception):
    def __init__(self, fields):
        super().__init__(fields)
        self.fields = fields


def kinds(messages):
    return "".join(k + ("(" + error_fields(p)["C"] + ")" if k == "E" else "") for k, p in messages)


def rows(messages):
    """The first column of each DataRow."""
    out = []
    for kind, payload in messages:
        if kind == "D":
            (length,) = struct.unpack("!i", payload[2:6])
            out.append(payload[6:6 + length].decode() if length >= 0 else None)
    return out
