"""A client of the Postgres protocol that counts what it reads and keeps nothing of it."""

import re
import socket
import struct
import time
from collections.abc import Callable


# ReadyForQuery outside a transaction, and the tag before it.
READY = b"Z\0\0\0\x05I"
COMPLETE = re.compile(rb"C\0\0\0.(?:SELECT|COPY) (\d+)\0" + READY + rb"$", re.DOTALL)


class Client:
    """Simple and extended queries; no password is ever asked for on loopback."""

    def __init__(self, port: int, user: str, database: str):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.buffer = bytearray()
        body = struct.pack("!i", 196608) + f"user\0{user}\0database\0{database}\0\0".encode()
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self._until_ready()

    def close(self) -> None:
        self.socket.close()

    def _until_ready(self) -> tuple[int, int]:
        rows = size = 0
        position = 0
        while True:
            while len(self.buffer) - position >= 5:
                kind = self.buffer[position]
                length = struct.unpack_from("!i", self.buffer, position + 1)[0]
                if len(self.buffer) - position < length + 1:
                    break
                if kind == ord("D"):
                    rows += 1
                    size += length + 1
                elif kind == ord("E"):
                    raise RuntimeError(bytes(self.buffer[position + 5 : position + length + 1]))
                position += length + 1
                if kind == ord("Z"):
                    del self.buffer[:position]
                    return rows, size
            del self.buffer[:position]
            position = 0
            chunk = self.socket.recv(1 << 20)
            if not chunk:
                raise RuntimeError("the server closed the connection")
            self.buffer += chunk

    def simple(self, sql: str) -> tuple[int, int]:
        """Rows and bytes of a text result."""
        self.ask_simple(sql)
        return self._until_ready()

    def extended(self, sql: str) -> tuple[int, int]:
        """Rows and bytes of a binary result."""
        self.ask_extended(sql)
        return self._until_ready()

    def drained(self, ask: Callable[[str], None], sql: str, rows: int) -> tuple[float, float]:
        """Seconds that the result took, and until its first byte. It is not looked at but for its end, so that the server
        is what is measured; the end tells how many rows there were."""
        chunk, tail = bytearray(1 << 20), b""
        begin = time.perf_counter()
        ask(sql)
        size = self.socket.recv_into(chunk)
        first = time.perf_counter() - begin
        while True:
            tail = (tail + bytes(chunk[max(0, size - 64) : size]))[-64:]
            if tail.endswith(READY):
                break
            size = self.socket.recv_into(chunk)
            if not size:
                raise RuntimeError("the server closed the connection")
        found = COMPLETE.search(tail)
        if not found or int(found[1]) != rows:
            raise RuntimeError(f"{rows} rows were asked for, and the answer ends with {tail!r}")
        return time.perf_counter() - begin, first

    def ask_simple(self, sql: str) -> None:
        body = sql.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)

    def ask_extended(self, sql: str) -> None:
        parse = b"\0" + sql.encode() + b"\0" + struct.pack("!h", 0)
        bind = b"\0\0" + struct.pack("!hhhh", 0, 0, 1, 1)
        execute = b"\0" + struct.pack("!i", 0)
        message = b""
        for kind, body in ((b"P", parse), (b"B", bind), (b"E", execute), (b"S", b"")):
            message += kind + struct.pack("!i", len(body) + 4) + body
        self.socket.sendall(message)
