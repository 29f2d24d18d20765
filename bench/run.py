"""Measurements of a release binary; standard library only, over the wire by a small client of its own."""

import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

QUESTION = """select a.name as destination, count(*) as departures, avg(f.dep_delay) as mean_delay
from history."default".flights f join reference.main.airports a on a.faa = f.dest
where f.dep_time is not null group by a.name order by departures desc limit 5"""
STREAMED_ROWS = 10_000_000


class Client:
    """Simple and extended queries over the Postgres protocol; counts rows and bytes, keeps nothing."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.buffer = bytearray()
        body = struct.pack("!i", 196608) + b"user\0bench\0database\0lakegate\0\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self._until_ready()

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
        body = sql.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)
        return self._until_ready()

    def extended(self, sql: str) -> tuple[int, int]:
        parse = b"\0" + sql.encode() + b"\0" + struct.pack("!h", 0)
        # Binary results for all columns.
        bind = b"\0\0" + struct.pack("!hhhh", 0, 0, 1, 1)
        execute = b"\0" + struct.pack("!i", 0)
        message = b""
        for kind, body in ((b"P", parse), (b"B", bind), (b"E", execute), (b"S", b"")):
            message += kind + struct.pack("!i", len(body) + 4) + body
        self.socket.sendall(message)
        return self._until_ready()


def resident(process: int) -> float:
    """MiB of RSS."""
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(binary: str, state: str) -> tuple[subprocess.Popen, int]:
    port = free_port()
    process = subprocess.Popen(
        [binary, "serve", "examples/flights", "--state-dir", state, "--listen", f"127.0.0.1:{port}",
         "--http", f"127.0.0.1:{free_port()}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process, port


def first_answer(port: int) -> None:
    """The first query over a store, however early it is asked."""
    while True:
        try:
            Client(port).simple("select count(*) from reference.main.airports")
            return
        except (OSError, RuntimeError):
            time.sleep(0.005)


def measure(binary: str) -> None:
    starts = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as state:
            begin = time.perf_counter()
            process, port = start(binary, state)
            first_answer(port)
            starts.append(time.perf_counter() - begin)
            process.terminate()
            process.wait()
    report("start to first answered query", starts, "s", 0.5)

    with tempfile.TemporaryDirectory() as state:
        process, port = start(binary, state)
        first_answer(port)
        client = Client(port)
        while True:
            try:
                if client.simple("select 1 from lakegate.exports where last_run = 'Succeeded'")[0]:
                    break
            except RuntimeError:
                pass
            time.sleep(0.1)
        time.sleep(5)
        report("idle RSS after the first run", [resident(process.pid)], "MiB", 80)

        client.simple(QUESTION)
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            client.simple(QUESTION)
            times.append(time.perf_counter() - begin)
        report("the flights question, warm", [value * 1000 for value in times], "ms", 150)

        for name, query in (("simple, text", client.simple), ("extended, binary", client.extended)):
            before = resident(process.pid)
            peak = [before]
            done = threading.Event()

            def watch() -> None:
                while not done.wait(0.02):
                    peak[0] = max(peak[0], resident(process.pid))

            watcher = threading.Thread(target=watch)
            watcher.start()
            begin = time.perf_counter()
            rows, size = query(
                f"select value as n, value * 2 as m, 'row ' || value as t from generate_series(1, {STREAMED_ROWS})")
            seconds = time.perf_counter() - begin
            done.set()
            watcher.join()
            assert rows == STREAMED_ROWS, rows
            report(f"RSS growth streaming {rows:,} rows ({name}; {size / 1e6 / seconds:.0f} MB/s, "
                   f"{rows / seconds / 1e6:.2f} Mrow/s)", [peak[0] - before], "MiB", 64)
        process.terminate()
        process.wait()


def report(what: str, values: list[float], unit: str, target: float) -> None:
    median = statistics.median(values)
    verdict = "within" if median <= target else "OVER"
    print(f"{what}: median {median:.3g} {unit} (min {min(values):.3g}, max {max(values):.3g}, n={len(values)}); "
          f"target {target:g} {unit}: {verdict}", flush=True)


measure(sys.argv[1])
