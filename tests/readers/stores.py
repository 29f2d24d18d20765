"""The stores of the trap suite: throw-away servers and files that hold the trap tables, and the manifests that export them."""

import contextlib
import json
import pathlib
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg2
import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "bench"))

import peers  # noqa: E402  what starts the servers is bench's
import tables  # noqa: E402
from tables import HIVE3, ICEBERG, Column, Refusal  # noqa: E402

# For the protocols alone: nothing leaves loopback.
USER, PASSWORD = "lakegate", "trap-suite"


@dataclass(frozen=True)
class Trap:
    """A trap table, as it stands in a store and in the lake."""

    title: str
    # Its DataSource, and what `from.table` says.
    source: str
    table: dict[str, str]
    columns: list[Column]
    # Of the lake's tables.
    name: str
    # Where it is not exported as a whole.
    chosen: tuple[Column, ...] = ()

    def export_name(self, profile: str) -> str:
        return f"{profile.lower()}-{self.name.replace('_', '-')}"

    def columns_in(self, profile: str) -> list[Column]:
        """Those of its table in a profile."""
        if self.chosen:
            return list(self.chosen)
        return [column for column in self.columns if not (column.alone and profile == ICEBERG)]


def traps(profile: str) -> list[Trap]:
    """The trap tables of a profile."""
    if profile == HIVE3:
        return [HIVE]
    alone = [
        replace(trap, name=f"{trap.name}_{column.name}", chosen=(column,))
        for trap in TRAPS for column in trap.columns if column.alone and profile == ICEBERG
    ]
    return [*TRAPS, *alone]


HIVE = Trap("PostgreSQL, for Hive 3", "pg", {"schema": "traps", "name": "hive"}, tables.HIVE, "postgres")

TRAPS = [
    Trap("PostgreSQL", "pg", {"schema": "traps", "name": "types"}, tables.POSTGRES, "postgres"),
    Trap("MariaDB and MySQL", "my", {"schema": "traps", "name": "types"}, tables.MARIADB, "mariadb"),
    Trap("SQLite", "lite", {"schema": "main", "name": "types"}, tables.SQLITE, "sqlite"),
    Trap("CSV with declared columns", "files", {"schema": "default", "name": "declared"}, tables.CSV, "csv"),
    Trap("CSV as found", "files", {"schema": "default", "name": "found"}, tables.CSV_FOUND, "csv_found"),
    Trap("JSON lines", "files", {"schema": "default", "name": "lines"}, tables.JSON, "json"),
]

REFUSALS = {
    "pg": ("PostgreSQL", "traps", tables.POSTGRES_REFUSALS),
    "my": ("MariaDB and MySQL", "traps", tables.MARIADB_REFUSALS),
    "lite": ("SQLite", "main", tables.SQLITE_REFUSALS),
    "files": ("CSV", "default", tables.CSV_REFUSALS),
}


def rows(columns: list[Column], null: str) -> list[list[str]]:
    """The literals row by row; the first row is all NULL, and so is what has no more cases."""
    count = max(len(column.cases) for column in columns)
    return [[null] * len(columns)] + [
        [column.cases[row][0] if row < len(column.cases) else null for column in columns] for row in range(count)
    ]


def expected(trap: Trap, profile: str) -> dict[str, list[object]]:
    """What the lake must hold, by column, in the order of `id`."""
    count = max(len(column.cases) for column in trap.columns) + 1
    return {
        column.output: ([None, *column.values_in(profile)] + [None] * count)[:count]
        for column in trap.columns_in(profile)
    }


def statements(columns: list[Column], table: str, quote: str, more: str = "") -> list[str]:
    """Makes and fills a trap table."""
    declared = [f"id integer primary key"] + [
        f"{quote}{column.name}{quote} {column.declared}" for column in columns
    ]
    made = [f"create table {table} ({', '.join(declared)}){more}"]
    for number, row in enumerate(rows(columns, "null")):
        made.append(f"insert into {table} values ({', '.join([str(number), *row])})")
    return made


def refused_statements(refusals: list[Refusal], schema: str) -> list[str]:
    made = []
    for refusal in refusals:
        table = f"{schema}{refusal.name}"
        made.append(f"create table {table} (id integer primary key, trap {refusal.declared})")
        made.append(f"insert into {table} values (1, {refusal.literal})")
    return made


def fill_postgres(port: int) -> None:
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(tables.POSTGRES_SETUP)
            for statement in statements(tables.POSTGRES, "traps.types", '"'):
                cursor.execute(statement)
            for statement in statements(tables.HIVE, "traps.hive", '"'):
                cursor.execute(statement)
            for statement in refused_statements(tables.POSTGRES_REFUSALS, "traps."):
                cursor.execute(statement)
            cursor.execute(f"create role {USER} login; grant usage on schema traps to {USER};"
                           f"grant select on all tables in schema traps to {USER}")


def fill_mariadb(socket_file: str) -> None:
    # Zero dates and the like are what old tables hold, written when the server let them.
    lines = ["set sql_mode = 'ALLOW_INVALID_DATES'", "set time_zone = '+00:00'",
             "create database traps character set utf8mb4", "use traps"]
    lines += statements(tables.MARIADB, "types", "`") + refused_statements(tables.MARIADB_REFUSALS, "")
    lines += [f"create user {USER} identified by '{PASSWORD}'", f"grant select on traps.* to {USER}"]
    peers.mariadb(socket_file, ";\n".join(lines) + ";")


def fill_sqlite(path: pathlib.Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        for statement in statements(tables.SQLITE, "types", '"') + refused_statements(tables.SQLITE_REFUSALS, ""):
            database.execute(statement)
        database.commit()


def csv_lines(columns: list[Column], null: str) -> str:
    names = ",".join(["id", *(column.name for column in columns)])
    body = (",".join([str(number), *row]) for number, row in enumerate(rows(columns, null)))
    return "\n".join([names, *body]) + "\n"


def fill_files(folder: pathlib.Path) -> None:
    folder.mkdir()
    (folder / "declared.csv").write_text(csv_lines(tables.CSV, "\\N"), encoding="utf-8")
    (folder / "found.csv").write_text(csv_lines(tables.CSV_FOUND, ""), encoding="utf-8")
    with (folder / "lines.jsonl").open("w", encoding="utf-8") as lines:
        for number, row in enumerate(rows(tables.JSON, "null")):
            values = (f"{json.dumps(column.name)}:{value}" for column, value in zip(tables.JSON, row))
            lines.write("{" + ",".join([f'"id":{number}', *values]) + "}\n")
    for refusal in tables.CSV_REFUSALS:
        (folder / f"{refusal.name}.csv").write_text(f"id,trap\n1,{refusal.literal}\n")


def resource(kind: str, name: str, spec: dict) -> dict:
    return {"apiVersion": "lakegate.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def sources(postgres: int, mariadb: int) -> list[dict]:
    def server(port: int, database: str) -> dict:
        return {"database": database, "primary": {"host": "127.0.0.1", "port": port},
                "credentials": {"secretRef": {"name": "stores"}}, "tls": {"mode": "Disable"}}

    def csv(refusal: Refusal) -> dict:
        columns = [{"name": "id", "dataType": "integer"}, {"name": "trap", "dataType": refusal.declared}]
        return {"name": refusal.name, "path": f"{refusal.name}.csv", "columns": columns}

    declared = [{"name": column.name, "dataType": column.declared} for column in tables.CSV]
    files = [
        {"name": "declared", "path": "declared.csv", "csv": {"nullValue": "\\N"},
         "columns": [{"name": "id", "dataType": "integer"}, *declared]},
        {"name": "found", "path": "found.csv"},
        {"name": "lines", "path": "lines.jsonl"},
        *map(csv, tables.CSV_REFUSALS),
    ]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stores"},
              "stringData": {"username": USER, "password": PASSWORD}}
    return [
        secret,
        resource("DataSource", "pg", {"postgres": server(postgres, "postgres")}),
        resource("DataSource", "my", {"mysql": server(mariadb, "traps")}),
        resource("DataSource", "lite", {"sqlite": {"path": "traps.db"}}),
        resource("DataSource", "files", {"objectStore": {"directory": {"path": "files"}, "tables": files}}),
        resource("DataSource", "lake", {"lake": {"directory": {"path": "lake"}}}),
    ]


def export(name: str, source: str, table: dict, chosen: dict, destination: dict) -> dict:
    return resource("Export", name, {
        "from": {"sourceRef": {"name": source}, "table": table},
        **chosen,
        "schedule": {"cron": "0 0 1 1 *", "timeZone": "UTC", "runOnCreate": True},
        "retry": {"limit": 0},
        "destination": {"lakeRef": {"name": "lake"}, **destination},
    })


def choice(trap: Trap, profile: str) -> dict:
    if trap.chosen:
        return {"columns": [{"name": "id"}, *({"name": column.name} for column in trap.chosen)]}
    kept = trap.columns_in(profile)
    return {"allColumns": {"except": [column.name for column in trap.columns if column not in kept]}}


def exports(profiles: dict[str, dict]) -> list[dict]:
    """Every trap table in every profile, and the values that no profile takes."""
    made = [
        export(trap.export_name(profile), trap.source, trap.table, choice(trap, profile),
               {"schema": profile.lower(), "table": trap.name, **destination})
        for profile, destination in profiles.items() for trap in traps(profile)
    ]
    for source, (_, schema, refusals) in REFUSALS.items():
        made += [
            export(f"refused-{source}-{refusal.name.replace('_', '-')}", source, {"schema": schema, "name": refusal.name},
                   {"allColumns": {}}, {"schema": f"refused_{source}", "table": refusal.name})
            for refusal in refusals
        ]
    return made


@contextlib.contextmanager
def filled(folder: pathlib.Path, profiles: dict[str, dict]) -> Iterator[None]:
    """The folder becomes one of manifests, with every store up and filled."""
    fill_sqlite(folder / "traps.db")
    fill_files(folder / "files")
    with peers.empty_postgres() as postgres, peers.empty_mariadb() as (mariadb, socket_file):
        fill_postgres(postgres)
        fill_mariadb(socket_file)
        manifests = [*sources(postgres, mariadb), *exports(profiles)]
        (folder / "traps.yaml").write_text(yaml.safe_dump_all(manifests, allow_unicode=True), encoding="utf-8")
        yield
