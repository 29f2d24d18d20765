"""The peers: PostgreSQL with the example's rows loaded, and DuckDB over the example's own files."""

import contextlib
import glob
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator

import duckdb
import psycopg2

DATA = pathlib.Path("examples/flights/data")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def airports() -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(f"file:{DATA / 'reference.db'}?mode=ro", uri=True)) as database:
        return database.execute("select faa, name from airports").fetchall()


@contextlib.contextmanager
def empty_postgres() -> Iterator[int]:
    """A throw-away server with default settings, where everybody on loopback is trusted; yields its port."""
    binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    # initdb refuses root
    as_owner = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.getuid() == 0 else []
    directory = tempfile.mkdtemp(prefix="lakegate-bench-")
    if as_owner:
        shutil.chown(directory, "postgres", "postgres")
    port = free_port()
    data = f"{directory}/data"

    def run(*command: str) -> None:
        subprocess.run([*as_owner, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")

    try:
        run(f"{binaries}/initdb", "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "-D", data)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        run(f"{binaries}/pg_ctl", "-w", "-D", data, "-l", f"{directory}/log", "-o", options, "start")
        try:
            yield port
        finally:
            run(f"{binaries}/pg_ctl", "-w", "-D", data, "-m", "fast", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def postgres() -> Iterator[int]:
    """A throw-away server with the tables `flights` and `airports`; yields its port."""
    with empty_postgres() as port:
        load(port)
        yield port


def load(port: int) -> None:
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor, tempfile.NamedTemporaryFile(suffix=".csv") as file:
            query = f"select dest, dep_time, dep_delay from '{DATA}/flights/*.parquet'"
            duckdb.sql(query).write_csv(file.name, header=False)
            cursor.execute("create table flights (dest text, dep_time int, dep_delay int)")
            cursor.execute("create table airports (faa text primary key, name text)")
            with open(file.name, encoding="utf-8") as rows:
                cursor.copy_expert("copy flights from stdin (format csv)", rows)
            cursor.executemany("insert into airports values (%s, %s)", airports())
            cursor.execute("vacuum analyze")


def duckdb_question(question: str) -> Callable[[], object]:
    """Asks DuckDB, with the airports in its memory and the flights in their Parquet files."""
    connection = duckdb.connect()
    connection.execute("create table airports (faa text, name text)")
    connection.executemany("insert into airports values (?, ?)", airports())
    connection.execute(f"create view flights as select * from '{DATA}/flights/*.parquet'")
    return lambda: connection.execute(question).fetchall()
