"""A client of the Postgres protocol that shows all that a server answers: columns, their types, rows, errors and tags.

Drivers hide some of it (types they convert, what comes before an error), so what compares two servers uses none.
"""

import socket
import struct
from dataclasses import dataclass, field


@dataclass
class Column:
    name: str
    type: int
    typmod: int


@dataclass
class Result:
    """What one statement has answered."""

    columns: list[Column] = field(default_factory=list)
    rows: list[tuple[str | None, ...]] = field(default_factory=list)
    tag: str | None = None
    # SQLSTATE and message.
    error: tuple[str, str] | None = None


class Client:
    def __init__(self, port: int, user: str, database: str):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.reader = self.socket.makefile("rb")
        body = struct.pack("!i", 196608) + f"user\0{user}\0database\0{database}\0\0".encode()
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        failed = [result.error for result in self._results() if result.error]
        if failed:
            raise ConnectionError(failed[0])

    def close(self) -> None:
        self.socket.close()

    def simple(self, sql: str) -> list[Result]:
        """Of each statement in the string."""
        self._send((b"Q", sql.encode() + b"\0"))
        return self._results()

    def extended(self, sql: str, parameters: list[str | None]) -> list[Result]:
        """Of one statement; values and rows in text, types of parameters left to the server."""
        bind = struct.pack("!hh", 0, len(parameters))
        for value in parameters:
            if value is None:
                bind += struct.pack("!i", -1)
            else:
                encoded = value.encode()
                bind += struct.pack("!i", len(encoded)) + encoded
        self._send(
            (b"P", b"\0" + sql.encode() + b"\0" + struct.pack("!h", 0)),
            (b"B", b"\0\0" + bind + struct.pack("!h", 0)),
            (b"D", b"P\0"),
            (b"E", b"\0" + struct.pack("!i", 0)),
            (b"S", b""),
        )
        return self._results()

    def _send(self, *messages: tuple[bytes, bytes]) -> None:
        self.socket.sendall(b"".join(kind + struct.pack("!i", len(body) + 4) + body for kind, body in messages))

    def _results(self) -> list[Result]:
        """Until the server is ready for more."""
        results, current = [], Result()
        while True:
            header = self.reader.read(5)
            if len(header) < 5:
                raise ConnectionError("the server closed the connection")
            kind, length = header[:1], struct.unpack("!i", header[1:])[0]
            body = self.reader.read(length - 4)
            if kind == b"T":
                current.columns = _columns(body)
            elif kind == b"D":
                current.rows.append(_row(body))
            elif kind in (b"C", b"I", b"E"):
                if kind == b"E":
                    current.error = _error(body)
                elif kind == b"C":
                    current.tag = body[:-1].decode()
                results.append(current)
                current = Result()
            elif kind == b"Z":
                return results


def _columns(body: bytes) -> list[Column]:
    columns, position = [], 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        end = body.index(b"\0", position)
        _, _, kind, _, typmod, _ = struct.unpack_from("!ihihih", body, end + 1)
        columns.append(Column(body[position:end].decode(), kind & 0xFFFFFFFF, typmod))
        position = end + 19
    return columns


def _row(body: bytes) -> tuple[str | None, ...]:
    values, position = [], 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        length = struct.unpack_from("!i", body, position)[0]
        position += 4
        if length < 0:
            values.append(None)
        else:
            values.append(body[position : position + length].decode())
            position += length
    return tuple(values)


def _error(body: bytes) -> tuple[str, str]:
    fields = {part[:1]: part[1:].decode() for part in body.split(b"\0") if part}
    return fields.get(b"C", ""), fields.get(b"M", "")
