"""Queries over PostgreSQL and MariaDB, asked of Lakegate and of its peers in one run; see relational.sh."""

import collections
import concurrent.futures
import contextlib
import datetime
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import engines
import peers
import questions
import tpch
from engines import DuckDb, Engine, Lakegate, Postgres
from measuring import growth
from processes import memory
from questions import Question, check
from table import Table
from wire import Client

SCALE = float(os.environ.get("LAKEGATE_BENCH_SCALE", "1"))
ROUNDS = 5
# How often a question that takes milliseconds is asked.
ASKED = 200
UNCOUNTED = 5
# And one for which a peer may read a whole table.
FEW = 10
PANELS = 50
# The default of a DataSource's limits.maxConnections.
CONNECTIONS = 4


class Bench:
    def __init__(self, postgres: Postgres, gateway: tuple[int, int], duckdb: DuckDb):
        self.postgres, self.duckdb = postgres, duckdb
        self.process, self.port = gateway
        self.lakegate = Lakegate(self.process, self.port)
        self.raw = Lakegate(self.process, self.port, "set lakegate.pushdown = off")
        self.table = Table(self.lakegate.name)
        # PostgreSQL's answers, which every other is compared with.
        self.right: dict[str, engines.Rows] = {}

    def explain(self) -> None:
        for question in questions.ANALYTIC:
            print(f"\n{question.title}:\n{self.lakegate.explain(question.of(self.lakegate))}", flush=True)
        print(flush=True)

    def timed(self, question: Question, who: Engine, **values: object) -> tuple[float, float]:
        """Asks once: seconds that passed, and of a core that it used. The answer is right, or the run is void."""
        sql = question.of(who, **values)
        used, begin = who.processor() if who.process else 0.0, time.perf_counter()
        rows = who.ask(sql)
        passed = time.perf_counter() - begin
        used = who.processor() - used if who.process else 0.0
        key = f"{question.title} {values}"
        check(who, question, self.right.setdefault(key, rows), rows)
        return passed, used

    def rounds(self, question: Question, who: list[Engine]) -> tuple[dict[str, float], dict[str, float]]:
        """Medians by name of seconds that passed and of a core, after one that does not count; they take turns.
        PostgreSQL must have been asked first."""
        taken = collections.defaultdict(list)
        for number in range(ROUNDS + 1):
            for engine in who:
                one = self.timed(question, engine)
                if number:
                    taken[engine.name].append(one)
        wall = {name: statistics.median(passed for passed, _ in all_of) for name, all_of in taken.items()}
        core = {name: statistics.median(used for _, used in all_of) for name, all_of in taken.items()}
        return wall, core

    def analytic(self, who: list[Engine]) -> None:
        for question in questions.ANALYTIC:
            wall, _ = self.rounds(question, who)
            self.table.add(question.title, "s", wall)
            if self.lakegate not in who:
                continue
            if question is questions.Q1:
                self.table.judge(question.title, 1.1 * wall[self.postgres.name], "1.1 × PostgreSQL")
            else:
                self.table.judge(question.title, wall[self.duckdb.name], "DuckDB")

    def scan(self, who: list[Engine]) -> None:
        wall, core = self.rounds(questions.SCAN, [self.raw if it is self.lakegate else it for it in who])
        core.pop(self.postgres.name, None)
        title, client = "full scan of lineitem, each column decoded here", "  processor of the client meanwhile"
        self.table.add(title, "s", wall)
        if self.lakegate in who:
            self.table.judge(title, wall[self.duckdb.name], "DuckDB")
        self.table.add(client, "s", core)
        if self.lakegate in who:
            self.table.judge(client, 0.8 * core[self.duckdb.name], "0.8 × DuckDB")

    def point(self, question: Question, who: list[Engine], target: float, values: list[dict]) -> None:
        """Milliseconds of the median of many."""
        taken = collections.defaultdict(list)
        # The first do not count: sessions, pools and caches are warm when it is measured.
        warming = values[:UNCOUNTED]
        for number, named in enumerate(warming + values):
            for engine in who:
                passed, _ = self.timed(question, engine, **named)
                if number >= len(warming):
                    taken[engine.name].append(passed * 1000)
        title = f"{question.title}, p50 of {len(values)}"
        self.table.add(title, "ms", {name: statistics.median(times) for name, times in taken.items()})
        if self.lakegate in who:
            self.table.judge(title, target)

    def quick(self, who: list[Engine]) -> None:
        self.point(questions.ONE, who, 1, [{}] * ASKED)
        self.point(questions.POINT, who, 5, [{"key": key} for key in self.keys("o_orderkey from orders", ASKED)])
        three = "o_custkey from orders group by o_custkey having count(*) = 3"
        self.point(questions.THREE, who, 50, [{"customer_key": key} for key in self.keys(three, FEW)])

    def keys(self, what: str, count: int) -> list[int]:
        """A selection that is the same in each run, and in no order that a store keeps."""
        sql = f"select key from (select {what}) t(key) order by md5(key::text) limit {count}"
        return [key for key, in self.postgres.ask(sql)]

    def stream(self) -> None:
        """The whole table to a client that reads and forgets it."""
        rows = self.postgres.ask("select count(*) from lineitem")[0][0]
        everything = f"select * from {engines.POSTGRES}.lineitem"
        client = Client(self.port, "bench", "lakegate")
        for title, read in (
            ("simple, text", lambda: client.simple(everything)),
            ("extended, binary", lambda: client.extended(everything)),
            ("COPY", lambda: self.copy(everything)),
        ):
            before = memory(self.process)["VmRSS"]
            said, rise = growth(self.process, lambda read=read: speed(rows, read))
            title = f"resident at the most, streaming {rows:,} rows ({title}: {said}; {before:.0f} MiB before)"
            self.table.add(title, "MiB", {self.lakegate.name: before + rise})
            self.table.judge(title, 200)
        client.close()

    def copy(self, sql: str) -> tuple[int, int]:
        sink = Sink()
        self.lakegate.cursor.copy_expert(f"copy ({sql}) to stdout", sink)
        return sink.lines, sink.size

    def dashboard(self) -> None:
        """Many panels at once, each a session of its own, while the stores tell who is connected."""
        begins = [datetime.date(1992 + number // 8, number % 8 + 1, 1) for number in range(PANELS)]
        panels = [{"begin": begin, "end": begin + datetime.timedelta(days=90)} for begin in begins]
        for values in panels:
            self.timed(questions.PANEL, self.postgres, **values)

        def panel(values: dict) -> None:
            with contextlib.closing(Lakegate(self.process, self.port)) as session:
                self.timed(questions.PANEL, session, **values)

        begin = time.perf_counter()
        with self.connections() as seen, concurrent.futures.ThreadPoolExecutor(PANELS) as pool:
            list(pool.map(panel, panels))
            passed = time.perf_counter() - begin
        title = f"connections of the store at the most, {PANELS} panels at once ({passed:.1f} s, all answered)"
        self.table.add(title, "", {self.lakegate.name: float(max(seen))})
        self.table.judge(title, CONNECTIONS)

    @contextlib.contextmanager
    def connections(self) -> Iterator[list[int]]:
        """How many of the gateway PostgreSQL counts, again and again. DuckDB has the same user, and is away meanwhile."""
        self.duckdb.close()
        seen, done = [0], threading.Event()

        def watch() -> None:
            with contextlib.closing(Postgres(self.postgres.port)) as session:
                while not done.is_set():
                    sql = f"select count(*) from pg_stat_activity where usename = '{tpch.USER}'"
                    seen.append(session.ask(sql)[0][0])
                    time.sleep(0.005)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            done.set()
            watcher.join()

    def measure(self, only: list[str]) -> None:
        self.explain()
        who = [self.postgres, self.lakegate, self.duckdb]
        parts = {"analytic": lambda: self.analytic(who), "scan": lambda: self.scan(who), "quick": lambda: self.quick(who),
                 "stream": self.stream, "dashboard": self.dashboard}
        for part in only or parts:
            parts[part]()

    def measure_alone(self, other: Engine) -> None:
        """A peer that would take time from the others while it idles."""
        self.analytic([other])
        self.scan([other])
        self.quick([other])


class Sink:
    """Counts what COPY writes into it."""

    def __init__(self) -> None:
        self.lines = self.size = 0

    def write(self, chunk: bytes) -> int:
        self.lines += chunk.count(b"\n")
        self.size += len(chunk)
        return len(chunk)


def speed(rows: int, read: Callable[[], tuple[int, int]]) -> str:
    """Reads all the rows; how fast, in words."""
    begin = time.perf_counter()
    found, size = read()
    seconds = time.perf_counter() - begin
    if found != rows:
        raise questions.Wrong(f"{found} rows were streamed, not {rows}")
    return f"{size / 1e6 / seconds:.0f} MB/s, {rows / seconds / 1e6:.2f} Mrow/s"


def bring_trino() -> tuple[pathlib.Path, str] | None:
    """Where it is and its Java; None, and said why, if there is none."""
    if os.environ.get("LAKEGATE_BENCH_TRINO") == "off":
        print("without Trino: LAKEGATE_BENCH_TRINO is off")
        return None
    brought = subprocess.run(["bash", "bench/trino.sh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if brought.returncode:
        print(f"without Trino: {brought.stderr.strip()}")
        return None
    java, home = brought.stdout.split()
    return pathlib.Path(home), java


def main(binary: str, only: list[str]) -> int:
    trino = bring_trino()
    with (
        peers.empty_postgres() as postgres, peers.empty_mariadb() as (mariadb, mariadb_socket),
        tempfile.TemporaryDirectory(prefix="lakegate-bench-") as scratch,
    ):
        begin = time.perf_counter()
        tpch.load(SCALE, postgres, mariadb_socket)
        print(f"TPC-H at scale {SCALE:g} made and loaded in {time.perf_counter() - begin:.0f} s; "
              f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        with engines.lakegate(binary, pathlib.Path(scratch), postgres, mariadb) as gateway:
            bench = Bench(Postgres(postgres), gateway, DuckDb(postgres, mariadb))
            bench.measure(only)
        if trino:
            with engines.trino(*trino, pathlib.Path(scratch) / "trino", postgres, mariadb) as peer:
                bench.measure_alone(peer)
    print(f"\n{bench.table}\n\nload average at the end {os.getloadavg()[0]:.1f}")
    missed = bench.table.missed()
    if missed:
        print("missed:", *missed, sep="\n  ")
    return len(missed)


try:
    sys.exit(min(1, main(sys.argv[1], sys.argv[2:])))
except questions.Wrong as wrong:
    sys.exit(f"the run is void: {wrong}")
