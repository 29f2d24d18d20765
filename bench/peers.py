"""The peers: PostgreSQL with the example's rows loaded, and DuckDB over the example's own files."""

import contextlib
import getpass
import glob
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
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
def empty_mariadb() -> Iterator[tuple[int, str]]:
    """A throw-away server with default settings; yields its port and the socket of its administrator."""
    # Debian keeps the server out of the path of those who are not root.
    path = f"{os.environ['PATH']}:/usr/sbin"
    with tempfile.TemporaryDirectory(prefix="lakegate-bench-") as directory:
        user = getpass.getuser()
        data, socket_file, port = f"{directory}/data", f"{directory}/socket", free_port()
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal",
             f"--datadir={data}", f"--user={user}"], check=True, stdout=subprocess.DEVNULL)
        server = subprocess.Popen(
            [shutil.which("mariadbd", path=path), "--no-defaults", f"--datadir={data}", f"--socket={socket_file}",
             f"--pid-file={directory}/pid", f"--user={user}", f"--port={port}", "--bind-address=127.0.0.1",
             "--skip-name-resolve", "--local-infile=ON"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await_mariadb(server, socket_file)
            yield port, socket_file
        finally:
            server.terminate()
            server.wait()


def mariadb(socket_file: str, sql: str, database: str = "") -> str:
    """Runs statements as the administrator; the answer in tab-separated lines."""
    command = ["mariadb", "--no-defaults", "--local-infile=1", "--batch", "--skip-column-names", "-u", "root",
               f"--socket={socket_file}", "--default-character-set=utf8mb4", *([database] if database else [])]
    return subprocess.run(command, input=sql, check=True, capture_output=True, text=True).stdout


def await_mariadb(server: subprocess.Popen, socket_file: str) -> None:
    for _ in range(1200):
        with contextlib.suppress(subprocess.CalledProcessError):
            mariadb(socket_file, "select 1")
            return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("MariaDB did not come up")


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
