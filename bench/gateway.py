"""The gateway beside PostgreSQL as a server of the protocol; see gateway.sh."""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import asyncpg
import psycopg2
import yaml

import engines
import peers
import tpch
from engines import resource
from measuring import growth
from processes import processor_seconds
from served import serving
from table import Table
from wire import Client

LAKEGATE, POSTGRES = "Lakegate", "PostgreSQL"
ROWS = 2_000_000
LARGE = int(os.environ.get("LAKEGATE_BENCH_ROWS", "50000000"))
ROUNDS = 5
TABLES = 3_000
JDBC = pathlib.Path(os.environ["LAKEGATE_BENCH_JDBC"])
# Whole numbers, floats, timestamps and texts: what most results are made of.
MADE = f"""create table wide as select i::int8 as id, i * 1.25::float8 as price,
    timestamp '2024-01-01' + i * interval '1.37 seconds' as at, 'name of row ' || i as name
    from generate_series(1, {ROWS}) i"""
STREAM = f"select value as n, value * 2 as m, 'row ' || value as t from generate_series(1, {LARGE}) t(value)"
# Joins that keep every core busy for long, over the lake's own rows.
JOIN = "select count(*), sum(a.id) from lake.bench.wide a join lake.bench.wide b on a.id % 1000003 = (b.id * 7) % 1000003"
CLIENTS = pathlib.Path("tests/clients")


def median(values: list[float]) -> float:
    return statistics.median(values)


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


class Bench:
    def __init__(self, postgres: int, gateway: tuple[int, int]):
        self.postgres = postgres
        self.process, self.port = gateway
        self.table = Table(LAKEGATE)

    def client(self, who: str) -> Client:
        if who == LAKEGATE:
            return Client(self.port, "bench", "lakegate")
        return Client(self.postgres, "postgres", "postgres")

    def wide(self, who: str) -> str:
        return "lake.bench.wide" if who == LAKEGATE else "wide"

    def rows(self) -> None:
        """Rows a second of each way to ask, and how soon the first comes; they take turns."""
        ways: list[tuple[str, float, Callable[[Client, str], tuple[float, float]]]] = [
            ("binary", 0.9, lambda client, table: client.drained(client.ask_extended, f"select * from {table}", ROWS)),
            ("text", 0.7, lambda client, table: client.drained(client.ask_simple, f"select * from {table}", ROWS)),
            ("COPY csv", 0.8, lambda client, table: client.drained(
                client.ask_simple, f"copy (select * from {table}) to stdout (format csv)", ROWS)),
        ]
        for way, part, ask in ways:
            taken: dict[str, list[tuple[float, float]]] = {LAKEGATE: [], POSTGRES: []}
            for number in range(ROUNDS + 1):
                for who, all_of in taken.items():
                    with contextlib.closing(self.client(who)) as client:
                        one = ask(client, self.wide(who))
                    if number:
                        all_of.append(one)
            seconds = {who: median([whole for whole, _ in all_of]) for who, all_of in taken.items()}
            title = f"{ROWS:,} rows of 4 columns, {way}"
            self.table.add(title, "s", seconds)
            self.table.judge(title, seconds[POSTGRES] / part, f"{part} × PostgreSQL's rows/s")
            title = f"  first byte, {way}"
            self.table.add(title, "ms", {who: median([first for _, first in all_of]) * 1000 for who, all_of in taken.items()})
            self.table.judge(title, 20)

    def memory(self) -> None:
        """Growth while a result goes to clients that read it piece by piece."""
        ways: list[tuple[str, Callable[[], int]]] = [("asyncpg cursor", self.by_asyncpg), ("COPY csv", self.by_copy)]
        if JDBC.exists() and shutil.which("java"):
            ways.append(("JDBC fetch size", self.by_jdbc))
        else:
            print("without JDBC: its driver or Java is missing")
        for way, read in ways:
            begin = time.perf_counter()
            found, rise = growth(self.process, read)
            if found != LARGE:
                raise SystemExit(f"the run is void: {way} read {found} rows, not {LARGE}")
            speed = LARGE / (time.perf_counter() - begin) / 1e6
            title = f"growth of resident memory, {LARGE:,} rows by {way} ({speed:.2f} Mrow/s)"
            self.table.add(title, "MiB", {LAKEGATE: rise})
            self.table.judge(title, 64)

    def by_asyncpg(self) -> int:
        async def read() -> int:
            connection = await asyncpg.connect(host="127.0.0.1", port=self.port, user="bench", database="lakegate")
            rows = 0
            async with connection.transaction():
                cursor = await connection.cursor(STREAM)
                while batch := await cursor.fetch(50_000):
                    rows += len(batch)
            await connection.close()
            return rows

        return asyncio.run(read())

    def by_copy(self) -> int:
        with contextlib.closing(self.client(LAKEGATE)) as client:
            client.drained(client.ask_simple, f"copy ({STREAM}) to stdout (format csv)", LARGE)
        return LARGE

    def by_jdbc(self) -> int:
        command = ["java", "-cp", str(JDBC), "bench/Drain.java", str(self.port), "bench", "lakegate", STREAM]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def waits(self) -> None:
        """Of `select 1`: alone, and while four joins keep the processors busy."""
        alone = {who: self.small(who, 300) for who in (LAKEGATE, POSTGRES)}
        title = "select 1, p50 of 300"
        self.table.add(title, "ms", {who: median(times) for who, times in alone.items()})
        self.table.judge(title, 1)
        done = threading.Event()

        def busy() -> None:
            with contextlib.closing(self.client(LAKEGATE)) as client:
                while not done.is_set():
                    client.simple(JOIN)

        workers = [threading.Thread(target=busy) for _ in range(4)]
        used, begin = processor_seconds(self.process), time.perf_counter()
        for worker in workers:
            worker.start()
        time.sleep(1)
        times = self.small(LAKEGATE, 500)
        busied = (processor_seconds(self.process) - used) / (time.perf_counter() - begin)
        done.set()
        for worker in workers:
            worker.join()
        title = f"select 1 while four joins run on {busied:.1f} cores, p99 of 500"
        self.table.add(title, "ms", {LAKEGATE: percentile(times, 0.99)})
        self.table.judge(title, 20)

    def small(self, who: str, count: int) -> list[float]:
        """Milliseconds of each."""
        times = []
        with contextlib.closing(self.client(who)) as client:
            for number in range(count + 20):
                begin = time.perf_counter()
                client.simple("select 1")
                if number >= 20:
                    times.append((time.perf_counter() - begin) * 1000)
                time.sleep(0.002)
        return times

    def catalog(self) -> None:
        """What tools ask about a database of many tables: every statement of tests/clients, three times each."""
        sys.path.append(str(CLIENTS))
        import protocol

        statements = [one["sql"] for one in json.loads((CLIENTS / "introspection.json").read_text())
                      if not one["params"] and "pg_sleep" not in one["sql"]]
        taken: dict[str, dict[str, float]] = {}
        for who, port, user in ((LAKEGATE, self.port, "bench"), (POSTGRES, self.postgres, "postgres")):
            client = protocol.Client(port, user, "many")
            client.simple("select count(*) from pg_class")
            taken[who] = {}
            for sql in dict.fromkeys(statements):
                times = []
                for _ in range(3):
                    begin = time.perf_counter()
                    failed = any(result.error for result in client.simple(sql))
                    times.append((time.perf_counter() - begin) * 1000)
                if not failed:
                    taken[who][sql] = median(times)
            client.close()
        slowest = max(taken[LAKEGATE], key=taken[LAKEGATE].__getitem__)
        print(f"  slowest: {' '.join(slowest.split())[:300]}")
        count = len(taken[LAKEGATE])
        title = f"what {count} statements of tools take over {TABLES:,} tables, p50"
        self.table.add(title, "ms", {who: median(list(times.values())) for who, times in taken.items()})
        self.table.judge(title, 100)
        title = f"  the slowest of the {count}"
        self.table.add(title, "ms", {who: max(times.values()) for who, times in taken.items()})
        self.table.judge(title, 100)

    def cancel(self) -> None:
        """From a cancel request until the process uses no processor any more."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="bench", dbname="lakegate")
        connection.autocommit = True
        waits = []
        for _ in range(5):
            began = threading.Event()

            def ask() -> None:
                with connection.cursor() as cursor, contextlib.suppress(psycopg2.errors.QueryCanceled):
                    began.set()
                    cursor.execute(JOIN.replace("1000003", "13"))
                    raise SystemExit("the run is void: the query ended by itself")

            asking = threading.Thread(target=ask)
            asking.start()
            began.wait()
            time.sleep(1)
            begin = time.perf_counter()
            connection.cancel()
            asking.join()
            used, since = processor_seconds(self.process), time.perf_counter()
            while True:
                time.sleep(0.05)
                now = processor_seconds(self.process)
                if now - used < 0.011:
                    break
                used, since = now, time.perf_counter()
            waits.append(since - begin)
        connection.close()
        title = "from cancel to idle, at the most of 5"
        self.table.add(title, "s", {LAKEGATE: max(waits)})
        self.table.judge(title, 1)


@contextlib.contextmanager
def loaded() -> Iterator[int]:
    """A PostgreSQL with the rows, and a database of many tables."""
    with peers.empty_postgres() as port:
        with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"create role {tpch.USER} login password '{tpch.PASSWORD}' superuser")
                cursor.execute(MADE)
                cursor.execute("create database many")
                cursor.execute("vacuum (freeze, analyze)")
        with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="many")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute((CLIENTS / "introspection.sql").read_text())
                for first in range(0, TABLES, 100):
                    cursor.execute(";".join(
                        f"create table public.table_{number} (id int primary key, name varchar(50) not null, amount numeric(12,2),"
                        f" at timestamptz, note text, flag boolean, data jsonb, score float8)"
                        for number in range(first, first + 100)))
                cursor.execute("checkpoint")
        yield port


def manifests(postgres: int) -> str:
    secret, source = engines.manifests(postgres, 1)[:2]
    many = json.loads(json.dumps(source))
    many["metadata"]["name"] = many["spec"]["postgres"]["database"] = "many"
    lake = resource("DataSource", "lake", {"lake": {"directory": {}}})
    wide = resource("Export", "wide", {
        "from": {"sourceRef": {"name": "pg"}, "table": {"schema": "public", "name": "wide"}}, "allColumns": {},
        "destination": {"lakeRef": {"name": "lake"}, "schema": "bench", "table": "wide"},
        "schedule": {"cron": "0 0 1 1 *", "runOnCreate": True},
    })
    return yaml.safe_dump_all([secret, source, many, lake, wide])


def main(binary: str, only: list[str]) -> int:
    # The client has a core of its own: the servers have the others, as both are started from here before it is taken.
    with loaded() as postgres, tempfile.TemporaryDirectory(prefix="lakegate-bench-") as folder:
        (pathlib.Path(folder) / "bench.yaml").write_text(manifests(postgres))
        with serving(binary, folder) as (process, port):
            for table in ("lake.bench.wide", "many.sales.orders"):
                engines.await_table(process, port, table)
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
            print(f"loaded; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
            bench = Bench(postgres, (process, port))
            for part in only or ["rows", "memory", "waits", "catalog", "cancel"]:
                getattr(bench, part)()
    print(f"\n{bench.table}\n\nload average at the end {os.getloadavg()[0]:.1f}")
    missed = bench.table.missed()
    if missed:
        print("missed:", *missed, sep="\n  ")
    return len(missed)


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1], sys.argv[2:])))
