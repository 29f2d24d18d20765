"""The trap suite: every type of every store with its extreme values, exported as users do it and read back by others.

usage: traps.py BINARY [--readers pyarrow,duckdb,pyiceberg,spark,trino] [--write docs/types.md]

Fills throw-away stores with the tables of tables.py, lets `lakegate serve` export them in every profile, and compares
what each reader finds in the lake, value by value, with what tables.py expects. Values that no type holds have to fail
their run with a message that names the column. docs/types.md has to be what page.py makes of tables.py.
"""

import argparse
import contextlib
import pathlib
import subprocess
import sys
import tempfile
import time

import psycopg2

import page
import reading
import stores
from stores import REPOSITORY, Trap, traps
from tables import HIVE3, ICEBERG, PORTABLE
from values import Kind, kind

PATIENCE = 180
# How a destination asks for each profile.
PROFILES: dict[str, dict] = {
    PORTABLE: {}, ICEBERG: {"profile": ICEBERG}, HIVE3: {"profile": HIVE3, "format": "Parquet"},
}


class Serve:
    """A `lakegate serve` of the folder."""

    def __init__(self, binary: str, folder: pathlib.Path, state: str, log: pathlib.Path):
        self.port, self.log = stores.peers.free_port(), log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [binary, "serve", folder, "--state-dir", state, "--listen", f"127.0.0.1:{self.port}",
                 "--http", f"127.0.0.1:{stores.peers.free_port()}"], stdout=output, stderr=output)

    def runs(self) -> dict[str, tuple[str, str, str]]:
        """By the Export's name its run's state, reason and message, of those that have ended."""
        try:
            with contextlib.closing(psycopg2.connect(
                    host="127.0.0.1", port=self.port, user="traps", dbname="lakegate")) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("select export, state, reason, message from lakegate.export_runs "
                                   "where state in ('Complete', 'Failed')")
                    return {export: tuple(rest) for export, *rest in cursor.fetchall()}
        except psycopg2.OperationalError:
            return {}

    def wait(self, names: set[str]) -> dict[str, tuple[str, str, str]]:
        end = time.monotonic() + PATIENCE
        while True:
            found = self.runs()
            if names <= found.keys():
                return found
            if self.process.poll() is not None or time.monotonic() > end:
                missing = ", ".join(sorted(names - found.keys()))
                raise SystemExit(f"no end of the runs of {missing}:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def failures_of_runs(found: dict[str, tuple[str, str, str]], profiles: dict[str, dict]) -> list[str]:
    """What is wrong with how the runs ended."""
    wrong = []
    for profile in profiles:
        for trap in traps(profile):
            name = trap.export_name(profile)
            state, reason, message = found[name]
            if state != "Complete":
                wrong.append(f"{name}: {reason}: {message}")
    for source, (_, _, refusals) in stores.REFUSALS.items():
        for refusal in refusals:
            name = f"refused-{source}-{refusal.name.replace('_', '-')}"
            state, reason, message = found[name]
            if state != "Failed":
                wrong.append(f"{name}: the run is {state}, but the value cannot be kept")
                continue
            missing = [part for part in ("trap", *refusal.says) if part not in message]
            if missing:
                wrong.append(f"{name}: its message lacks {missing}: {reason}: {message}")
    return wrong


def read(reader: reading.Reader, table: pathlib.Path, columns: dict[str, Kind]) -> reading.Columns:
    """All columns at once, or where that fails those that can be read; of the others the exception."""
    try:
        return reader.read(table, columns)
    except Exception:  # noqa: BLE001 whatever a reader cannot do is a finding
        found = {}
        for name, its_kind in columns.items():
            try:
                found |= reader.read(table, {name: its_kind})
            except Exception as error:  # noqa: BLE001
                found[name] = [error]
        return found


def differences(reader: reading.Reader, lake: pathlib.Path, trap: Trap, profile: str) -> list[str]:
    """Where the reader sees something else than the suite expects."""
    wrong = []
    columns = trap.columns_in(profile)
    kinds = {column.output: kind(column.kind_in(profile)) for column in columns}
    expected = stores.expected(trap, profile)
    found = read(reader, lake / profile.lower() / trap.name, kinds)
    short = reader.name.split()[0]
    for column in columns:
        where = f"{short}, {profile}, {trap.title}, {column.output} ({column.declared})"
        values = found[column.output]
        deviates = column.readers.get((profile, short))
        if values == expected[column.output]:
            if deviates:
                wrong.append(f"{where}: reads it now, so tables.py need not say \"{deviates}\"")
        elif len(values) == 1 and isinstance(values[0], Exception):
            if not deviates:
                text = " ".join(str(values[0]).split())
                wrong.append(f"{where}: {type(values[0]).__name__}: {text[:300]}")
        elif not deviates:
            pairs = zip(values, expected[column.output])
            first = next(((one, other) for one, other in pairs if one != other), (len(values), "another count"))
            wrong.append(f"{where}: {first[0]!r} where {first[1]!r} was expected")
    return wrong


@contextlib.contextmanager
def reader_of(name: str, lake: pathlib.Path, directory: pathlib.Path):
    if name in reading.LOCAL:
        reader = reading.LOCAL[name]()
    elif name == "spark":
        reader = reading.Spark(lake, reading.spark_runtime())
    elif name == "trino":
        brought = subprocess.run(["bash", REPOSITORY / "bench/trino.sh"], check=True, capture_output=True, text=True)
        java, home = brought.stdout.split()
        with reading.trino(pathlib.Path(home), java, directory / "trino", stores.peers.free_port()) as reader:
            yield reader
        return
    else:
        raise SystemExit(f"no reader {name}")
    try:
        yield reader
    finally:
        reader.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binary")
    arguments.add_argument("--readers", default=",".join(reading.LOCAL))
    arguments.add_argument("--write", type=pathlib.Path, help="write the page of types instead of comparing it")
    asked = arguments.parse_args()
    text = page.text()
    types = REPOSITORY / "docs/types.md"
    if asked.write:
        asked.write.write_text(text, encoding="utf-8")
    elif types.read_text(encoding="utf-8") != text:
        sys.exit("docs/types.md is not what tests/readers/tables.py says; write it with --write docs/types.md")
    with tempfile.TemporaryDirectory(prefix="lakegate-traps-") as base:
        directory = pathlib.Path(base)
        folder = directory / "manifests"
        folder.mkdir()
        wrong = exported(asked.binary, folder, directory)
        for name in asked.readers.split(","):
            wrong += read_by(name, folder / "lake", directory)
    if wrong:
        sys.exit("\n".join(wrong))


def exported(binary: str, folder: pathlib.Path, directory: pathlib.Path) -> list[str]:
    """Fills the lake; what went wrong."""
    with stores.filled(folder, PROFILES):
        began = time.monotonic()
        serve = Serve(str(pathlib.Path(binary).resolve()), folder, f"{directory}/state", directory / "log")
        try:
            names = {it["metadata"]["name"] for it in stores.exports(PROFILES)}
            wrong = failures_of_runs(serve.wait(names), PROFILES)
        finally:
            serve.stop()
        print(f"{len(names)} exports in {time.monotonic() - began:.1f} s", flush=True)
    return wrong


def read_by(name: str, lake: pathlib.Path, directory: pathlib.Path) -> list[str]:
    """Reads the whole lake; what was read otherwise than expected."""
    began, values, wrong = time.monotonic(), 0, []
    with reader_of(name, lake, directory) as reader:
        for profile in PROFILES:
            if profile == HIVE3 and not reader.reads_plain:
                continue
            for trap in traps(profile):
                wrong += differences(reader, lake, trap, profile)
                values += sum(len(column.cases) for column in trap.columns_in(profile))
        print(f"{reader.name}: {values} values in {time.monotonic() - began:.1f} s", flush=True)
    return wrong


if __name__ == "__main__":
    main()
