"""Engines that open a lake by Lakegate's REST catalog, each with the configuration of docs/guide.md, against psql.

usage: see rest.sh
"""

import argparse
import base64
import contextlib
import csv
import datetime
import decimal
import io
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

USER, PASSWORD = "ana", "a p&ssw=rd%"
LAKE = "lake"

# The columns of each table by the kind of their values, and its rows as SQL. Spark knows no time of day, and gives up a
# table that has one.
TABLES = {
    "kinds": (
        {
            "id": "int", "flag": "bool", "small": "int", "whole": "int", "big": "int", "single": "single",
            "double": "double", "dec9": "decimal", "dec18": "decimal", "dec38": "decimal", "day": "date",
            "at": "timestamp", "at_utc": "timestamptz", "text": "text", "bytes": "bytes", "uid": "text", "list": "list",
            "doc": "text", "odd_name": "text",
        },
        """
        select v.id::bigint as id, v.flag::boolean as flag, v.small::smallint as small, v.whole::integer as whole,
               v.big::bigint as big, v.single::real as single, v.double::double precision as double,
               v.dec9::numeric(9,2) as dec9, v.dec18::numeric(18,4) as dec18, v.dec38::numeric(38,10) as dec38,
               v.day::date as day, v.at::timestamp as at, v.at_utc::timestamptz as at_utc, v.text::text as text,
               decode(v.bytes, 'hex') as bytes, v.uid::uuid as uid, v.list::integer[] as list, v.doc::jsonb as doc,
               v.odd::text as "Odd name"
        from (values
          (1, 'true', '-32768', '-2147483648', '-9223372036854775808', '1.5', '0.1', '-1234567.89', '-12345678901234.5678',
           '-1234567890123456789012345678.0123456789', '1970-01-01', '1969-12-31 23:59:59.999999',
           '1969-12-31 23:59:59.999999+00', 'żółć 漢字 🦆', '00ff', '00000000-0000-0000-0000-0000000000ff', '{1,NULL,3}',
           '{"a": [1, null]}', 'x'),
          (2, 'false', '32767', '2147483647', '9223372036854775807', '-0.1', 'NaN', '9999999.99', '0.0001',
           '0.0000000001', '2026-11-30', '2026-11-30 03:04:05.000001', '2026-11-30 03:04:05.000001+09:00', '', '', 
           'ffffffff-ffff-ffff-ffff-ffffffffffff', '{}', '"z"', ''),
          (3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
          (4, 'true', '0', '0', '0', '0', '1e300', '0', '0', '0', '0001-01-02', '0001-01-02 00:00:00',
           '9999-12-30 23:59:59.999999+00', 'zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz',
           'deadbeef', '123e4567-e89b-12d3-a456-426614174000', '{-1}', 'null', 'a,"b"')
        ) v(id, flag, small, whole, big, single, double, dec9, dec18, dec38, day, at, at_utc, text, bytes, uid, list, doc, odd)
        """,
    ),
    "times": (
        {"id": "int", "clock": "time"},
        "select v.id::bigint as id, v.clock::time as clock from (values (1, '23:59:59.999999'), (2, '00:00:00'), (3, null)) "
        "v(id, clock)",
    ),
}
NULL = "\\N"


def canonical(value: object, kind: str) -> object:
    """A value, whichever engine it comes from, so that two are equal when the engines mean the same."""
    if value is None:
        return None
    match kind:
        case "bool":
            return value if isinstance(value, bool) else {"t": True, "f": False}[value]
        case "int":
            return int(value)
        case "single":
            return struct.pack(">f", float(value)).hex()
        case "double":
            return struct.pack(">d", float(value)).hex()
        case "decimal":
            return format(decimal.Decimal(value), "f")
        case "date":
            return value if isinstance(value, str) else value.isoformat()
        case "timestamp":
            return moment(value).replace(tzinfo=None).isoformat(timespec="microseconds")
        case "timestamptz":
            found = moment(value)
            assert found.tzinfo is not None, f"{value} has no zone"
            return found.astimezone(datetime.timezone.utc).isoformat(timespec="microseconds")
        case "time":
            found = datetime.time.fromisoformat(value) if isinstance(value, str) else value
            return found.isoformat(timespec="microseconds")
        case "bytes":
            return value.removeprefix("\\x") if isinstance(value, str) else bytes(value).hex()
        case "list":
            if isinstance(value, str):
                value = [None if item == "NULL" else item for item in value.strip("{}").split(",") if item]
            return [canonical(item, "int") for item in value]
        case _:
            return str(value)


def moment(value: object) -> datetime.datetime:
    if isinstance(value, str):
        return datetime.datetime.fromisoformat(value.replace(" UTC", "+00:00"))
    return value


Rows = list[dict[str, object]]


def rows_of(rows: Iterator[dict], columns: dict[str, str]) -> Rows:
    found = [{name: canonical(row[name], kind) for name, kind in columns.items()} for row in rows]
    return sorted(found, key=lambda row: row["id"])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Lakegate:
    """A serve with one lake, a user, and one Export a table."""

    def __init__(self, binary: str, directory: pathlib.Path):
        self.binary, self.directory = binary, directory
        self.sql, self.http = free_port(), free_port()
        self.uri = f"http://127.0.0.1:{self.http}/iceberg"
        manifests = directory / "manifests"
        manifests.mkdir()
        documents = [{
            "apiVersion": "lakegate.dev/v1alpha1", "kind": "DataSource", "metadata": {"name": LAKE},
            "spec": {"lake": {"directory": {"path": str(directory / "lake")}}},
        }]
        for name, (_, query) in TABLES.items():
            documents.append({
                "apiVersion": "lakegate.dev/v1alpha1", "kind": "Export", "metadata": {"name": name},
                "spec": {
                    "from": {"query": query}, "allColumns": {"except": []}, "schedule": {"cron": "0 3 1 1 *"},
                    "destination": {"lakeRef": {"name": LAKE}, "schema": "demo", "table": name},
                },
            })
        # JSON is YAML
        (manifests / "demo.yaml").write_text("\n---\n".join(json.dumps(document, ensure_ascii=False) for document in documents))
        users = directory / "users"
        line = subprocess.run([binary, "user", "add", USER], input=PASSWORD, text=True, check=True, capture_output=True)
        users.write_text(line.stdout)
        self.log = (directory / "log").open("w+b")
        self.process = subprocess.Popen(
            [binary, "serve", manifests, "--state-dir", directory / "state", "--listen", f"127.0.0.1:{self.sql}",
             "--http", f"127.0.0.1:{self.http}", "--users", users],
            stdout=subprocess.DEVNULL, stderr=self.log)

    def run_exports(self) -> None:
        wait("ready", lambda: urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz").status == 200)
        for name in TABLES:
            run = subprocess.run([self.binary, "run", f"export/{name}", "--state-dir", self.directory / "state"],
                                 text=True, capture_output=True)
            if run.returncode:
                raise RuntimeError(f"export/{name}: {run.stdout}{run.stderr}")

    def psql(self, sql: str) -> list[dict[str, str | None]]:
        address = f"host=127.0.0.1 port={self.sql} dbname={LAKE} user={USER}"
        shown = subprocess.run(
            ["psql", "-X", "--csv", "-P", f"null={NULL}", "-v", "ON_ERROR_STOP=1", address, "-c", sql], text=True,
            check=True, stdout=subprocess.PIPE, env={**os.environ, "PGPASSWORD": PASSWORD, "PGTZ": "UTC"}).stdout
        found = csv.DictReader(io.StringIO(shown))
        return [{name: None if value == NULL else value for name, value in row.items()} for row in found]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.seek(0)
        told = [line for line in self.log.read().decode().splitlines() if re.search(r"\b(WARN|ERROR)\b", line)]
        assert not told, f"lakegate complained: {told}"


def wait(what: str, probe, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if probe():
                return
        except (OSError, RuntimeError) as error:
            last = error
        else:
            last = None
        if time.monotonic() > end:
            raise RuntimeError(f"not {what} in {seconds} s: {last}")
        time.sleep(0.2)


def pyiceberg(gateway: Lakegate) -> dict[str, Rows]:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchTableError

    found = {}
    # by a token for the password, and by the password itself
    for authentication in (
        {"credential": f"{USER}:{PASSWORD}"},
        {"auth": {"type": "basic", "basic": {"username": USER, "password": PASSWORD}}},
    ):
        catalog = load_catalog("lakegate", type="rest", uri=gateway.uri, warehouse=LAKE, **authentication)
        assert catalog.list_namespaces() == [("demo",)], catalog.list_namespaces()
        assert sorted(catalog.list_tables("demo")) == [("demo", name) for name in sorted(TABLES)]
        assert catalog.table_exists("demo.kinds") and not catalog.table_exists("demo.nope")
        with contextlib.suppress(NoSuchTableError):
            catalog.load_table("demo.nope")
            raise AssertionError("a table that is not there was loaded")
        for name, (columns, _) in TABLES.items():
            read = catalog.load_table(f"demo.{name}").scan().to_arrow().to_pylist()
            found[name] = rows_of(iter(read), columns)
    assert len(catalog.load_table("demo.kinds").scan(row_filter="id = 2").to_arrow()) == 1
    return found


def duckdb(gateway: Lakegate) -> dict[str, Rows]:
    import duckdb
    import duckdb_extension_avro
    import duckdb_extension_httpfs
    import duckdb_extension_iceberg

    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for module in (duckdb_extension_avro, duckdb_extension_httpfs, duckdb_extension_iceberg):
        (extension,) = pathlib.Path(module.__file__).parent.glob("extensions/*/*.duckdb_extension")
        connection.load_extension(str(extension))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"CREATE SECRET lakegate (TYPE iceberg, CLIENT_ID '{USER}', CLIENT_SECRET '{PASSWORD}', "
        f"OAUTH2_SERVER_URI '{gateway.uri}/v1/oauth/tokens')")
    connection.execute(f"ATTACH '{LAKE}' AS l (TYPE iceberg, ENDPOINT '{gateway.uri}', SECRET lakegate)")
    found = {}
    for name, (columns, _) in TABLES.items():
        read = connection.execute(f"select * from l.demo.{name}").to_arrow_table().to_pylist()
        found[name] = rows_of(iter(read), columns)
    assert connection.execute("select count(*) from l.demo.kinds where dec18 < 0").fetchone() == (1,)
    with contextlib.suppress(duckdb.Error):
        connection.execute("create table l.demo.made (id integer)")
        raise AssertionError("DuckDB made a table in a catalog that is read only")
    connection.close()
    return found


SPARK = """
import json, sys
from pyspark.sql import SparkSession
uri, jar, credential, tables, folder = json.loads(sys.argv[1])
catalog = "spark.sql.catalog.lake"
session = (SparkSession.builder.master("local[1]").config("spark.jars", jar).config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC").config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1").config("spark.log.level", "ERROR")
    .config(catalog, "org.apache.iceberg.spark.SparkCatalog").config(f"{catalog}.type", "rest")
    .config(f"{catalog}.uri", uri).config(f"{catalog}.warehouse", "lake").config(f"{catalog}.credential", credential)
    .config(f"{catalog}.scope", "catalog").config(f"{catalog}.cache-enabled", "false").getOrCreate())
found = {"version": session.version}
found["namespaces"] = [row[0] for row in session.sql("show namespaces in lake").collect()]
found["tables"] = sorted(row[1] for row in session.sql("show tables in lake.demo").collect())
found["snapshots"] = session.sql("select count(*) from lake.demo.kinds.snapshots").collect()[0][0]
found["filtered"] = session.sql("select count(*) from lake.demo.kinds where dec18 < 0").collect()[0][0]
found["by_uid"] = session.sql(
    "select count(*) from lake.demo.kinds where uid = 'ffffffff-ffff-ffff-ffff-ffffffffffff'").collect()[0][0]
for name in tables:
    # as text where Python's own types are too narrow, or would take a zone of the machine
    def column(field):
        kind, name = field.dataType.simpleString(), f"`{field.name}`"
        if kind in ("timestamp", "timestamp_ntz"):
            suffix = ", '+00:00'" if kind == "timestamp" else ""
            return f"concat(date_format({name}, \\"yyyy-MM-dd'T'HH:mm:ss.SSSSSS\\"){suffix}) as {name}"
        if kind == "binary":
            return f"lower(hex({name})) as {name}"
        return f"cast({name} as string) as {name}" if kind == "date" or kind.startswith("decimal") else name
    frame = session.table(f"lake.demo.{name}")
    rows = frame.selectExpr(*[column(field) for field in frame.schema.fields]).collect()
    found[name] = [row.asDict(recursive=True) for row in rows]
session.stop()
with open(folder + "/spark.json", "w") as answer:
    json.dump(found, answer)
"""


def spark(gateway: Lakegate, python: str, jar: str) -> dict[str, Rows]:
    tables = [name for name in TABLES if name != "times"]
    program = gateway.directory / "spark_reader.py"
    program.write_text(SPARK)
    question = json.dumps([gateway.uri, jar, f"{USER}:{PASSWORD}", tables, str(gateway.directory)])
    ran = subprocess.run([python, program, question], text=True, capture_output=True, env={**os.environ, "TZ": "UTC"},
                         cwd=gateway.directory)
    if ran.returncode:
        raise RuntimeError(f"Spark: {ran.stderr[-6000:]}")
    found = json.loads((gateway.directory / "spark.json").read_text())
    print(f"  Spark {found['version']}")
    expected = {"namespaces": ["demo"], "tables": sorted(TABLES), "snapshots": 1, "filtered": 1, "by_uid": 1}
    told = {name: found[name] for name in expected}
    assert told == expected, told
    return {name: rows_of(iter(found[name]), TABLES[name][0]) for name in tables}


def trino(gateway: Lakegate, java: str, home: str) -> dict[str, Rows]:
    directory, port = gateway.directory / "trino", free_port()
    etc = directory / "etc"
    (etc / "catalog").mkdir(parents=True)
    # its start loads whatever is there, a hundred plugins
    (directory / "plugin").mkdir()
    for plugin in ("iceberg", "geospatial"):
        (directory / "plugin" / plugin).symlink_to(pathlib.Path(home) / "plugin" / plugin)
    (etc / "config.properties").write_text(
        f"coordinator=true\nnode-scheduler.include-coordinator=true\nhttp-server.http.port={port}\n"
        f"discovery.uri=http://127.0.0.1:{port}\n")
    (etc / "catalog/lake.properties").write_text(
        f"connector.name=iceberg\niceberg.catalog.type=rest\niceberg.rest-catalog.uri={gateway.uri}\n"
        f"iceberg.rest-catalog.warehouse={LAKE}\niceberg.rest-catalog.security=OAUTH2\n"
        f"iceberg.rest-catalog.oauth2.credential={USER}:{PASSWORD}\niceberg.rest-catalog.oauth2.scope=catalog\n"
        f"iceberg.rest-catalog.oauth2.server-uri={gateway.uri}/v1/oauth/tokens\n"
        "iceberg.security=read_only\nfs.hadoop.enabled=true\n")
    headers = {"X-Trino-User": "readers", "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME", "X-Trino-Time-Zone": "UTC"}

    def ask(sql: str) -> list[dict]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/statement", sql.encode(), headers)
        columns, rows = [], []
        while True:
            with urllib.request.urlopen(request, timeout=300) as answer:
                page = json.load(answer)
            if "error" in page:
                raise RuntimeError(f"{sql}: {page['error']['message']}")
            columns = page.get("columns", columns)
            rows += page.get("data", [])
            if "nextUri" not in page:
                return [{column["name"]: value for column, value in zip(columns, row)} for row in rows]
            request = urllib.request.Request(page["nextUri"], headers=headers)

    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [java, "-server", "-Xmx1500M", "-XX:+UseG1GC", "--add-modules=jdk.incubator.vector", "-Dnode.environment=readers",
             "-Dnode.id=readers", f"-Dnode.data-dir={directory}/data", f"-Dconfig={etc}/config.properties", "-cp",
             f"{home}/lib/*", "io.trino.server.TrinoServer"], cwd=directory, stdout=log, stderr=log)
    try:
        wait("answering", lambda: server.poll() is not None or ask("select 1 as one"), 400)
        if server.poll() is not None:
            raise RuntimeError(f"Trino did not start: {(directory / 'log').read_text()[-4000:]}")
        print(f"  Trino {ask('select version() as v')[0]['v']}")
        schemas = [row["Schema"] for row in ask("show schemas from lake")]
        assert "demo" in schemas, schemas
        assert [row["Table"] for row in ask("show tables from lake.demo")] == sorted(TABLES)
        assert ask('select count(*) as n from lake.demo."kinds$snapshots"') == [{"n": 1}]
        assert ask("select count(*) as n from lake.demo.kinds where dec18 < 0") == [{"n": 1}]
        found = {}
        for name, (columns, _) in TABLES.items():
            read = ask(f"select * from lake.demo.{name}")
            for row in read:
                for column, kind in columns.items():
                    if kind == "bytes" and row[column] is not None:
                        row[column] = base64.b64decode(row[column])
            found[name] = rows_of(iter(read), columns)
        return found
    finally:
        server.terminate()
        server.wait()


def anonymous(gateway: Lakegate) -> None:
    """Nobody gets anything without being a user."""
    for path in ("/v1/config?warehouse=lake", "/v1/lake/namespaces", "/v1/lake/namespaces/demo/tables/kinds"):
        try:
            urllib.request.urlopen(gateway.uri + path)
        except urllib.error.HTTPError as error:
            assert error.code == 401, f"{path}: {error.code}"
        else:
            raise AssertionError(f"{path} was answered to nobody")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("readers", nargs="+")
    parser.add_argument("--spark", nargs=2)
    parser.add_argument("--trino", nargs=2)
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="lakegate-readers-") as directory:
        gateway = Lakegate(options.binary, pathlib.Path(directory))
        try:
            gateway.run_exports()
            anonymous(gateway)
            expected = {}
            for name, (columns, _) in TABLES.items():
                expected[name] = rows_of(iter(gateway.psql(f"select * from demo.{name}")), columns)
            assert len(expected["kinds"]) == 4 and len(expected["times"]) == 3, expected
            for reader in options.readers:
                begun = time.monotonic()
                match reader:
                    case "pyiceberg":
                        found = pyiceberg(gateway)
                    case "duckdb":
                        found = duckdb(gateway)
                    case "spark":
                        found = spark(gateway, *options.spark)
                    case "trino":
                        found = trino(gateway, *options.trino)
                values = 0
                for table, rows in found.items():
                    assert len(rows) == len(expected[table]), f"{reader}: {table} has {len(rows)} rows"
                    for row, right in zip(rows, expected[table]):
                        for column, value in right.items():
                            values += 1
                            if row[column] != value:
                                wrong += 1
                                print(f"  {reader}: {table}.{column} of row {right['id']}: {row[column]!r}, psql has {value!r}")
                print(f"{reader}: {values} values of {', '.join(found)} compared in {time.monotonic() - begun:.1f} s")
        finally:
            gateway.stop()
    if wrong:
        sys.exit(f"{wrong} values differ")


main()
