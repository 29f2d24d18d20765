"""Trino as a peer, where its server was unpacked."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import peers


def java() -> str | None:
    """The first Java of 24 or newer."""
    candidates = [os.environ.get("JAVA_HOME", ""), *map(str, pathlib.Path("/usr/lib/jvm").glob("*"))]
    for home in filter(None, candidates):
        release = pathlib.Path(home, "release")
        if release.exists():
            version = release.read_text().partition('JAVA_VERSION="')[2].partition('"')[0]
            if version.split(".")[0].isdigit() and int(version.split(".")[0]) >= 24:
                return f"{home}/bin/java"
    return None


@contextlib.contextmanager
def serving(postgres: int, mariadb: int, local: dict[str, str], across: dict[str, str], peer: Callable) -> Iterator[list]:
    """A server over both stores as one peer; none, and why, where it cannot be started."""
    home, program = os.environ.get("LAKEGATE_BENCH_TRINO"), java()
    if not home or not program:
        print(f"Trino left out: {'no Java of 24 or newer' if home else 'LAKEGATE_BENCH_TRINO is not set'}", flush=True)
        yield []
        return
    directory = pathlib.Path(tempfile.mkdtemp(prefix="lakegate-trino-"))
    port = peers.free_port()
    catalogs = directory / "etc/catalog"
    catalogs.mkdir(parents=True)
    (directory / "etc/config.properties").write_text(
        f"coordinator=true\nnode-scheduler.include-coordinator=true\nhttp-server.http.port={port}\n"
        f"discovery.uri=http://127.0.0.1:{port}\n")
    (catalogs / "shop.properties").write_text(
        f"connector.name=postgresql\nconnection-url=jdbc:postgresql://127.0.0.1:{postgres}/postgres\n"
        "connection-user=postgres\nconnection-password=none\n")
    (catalogs / "crm.properties").write_text(
        f"connector.name=mysql\nconnection-url=jdbc:mysql://127.0.0.1:{mariadb}\nconnection-user=lakegate\n"
        "connection-password=\n")
    process = subprocess.Popen(
        [program, "-server", "-Xmx4G", "--add-modules=jdk.incubator.vector", "-Dnode.environment=bench", "-Dnode.id=one",
         f"-Dnode.data-dir={directory}/data", "-Dconfig=etc/config.properties", "-cp", f"{home}/lib/*",
         "io.trino.server.TrinoServer"],
        cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_start(port, process)
        yield [peer("Trino", lambda sql: query(port, sql), local, across, process.pid)]
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def await_start(port: int, process: subprocess.Popen) -> None:
    for _ in range(600):
        with contextlib.suppress(urllib.error.URLError, OSError, RuntimeError):
            query(port, "select 1")
            return
        if process.poll() is not None:
            break
        time.sleep(0.5)
    raise SystemExit("Trino did not start")


def query(port: int, sql: str) -> list[tuple[object, ...]]:
    """The rows; numbers that JSON has no exact form of are text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/statement", sql.encode(), {"X-Trino-User": "bench"})
    rows: list[tuple[object, ...]] = []
    while True:
        with urllib.request.urlopen(request) as response:
            page = json.load(response)
        if "error" in page:
            raise RuntimeError(page["error"]["message"])
        rows += map(tuple, page.get("data", []))
        if "nextUri" not in page:
            return rows
        request = urllib.request.Request(page["nextUri"], headers={"X-Trino-User": "bench"})
