"""Queries over relational stores, with peers in the same run; see relational.sh."""

import contextlib
import datetime
import decimal
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import psycopg2

import peers
import tpch
import trino
from measuring import growth, report, warm
from processes import memory, processor_seconds
from wire import Client

SCALE = os.environ.get("LAKEGATE_BENCH_SCALE", "1")
RUNS = 5
CONNECTIONS = 4
OURS = {table: f"shop.public.{table}" for table in tpch.TABLES}
ACROSS = OURS | {table: f"crm.tpch.{table}" for table in tpch.IN_MARIADB}
THEIRS = {table: table for table in tpch.TABLES}
IN_DUCKDB = {table: f"pg.public.{table}" for table in tpch.TABLES}
DUCKDB_ACROSS = IN_DUCKDB | {table: f"my.{table}" for table in tpch.IN_MARIADB}

Answer = list[tuple[object, ...]]
Ask = Callable[[str], Answer]


class Peer:
    """Somebody who answers queries, and the process that works for it, if that is the client's side of a store."""

    def __init__(self, name: str, ask: Ask, local: dict[str, str], across: dict[str, str] | None, process: int | None):
        self.name, self.ask, self.local, self.across, self.process = name, ask, local, across, process


def source(name: str, spec: str) -> str:
    return f"""apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {{name: {name}}}
spec:
{spec}
    tls: {{mode: Disable}}
    limits: {{maxConnections: {CONNECTIONS}}}
"""


@contextlib.contextmanager
def serving(binary: str, postgres: int, mariadb: int) -> Iterator[tuple[int, int]]:
    """A serve of both stores; its process and its port."""
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory, "manifests")
        folder.mkdir()
        (folder / "shop.yaml").write_text(source("shop", f"""  postgres:
    database: postgres
    primary: {{host: 127.0.0.1, port: {postgres}}}
    credentials: {{secretRef: {{name: shop}}}}"""))
        (folder / "crm.yaml").write_text(source("crm", f"""  mysql:
    database: tpch
    primary: {{host: 127.0.0.1, port: {mariadb}}}
    credentials: {{secretRef: {{name: crm}}}}"""))
        secrets = {"SHOP_USERNAME": "postgres", "SHOP_PASSWORD": "", "CRM_USERNAME": "lakegate", "CRM_PASSWORD": ""}
        port = peers.free_port()
        process = subprocess.Popen(
            [binary, "serve", str(folder), "--state-dir", f"{directory}/state", "--listen", f"127.0.0.1:{port}",
             "--http", f"127.0.0.1:{peers.free_port()}"],
            env=os.environ | {f"LAKEGATE_SECRET_{name}": value for name, value in secrets.items()},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process.pid, port
        finally:
            process.terminate()
            process.wait()


def asking(port: int, database: str, settings: str = "") -> Ask:
    """Asks over the Postgres protocol."""
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname=database)
    connection.autocommit = True
    cursor = connection.cursor()
    if settings:
        cursor.execute(settings)

    def ask(sql: str) -> Answer:
        cursor.execute(sql)
        return cursor.fetchall()

    return ask


def await_stores(port: int) -> None:
    """Until both stores were looked at."""
    deadline = time.monotonic() + 60
    while True:
        try:
            asking(port, "lakegate")("select 1 from shop.public.region, crm.tpch.customer limit 1")
            return
        except psycopg2.Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def same(left: object, right: object) -> bool:
    """Whether two values are one: averages are floats with some, and padding is a matter of the client."""
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(float(left), float(right), rel_tol=1e-9)
    if isinstance(left, str) and isinstance(right, decimal.Decimal):
        # JSON has no exact numbers
        left = decimal.Decimal(left)
    if isinstance(left, str) and isinstance(right, str):
        return left.rstrip() == right.rstrip()
    if isinstance(left, decimal.Decimal) or isinstance(right, decimal.Decimal):
        # averages have as many digits behind the point as their engine computes
        return abs(decimal.Decimal(left) - decimal.Decimal(right)) < decimal.Decimal("1e-9")
    if isinstance(left, datetime.date) or isinstance(right, datetime.date):
        return str(left) == str(right)
    return left == right


def check(peer: str, what: str, answer: Answer, expected: Answer) -> None:
    alike = len(answer) == len(expected) and all(
        len(left) == len(right) and all(map(same, left, right)) for left, right in zip(answer, expected, strict=True))
    if not alike:
        raise SystemExit(f"{peer} answers {what} otherwise than PostgreSQL: {answer[:3]} for {expected[:3]}")


def timed(peer: Peer, sql: str, what: str, expected: Answer) -> tuple[float, float]:
    """Seconds: the median of five runs after one, and of the processor in the peer's process."""
    check(peer.name, what, peer.ask(sql), expected)
    times, processor = [], []
    for _ in range(RUNS):
        before = processor_seconds(peer.process) if peer.process else 0.0
        begin = time.perf_counter()
        answer = peer.ask(sql)
        times.append(time.perf_counter() - begin)
        processor.append((processor_seconds(peer.process) if peer.process else 0.0) - before)
        check(peer.name, what, answer, expected)
    return statistics.median(times), statistics.median(processor)


def verdict(ours: float, theirs: float, factor: float) -> str:
    return f"{ours / theirs:.2f} x, target {factor:g} x: {'within' if ours <= theirs * factor else 'OVER'}"


def compare(what: str, sql: str, all_peers: list[Peer], expected: Answer, target: tuple[str, float] | None,
            across: bool = False, processor: float | None = None) -> None:
    """One line a peer; the target is a peer's name and a factor of its time."""
    figures = {}
    for peer in all_peers:
        tables = peer.across if across else peer.local
        if tables is None:
            continue
        wall, used = figures[peer.name] = timed(peer, sql.format(**tables), what, expected)
        busy = f", {used:.2f} s of processor" if peer.process else ""
        print(f"{what}: {peer.name} {wall * 1000:.0f} ms{busy}", flush=True)
    if target:
        name, factor = target
        print(f"  beside {name}: {verdict(figures['Lakegate'][0], figures[name][0], factor)}", flush=True)
        if processor:
            ratio = verdict(figures["Lakegate"][1], figures[name][1], processor)
            print(f"  processor beside {name}: {ratio}", flush=True)


def dashboard(port: int, postgres: Ask, sql: str) -> int:
    """Fifty queries at once; the most connections that the store saw."""
    most = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            (count,), = postgres("select count(*) from pg_stat_activity where application_name ilike 'lakegate%' and backend_type = 'client backend'")
            most[0] = max(most[0], count)

    watcher = threading.Thread(target=watch)
    watcher.start()
    failures = []

    def query() -> None:
        try:
            asking(port, "lakegate")(sql)
        except psycopg2.Error as error:
            failures.append(str(error))

    clients = [threading.Thread(target=query) for _ in range(50)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    done.set()
    watcher.join()
    if failures:
        raise SystemExit(f"{len(failures)} of 50 queries failed: {failures[0]}")
    return most[0]


def duckdb_peer(postgres: int, mariadb: int) -> Peer:
    connection = tpch.extended("postgres_scanner", "mysql_scanner")
    connection.execute(f"set threads = {os.cpu_count()}")
    connection.execute(f"attach 'host=127.0.0.1 port={postgres} user=postgres dbname=postgres' as pg (type postgres, read_only)")
    connection.execute(f"attach 'host=127.0.0.1 port={mariadb} user=lakegate database=tpch' as my (type mysql, read_only)")
    return Peer("DuckDB", lambda sql: connection.execute(sql).fetchall(), IN_DUCKDB, DUCKDB_ACROSS, os.getpid())


def explain(port: int) -> None:
    ask = asking(port, "lakegate")
    for name, sql in (("q1", tpch.Q1.format(**OURS)), ("q6", tpch.Q6.format(**OURS)), ("top-N", tpch.TOP.format(**OURS)),
                      ("q3 across stores", tpch.Q3.format(**ACROSS))):
        print(f"EXPLAIN of {name}:")
        for row in ask(f"explain {sql}"):
            print("  " + " ".join(map(str, row)).replace("\n", "\n  "))


def measure(binary: str) -> None:
    folder = tpch.files(SCALE)
    with contextlib.ExitStack() as stack:
        postgres_port = stack.enter_context(peers.empty_postgres())
        tpch.fill_postgres(postgres_port, folder)
        mariadb_port = stack.enter_context(tpch.mariadb(folder))
        process, port = stack.enter_context(serving(binary, postgres_port, mariadb_port))
        await_stores(port)
        explain(port)

        postgres = asking(postgres_port, "postgres")
        ours = Peer("Lakegate", asking(port, "lakegate"), OURS, ACROSS, process)
        raw = Peer("Lakegate", asking(port, "lakegate", "set lakegate.pushdown = off"), OURS, ACROSS, process)
        itself = Peer("PostgreSQL", postgres, THEIRS, None, None)
        duck = duckdb_peer(postgres_port, mariadb_port)
        peer_list = [itself, duck]
        peer_list += stack.enter_context(trino.serving(postgres_port, mariadb_port, OURS, ACROSS, Peer))

        def expected(sql: str) -> Answer:
            return postgres(sql.format(**THEIRS))

        for what, sql, target, across in (
            ("q1", tpch.Q1, ("PostgreSQL", 1.1), False),
            ("q6", tpch.Q6, ("DuckDB", 1), False),
            ("top-N", tpch.TOP, ("DuckDB", 1), False),
            ("q3 across stores", tpch.Q3, ("DuckDB", 1), True),
        ):
            compare(what, sql, [ours, *peer_list], expected(sql), target, across)
        compare("full scan, decoded and summed by the engine", tpch.SCAN, [raw, *peer_list], expected(tpch.SCAN),
                ("DuckDB", 1), processor=0.8)

        client = Client(port, "bench", "lakegate")
        report("point lookup, warm pool", warm(lambda: client.simple(tpch.POINT.format(key=7, **OURS))), "ms", 5)
        three = tpch.THREE_KEYS.format(**(OURS | {"customer": ACROSS["customer"]}))
        check("Lakegate", "three keys", ours.ask(three), expected(tpch.THREE_KEYS))
        report("join across stores on three keys", warm(lambda: client.simple(three)), "ms", 50)
        report("select 1", warm(lambda: client.simple("select 1")), "ms", 1)
        most = dashboard(port, postgres, tpch.Q6.format(**OURS))
        print(f"50 queries at once: at most {most} connections to the store; maxConnections {CONNECTIONS}: "
              f"{'held' if most <= CONNECTIONS else 'OVER'}", flush=True)

        with serving(binary, postgres_port, mariadb_port) as (process, port):
            await_stores(port)
            client = Client(port, "bench", "lakegate")
            begin = time.perf_counter()
            rows = []
            _, rise = growth(process, lambda: rows.append(client.simple(f"select * from {OURS['lineitem']}")) or "")
            seconds = time.perf_counter() - begin
            (count, size), = rows
            print(f"select * from lineitem: {count:,} rows in {seconds:.1f} s, {size / 1e6 / seconds:.0f} MB/s, "
                  f"growth {rise:.0f} MiB", flush=True)
            report("RSS at most while it streams", [memory(process)["VmHWM"]], "MiB", 200)


measure(sys.argv[1])
