"""Measurements of a release binary, with peers in the same run; see run.sh."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import peers
from measuring import growth, report, warm
from processes import memory
from wire import Client

QUESTION = """select a.name as destination, count(*) as departures, avg(f.dep_delay) as mean_delay
from {flights} f join {airports} a on a.faa = f.dest
where f.dep_time is not null group by a.name order by departures desc limit 5"""
OURS = QUESTION.format(flights='history."default".flights', airports="reference.main.airports")
THEIRS = QUESTION.format(flights="flights", airports="airports")
STREAMED_ROWS = 10_000_000
STREAM = f"select value as n, value * 2 as m, 'row ' || value as t from generate_series(1, {STREAMED_ROWS}) t(value)"


@contextlib.contextmanager
def serving(binary: str) -> Iterator[tuple[int, int]]:
    """A serve of the flights in a new state directory: its process and its port."""
    with tempfile.TemporaryDirectory() as state:
        port = peers.free_port()
        process = subprocess.Popen(
            [binary, "serve", "examples/flights", "--state-dir", state, "--listen", f"127.0.0.1:{port}",
             "--http", f"127.0.0.1:{peers.free_port()}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process.pid, port
        finally:
            process.terminate()
            process.wait()


def ours(port: int) -> Client:
    return Client(port, "bench", "lakegate")


def first_answer(port: int) -> None:
    """The first query over a store, however early it is asked."""
    while True:
        try:
            with contextlib.closing(ours(port)) as client:
                client.simple("select count(*) from reference.main.airports")
            return
        except (OSError, RuntimeError):
            time.sleep(0.005)


def await_first_run(port: int) -> None:
    with contextlib.closing(ours(port)) as client:
        while True:
            with contextlib.suppress(RuntimeError):
                if client.simple("select 1 from lakegate.exports where last_run = 'Succeeded'")[0]:
                    return
            time.sleep(0.1)


def drain(query: Callable[[str], tuple[int, int]], sql: str) -> str:
    """Streams the large result; its speed in words."""
    begin = time.perf_counter()
    rows, size = query(sql)
    seconds = time.perf_counter() - begin
    assert rows == STREAMED_ROWS, rows
    return f"{size / 1e6 / seconds:.0f} MB/s, {rows / seconds / 1e6:.2f} Mrow/s"


def measure(binary: str) -> None:
    starts = []
    for _ in range(5):
        begin = time.perf_counter()
        with serving(binary) as (_, port):
            first_answer(port)
            starts.append(time.perf_counter() - begin)
    report("start to first answered query", starts, "s", 0.5)

    with serving(binary) as (process, port), peers.postgres() as peer_port:
        await_first_run(port)
        time.sleep(5)
        idle = memory(process)
        parts = f"own memory {idle['RssAnon']:.0f}, mapped files {idle['RssFile']:.0f}"
        report(f"idle RSS after the first run ({parts})", [idle["VmRSS"]], "MiB", 80)

        client = ours(port)
        peer = Client(peer_port, "postgres", "postgres")
        report("the flights question, warm", warm(lambda: client.simple(OURS)), "ms", 150)
        report("  PostgreSQL, both tables in it", warm(lambda: peer.simple(THEIRS)), "ms")
        report("  DuckDB, over the Parquet file", warm(peers.duckdb_question(THEIRS)), "ms")

        rows = f"{STREAMED_ROWS:,} rows"
        for name, query, peer_query in (
            ("simple, text", client.simple, peer.simple),
            ("extended, binary", client.extended, peer.extended),
        ):
            speed, rise = growth(process, lambda query=query: drain(query, STREAM))
            report(f"RSS growth streaming {rows} ({name}; {speed})", [rise], "MiB", 64)
            print(f"  PostgreSQL streams them at {drain(peer_query, STREAM)}", flush=True)


measure(sys.argv[1])
