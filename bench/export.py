"""Exports from PostgreSQL by Lakegate and by its peers in one run; see export.sh."""

import collections
import contextlib
import dataclasses
import decimal
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
from collections.abc import Iterator

import duckdb
import psycopg2
import yaml

import engines
import peers
import tpch
from engines import resource
from questions import Wrong
from served import serving
from table import Table

SCALE = float(os.environ.get("LAKEGATE_BENCH_SCALE", "1"))
ROUNDS = int(os.environ.get("LAKEGATE_BENCH_ROUNDS", "5"))
LATENCY = 20
KEY = {"keyRef": {"name": "pii", "key": "hmac"}}
# A run without a serve has no Secret manifests.
os.environ |= {
    "LAKEGATE_SECRET_STORES_USERNAME": tpch.USER, "LAKEGATE_SECRET_STORES_PASSWORD": tpch.PASSWORD,
    "LAKEGATE_SECRET_BUCKET_ACCESSKEYID": "bench", "LAKEGATE_SECRET_BUCKET_SECRETACCESSKEY": "bench-secret",
    "LAKEGATE_SECRET_PII_HMAC": "an example key, that nobody else has",
}
DUCKDB, CONNECTORX = f"DuckDB {duckdb.__version__}", "ConnectorX + PyArrow"

# Each column by the type it must have.
TYPES = {
    "l_orderkey": "bigint", "l_partkey": "int", "l_suppkey": "int", "l_linenumber": "int", "l_quantity": "decimal(15,2)",
    "l_extendedprice": "decimal(15,2)", "l_discount": "decimal(15,2)", "l_tax": "decimal(15,2)", "l_returnflag": "varchar",
    "l_linestatus": "varchar", "l_shipdate": "date", "l_commitdate": "date", "l_receiptdate": "date",
    "l_shipinstruct": "varchar", "l_shipmode": "varchar", "l_comment": "varchar",
}


# Sums of what is there before any cast, and a digest of all values that does not depend on the order of rows.
DIGEST = ("select count(*), sum(l_quantity), sum(l_extendedprice), sum(l_discount), sum(l_tax), max(length(l_comment)), "
          f"sum(hash({', '.join(f'{name}::{kind}' for name, kind in TYPES.items())})::hugeint) from ")


@dataclasses.dataclass(frozen=True)
class Taken:
    """By one export: seconds, seconds of a core, MiB resident at the most, bytes of files."""

    wall: float
    processor: float
    peak: float
    size: float
    # Of the process of the run and its worker together, what both map counted once.
    together: float = 0


def finished(command: list[str | pathlib.Path]) -> tuple[Taken, str]:
    """Runs it; what it took with all its children, and what it printed."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], sum(map(proportional, [process.pid, *children(process.pid)])))

    watcher = threading.Thread(target=watch)
    watcher.start()
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}: {printed}")
    return Taken(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, 0, peak[0]), printed


def children(process: int) -> list[int]:
    found = pathlib.Path("/proc").glob(f"{process}/task/*/children")
    with contextlib.suppress(OSError):
        return [int(child) for tasks in found for child in tasks.read_text().split()]
    return []


def proportional(process: int) -> float:
    """MiB resident, of what several map each its part."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0


def export(name: str, lake: str, table: str, columns: list[dict] | None = None, cpu: int | None = None) -> dict:
    """`columns`: all without."""
    spec = {
        "from": {"sourceRef": {"name": "pg"}, "table": {"schema": "public", "name": table}},
        "destination": {"lakeRef": {"name": lake}, "schema": "bench", "table": name},
        "retry": {"limit": 0},
        **({"columns": columns} if columns else {"allColumns": {}}),
    }
    if cpu:
        spec |= {"parallelism": cpu, "resources": {"limits": {"cpu": str(cpu)}}}
    return resource("Export", name, spec)


def columns(*masked: str) -> list[dict]:
    """Those of lineitem and one more, in which each value is another."""
    line = {"as": "line", "expression": "l_orderkey * 8 + l_linenumber"}
    return [({"name": name} if name in TYPES else line) | ({"mask": {"hmac": KEY}} if name in masked else {})
            for name in [*TYPES, "line"]]


class Lakegate:
    """Runs of a folder of Exports, each begun and ended with a `lakegate run` of its own; nothing else is up."""

    def __init__(self, binary: str, directory: pathlib.Path, postgres: int, bucket: int):
        self.binary, self.state, self.folder = binary, directory / "state", directory / "manifests"
        self.lakes = {"lake": directory / "lake"}
        self.folder.mkdir()
        s3 = {"bucket": "lake", "region": "us-east-1", "endpoint": f"http://127.0.0.1:{bucket}", "pathStyle": True,
              "credentials": {"secretRef": {"name": "bucket"}}}
        objects = [
            engines.manifests(postgres, 1)[1],
            resource("DataSource", "lake", {"lake": {"directory": {"path": str(self.lakes["lake"])}}}),
            resource("DataSource", "bucket", {"lake": {"s3": s3}}),
            *(export(table, "lake", table) for table in tpch.COLUMNS),
            export("two_cpus", "lake", "lineitem", cpu=2),
            export("in_a_bucket", "bucket", "lineitem"),
            export("clear", "lake", "lineitem", columns()),
            export("few_values", "lake", "lineitem", columns("l_shipinstruct", "l_shipmode")),
            export("unique_values", "lake", "lineitem", columns("l_comment", "line")),
        ]
        (self.folder / "bench.yaml").write_text(yaml.safe_dump_all(objects))
        with serving(binary, self.folder, self.state):
            time.sleep(2)

    def run(self, name: str) -> Taken:
        shutil.rmtree(self.lakes["lake"] / "bench" / name, ignore_errors=True)
        taken, _ = finished([self.binary, "run", f"export/{name.replace('_', '-')}", "--state-dir", self.state])
        return dataclasses.replace(taken, size=sum(file.stat().st_size for file in self.files(name)))

    def files(self, name: str) -> list[pathlib.Path]:
        """Those of the only run."""
        return sorted(self.lakes["lake"].glob(f"bench/{name}/data/*/*/*.parquet"))


class Bench:
    def __init__(self, lakegate: Lakegate, postgres: int, scratch: pathlib.Path):
        self.lakegate, self.postgres, self.scratch = lakegate, postgres, scratch
        self.table = Table("Lakegate")
        self.right = self.truth()

    def truth(self) -> tuple:
        """PostgreSQL's own rows, by way of text."""
        file = self.scratch / "truth.csv"
        with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=self.postgres, user="postgres")) as connection, \
                connection.cursor() as cursor, file.open("w", encoding="utf-8") as rows:
            cursor.copy_expert("copy lineitem to stdout (format csv)", rows)
        kinds = ", ".join(f"'{name}': '{kind}'" for name, kind in TYPES.items())
        found = duckdb.sql(f"{DIGEST} read_csv('{file}', header = false, columns = {{{kinds}}})").fetchone()
        file.unlink()
        return found

    def check(self, who: str, files: list[pathlib.Path]) -> None:
        found = duckdb.sql(f"{DIGEST} read_parquet({[str(file) for file in files]})").fetchone()
        if found != self.right:
            raise Wrong(f"{who} wrote {found}, and PostgreSQL has {self.right}")

    def peer(self, kind: str) -> Taken:
        file = self.scratch / f"{kind}.parquet"
        taken, printed = finished([sys.executable, "bench/exporting.py", kind, str(self.postgres), file])
        said = json.loads(printed)
        self.check(kind, [file])
        taken = Taken(said["wall"], said["processor"], taken.peak, file.stat().st_size)
        file.unlink()
        return taken

    def ours(self, name: str) -> Taken:
        taken = self.lakegate.run(name)
        self.check(name, self.lakegate.files(name))
        return taken

    def rounds(self, work: dict) -> dict[str, Taken]:
        """Medians by name, after one that does not count; they take turns."""
        taken = collections.defaultdict(list)
        for number in range(ROUNDS + 1):
            for name, one in work.items():
                result = one()
                if number:
                    taken[name].append(result)
                print(f"  {name}: {result}", flush=True)
        fields = [field.name for field in dataclasses.fields(Taken)]
        return {name: Taken(*(statistics.median(getattr(one, field) for one in all_of) for field in fields))
                for name, all_of in taken.items()}

    def lineitem(self) -> None:
        found = self.rounds({
            "Lakegate": lambda: self.ours("two_cpus"),
            "Lakegate, default settings": lambda: self.ours("lineitem"),
            DUCKDB: lambda: self.peer("duckdb"),
            CONNECTORX: lambda: self.peer("connectorx"),
        })

        def line(title: str, unit: str, of: str, scale: float = 1) -> None:
            self.table.add(title, unit, {name: getattr(taken, of) / scale for name, taken in found.items()})

        line("lineitem to zstd Parquet", "s", "wall")
        self.table.judge("lineitem to zstd Parquet", min(0.95 * found[DUCKDB].wall, found[CONNECTORX].wall / 1.6),
                         "0.95 × DuckDB and ConnectorX / 1.6")
        line("  processor of the client", "s", "processor")
        self.table.judge("  processor of the client", 0.95 * found[DUCKDB].processor, "0.95 × DuckDB")
        line("  resident at the most", "MiB", "peak")
        self.table.judge("  resident at the most", 256)
        line("  bytes of files", "MB", "size", 1e6)
        ours = {name: taken.together for name, taken in found.items() if taken.together}
        self.table.add("  `lakegate run` and its worker together", "MiB", ours)

    def masks(self) -> None:
        found = self.rounds({name: lambda name=name: self.lakegate.run(name)
                             for name in ("clear", "few_values", "unique_values")})
        clear = found["clear"]
        for name, what, limit in (("few_values", "few values", 15), ("unique_values", "all values different", 40)):
            title = f"hmac of two columns, {what}: more than without"
            self.table.add(title, "%", {"Lakegate": 100 * (found[name].wall / clear.wall - 1)})
            self.table.judge(title, limit)
            self.table.add(f"  processor, {what}", "%", {"Lakegate": 100 * (found[name].processor / clear.processor - 1)})

    def bucket(self) -> None:
        found = self.rounds({name: lambda name=name: self.lakegate.run(name) for name in ("lineitem", "in_a_bucket")})
        title = f"into a bucket, {LATENCY} ms away: more than to a directory"
        self.table.add(title, "%", {"Lakegate": 100 * (found["in_a_bucket"].wall / found["lineitem"].wall - 1)})
        self.table.judge(title, 20)

    def queries(self) -> None:
        """TPC-H's own 22, over what was exported; and by DuckDB over the same files."""
        for table in tpch.COLUMNS:
            self.lakegate.run(table)
        database = duckdb.connect(config={"threads": 2})
        database.load_extension(tpch.extension("tpch"))
        asked = database.sql("select query_nr, query from tpch_queries() order by 1").fetchall()
        for table in tpch.COLUMNS:
            files = [str(file) for file in self.lakegate.files(table)]
            database.execute(f"create view {table} as select * from read_parquet({files})")
        with serving(self.lakegate.binary, self.lakegate.folder, self.lakegate.state) as (process, port):
            engines.await_table(process, port, "lake.bench.region")
            session = engines.PostgresProtocol("Lakegate", port, "bench", "lake", process, "set search_path to bench")
            ask = {"Lakegate": session.ask, DUCKDB: lambda sql: database.execute(sql).fetchall()}
            sums = dict.fromkeys(ask, 0.0)
            for number, sql in asked:
                took: dict[str, list[float]] = {name: [] for name in ask}
                answers = {}
                for counts in [False, True, True, True]:
                    for name, engine in ask.items():
                        begin = time.perf_counter()
                        answers[name] = engine(sql)
                        if counts:
                            took[name].append(time.perf_counter() - begin)
                if not same(answers["Lakegate"], answers[DUCKDB]):
                    raise Wrong(f"question {number}: {answers['Lakegate'][:3]} and {answers[DUCKDB][:3]}")
                medians = {name: statistics.median(times) for name, times in took.items()}
                print(f"  question {number}: " + ", ".join(f"{name} {value:.3f} s" for name, value in medians.items()),
                      flush=True)
                sums = {name: value + medians[name] for name, value in sums.items()}
            session.close()
        title = "TPC-H's 22 questions over the exported files, sum of medians"
        self.table.add(title, "s", sums)
        self.table.judge(title, 1.2 * sums[DUCKDB], "1.2 × DuckDB")


def same(one: list[tuple], other: list[tuple]) -> bool:
    """The same rows in the same order; numbers to ten digits, as averages are doubles for one and decimals for another."""
    return len(one) == len(other) and all(
        len(left) == len(right) and all(map(alike, left, right)) for left, right in zip(one, other))


def alike(one: object, other: object) -> bool:
    numbers = (int, float, decimal.Decimal)
    if isinstance(one, numbers) and isinstance(other, numbers):
        return abs(float(one) - float(other)) <= 1e-9 * max(1, abs(float(one)))
    return one == other


@contextlib.contextmanager
def distant_bucket() -> Iterator[int]:
    """The port of an S3 server with the bucket `lake`, which is a while away."""
    keys = os.environ | {"ROOT_ACCESS_KEY_ID": "bench", "ROOT_SECRET_ACCESS_KEY": "bench-secret"}

    def started(*command: str, **more: object) -> subprocess.Popen:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)

    with started("bash", "tests/services/versitygw.sh", "serve", env=keys) as server:
        port, directory = server.stdout.readline().split()
        (pathlib.Path(directory) / "lake").mkdir()
        with started(sys.executable, "bench/latency.py", port, str(LATENCY)) as way:
            try:
                yield int(way.stdout.readline())
            finally:
                way.stdin.close()
        server.stdin.close()


def main(binary: str, only: list[str]) -> int:
    with (
        peers.empty_postgres() as postgres, distant_bucket() as bucket,
        tempfile.TemporaryDirectory(prefix="lakegate-bench-") as scratch,
    ):
        begin = time.perf_counter()
        # Questions of the exported files compare with texts that have no blanks at their end.
        tpch.load_postgres(postgres, tpch.files(SCALE), "varchar")
        print(f"TPC-H at scale {SCALE:g} made and loaded in {time.perf_counter() - begin:.0f} s; "
              f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        bench = Bench(Lakegate(binary, pathlib.Path(scratch), postgres, bucket), postgres, pathlib.Path(scratch))
        for part in only or ["lineitem", "masks", "bucket", "queries"]:
            getattr(bench, part)()
    print(f"\n{bench.table}\n\nload average at the end {os.getloadavg()[0]:.1f}")
    missed = bench.table.missed()
    if missed:
        print("missed:", *missed, sep="\n  ")
    return len(missed)


try:
    sys.exit(min(1, main(sys.argv[1], sys.argv[2:])))
except Wrong as wrong:
    sys.exit(f"the run is void: {wrong}")
