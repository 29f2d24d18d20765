"""Who is asked: PostgreSQL itself, Lakegate, DuckDB and Trino, each by the names it gives to the same tables."""

import contextlib
import datetime
import decimal
import json
import os
import pathlib
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import duckdb
import psycopg2
import yaml

import peers
import tpch
from processes import processor_seconds
from served import serving

Rows = list[tuple]
# The catalogs of the stores, in every engine that has more than one.
POSTGRES, MARIADB = "pg.public", "my.tpch"


class Engine:
    """Someone who answers SQL; `process` is where it computes."""

    name: str
    process: int
    # Which of a question's spellings is its own.
    federated = True

    def ask(self, sql: str) -> Rows:
        raise NotImplementedError

    def processor(self) -> float:
        """Seconds of a core that it has used so far."""
        return processor_seconds(self.process)

    def names(self, in_mariadb: frozenset[str]) -> dict[str, str]:
        """What its tables are called, where those named are read from MariaDB."""
        if not self.federated:
            return {table: table for table in tpch.COLUMNS}
        return {table: f"{MARIADB if table in in_mariadb else POSTGRES}.{table}" for table in tpch.COLUMNS}


class PostgresProtocol(Engine):
    """One session of a server of the protocol; `settings` are statements to begin it with."""

    def __init__(self, name: str, port: int, user: str, database: str, process: int = 0, *settings: str):
        self.name, self.process, self.port = name, process, port
        self.connection = psycopg2.connect(host="127.0.0.1", port=port, user=user, dbname=database)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        for statement in settings:
            self.cursor.execute(statement)

    def ask(self, sql: str) -> Rows:
        self.cursor.execute(sql)
        return self.cursor.fetchall()

    def close(self) -> None:
        self.connection.close()


class Postgres(PostgresProtocol):
    """The store itself, with every table of the question inside."""

    federated = False

    def __init__(self, port: int):
        super().__init__("PostgreSQL", port, "postgres", "postgres")


class Lakegate(PostgresProtocol):
    def __init__(self, process: int, port: int, *settings: str):
        super().__init__("Lakegate", port, "bench", "lakegate", process, *settings)

    def explain(self, sql: str) -> str:
        return "\n".join(str(row[-1]) for row in self.ask(f"explain {sql}"))


class DuckDb(Engine):
    """In this process, which does nothing else meanwhile. At its default settings, with its scanners attached."""

    def __init__(self, postgres: int, mariadb: int):
        self.name, self.process = f"DuckDB {duckdb.__version__}", os.getpid()
        self.database = duckdb.connect()
        for scanner in ("postgres_scanner", "mysql_scanner"):
            self.database.load_extension(tpch.extension(scanner))
        here = "host=127.0.0.1"
        who = f"user={tpch.USER} password={tpch.PASSWORD}"
        self.database.execute(f"attach '{here} port={postgres} dbname=postgres {who}' as pg (type postgres, read_only)")
        self.database.execute(f"attach '{here} port={mariadb} database=tpch {who}' as my (type mysql, read_only)")

    def ask(self, sql: str) -> Rows:
        return self.database.execute(sql).fetchall()

    def close(self) -> None:
        self.database.close()


class Trino(Engine):
    """A server that runs already, asked over its own protocol."""

    def __init__(self, version: str, process: int, port: int):
        self.name, self.process = f"Trino {version}", process
        self.address = f"http://127.0.0.1:{port}/v1/statement"

    def ask(self, sql: str) -> Rows:
        rows: Rows = []
        request = urllib.request.Request(self.address, sql.encode(), {"X-Trino-User": "bench"})
        while True:
            with urllib.request.urlopen(request, timeout=600) as answer:
                page = json.load(answer)
            if "error" in page:
                raise RuntimeError(f"Trino: {page['error']['message']}")
            if "data" in page:
                types = [column["type"] for column in page["columns"]]
                rows += [tuple(map(of_json, row, types)) for row in page["data"]]
            if "nextUri" not in page:
                return rows
            request = urllib.request.Request(page["nextUri"])


def of_json(value: object, kind: str) -> object:
    """A value as Python has it, of JSON's text and the name of its type."""
    if value is None:
        return None
    if kind.startswith("decimal"):
        return decimal.Decimal(value)
    if kind == "date":
        return datetime.date.fromisoformat(value)
    return value


def resource(kind: str, name: str, spec: dict) -> dict:
    return {"apiVersion": "lakegate.dev/v1alpha1", "kind": kind, "metadata": {"name": name.replace("_", "-")}, "spec": spec}


def manifests(postgres: int, mariadb: int) -> list[dict]:
    """The two stores as DataSources; limits are the defaults."""

    def server(port: int, database: str) -> dict:
        return {
            "database": database, "primary": {"host": "127.0.0.1", "port": port},
            "credentials": {"secretRef": {"name": "stores"}}, "tls": {"mode": "Disable"},
        }

    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stores"},
        "stringData": {"username": tpch.USER, "password": tpch.PASSWORD},
    }
    return [secret, resource("DataSource", "pg", {"postgres": server(postgres, "postgres")}),
            resource("DataSource", "my", {"mysql": server(mariadb, "tpch")})]


@contextlib.contextmanager
def lakegate(binary: str, directory: pathlib.Path, postgres: int, mariadb: int) -> Iterator[tuple[int, int]]:
    """A serve of both stores, once it has looked at them: its process and its port."""
    folder = directory / "manifests"
    folder.mkdir()
    (folder / "stores.yaml").write_text(yaml.safe_dump_all(manifests(postgres, mariadb)))
    with serving(binary, folder) as (process, port):
        for table in (f"{POSTGRES}.region", f"{MARIADB}.orders"):
            await_table(process, port, table)
        yield process, port


def await_table(process: int, port: int, table: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            with contextlib.closing(Lakegate(process, port)) as session:
                session.ask(f"select * from {table} limit 1")
            return
        except psycopg2.Error as error:
            if time.monotonic() > end:
                raise RuntimeError(f"Lakegate does not serve {table}") from error
            time.sleep(0.05)


@contextlib.contextmanager
def trino(home: pathlib.Path, java: str, directory: pathlib.Path, postgres: int, mariadb: int) -> Iterator[Trino]:
    """A Trino of its own, with both stores as catalogs and no other setting but memory."""
    port = peers.free_port()
    etc = directory / "etc"
    (etc / "catalog").mkdir(parents=True)
    # Its start loads whatever is there, a hundred plugins. PostgreSQL's knows the types of the geospatial one.
    plugins = directory / "plugin"
    plugins.mkdir()
    for plugin in ("postgresql", "mariadb", "geospatial"):
        (plugins / plugin).symlink_to(home / "plugin" / plugin)
    (etc / "config.properties").write_text(
        f"coordinator=true\nnode-scheduler.include-coordinator=true\nhttp-server.http.port={port}\n"
        f"discovery.uri=http://127.0.0.1:{port}\n")
    for name, kind, url in (
        ("pg", "postgresql", f"jdbc:postgresql://127.0.0.1:{postgres}/postgres"),
        ("my", "mariadb", f"jdbc:mariadb://127.0.0.1:{mariadb}"),
    ):
        (etc / "catalog" / f"{name}.properties").write_text(
            f"connector.name={kind}\nconnection-url={url}\nconnection-user={tpch.USER}\nconnection-password={tpch.PASSWORD}\n")
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [java, "-server", "-Xmx4G", "-XX:+UseG1GC", "--add-modules=jdk.incubator.vector", "-Dnode.environment=bench",
             "-Dnode.id=bench", f"-Dnode.data-dir={directory}/data", f"-Dconfig={etc}/config.properties", "-cp",
             f"{home}/lib/*", "io.trino.server.TrinoServer"],
            cwd=directory, stdout=log, stderr=log)
    try:
        engine = Trino(home.name.rpartition("-")[2], server.pid, port)
        end = time.monotonic() + 240
        while True:
            try:
                engine.ask(f"select count(*) from {POSTGRES}.region, {MARIADB}.customer")
                break
            except (OSError, RuntimeError) as error:
                if server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"Trino did not come up: {(directory / 'log').read_text()[-2000:]}") from error
                time.sleep(0.5)
        yield engine
    finally:
        server.terminate()
        server.wait()
