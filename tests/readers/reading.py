"""The readers. Each gives the columns of a lake table in the forms of values.py, in the order of `id`."""

import contextlib
import decimal
import glob
import importlib.metadata
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from values import Kind, clock, days, double, single

Columns = dict[str, list[object]]


def plain_files(table: pathlib.Path) -> list[str]:
    """The files of the directory that the newest run manifest names."""
    (manifest,) = (table / "_runs").glob("*.json")
    directory = table / json.loads(manifest.read_text())["directory"]
    assert (directory / "_SUCCESS").exists(), f"{directory} has no _SUCCESS"
    return [str(file) for file in sorted(directory.glob("*.parquet"))]


def is_plain(table: pathlib.Path) -> bool:
    return not (table / "metadata").exists()


class Reader:
    name: str
    # Whether it reads runs that are no Iceberg tables.
    reads_plain = False

    def read(self, table: pathlib.Path, columns: dict[str, Kind]) -> Columns:
        """The named columns of the table in that directory."""
        raise NotImplementedError

    def close(self) -> None:
        pass


def of_arrow(array: object, kind: Kind) -> list[object]:
    """The values of an Arrow array, whose own type has to be one of that kind."""
    import pyarrow as pa
    import pyarrow.types as is_a

    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    data_type = array.type
    wrong = TypeError(f"{data_type} where {kind} was expected")
    if kind.name == "list":
        if not (is_a.is_list(data_type) or is_a.is_large_list(data_type)):
            raise wrong
        return [None if not one.is_valid else of_arrow(one.values, kind.element) for one in array]
    if kind.name == "struct":
        if not is_a.is_struct(data_type):
            raise wrong
        parts = {name: of_arrow(array.field(name), of) for name, of in kind.fields}
        return [
            {name: parts[name][row] for name in parts} if one.is_valid else None for row, one in enumerate(array)
        ]
    if kind.name == "date" and is_a.is_date32(data_type):
        return array.cast(pa.int32()).to_pylist()
    if kind.name in ("timestamp", "timestamptz") and is_a.is_timestamp(data_type):
        if data_type.unit != "us" or (data_type.tz is not None) != (kind.name == "timestamptz"):
            raise wrong
        return array.cast(pa.int64()).to_pylist()
    if kind.name == "time" and data_type == pa.time64("us"):
        return array.cast(pa.int64()).to_pylist()
    is_text = is_a.is_string(data_type) or is_a.is_large_string(data_type) or is_a.is_string_view(data_type)
    is_bytes = is_a.is_binary(data_type) or is_a.is_large_binary(data_type) or is_a.is_binary_view(data_type)
    values = array.to_pylist()
    if kind.name == "uuid" and data_type == pa.binary(16):
        return [value and re.sub("(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", value.hex()) for value in values]
    expected = {
        "boolean": is_a.is_boolean(data_type), "int": data_type == pa.int32(), "long": data_type == pa.int64(),
        "float": data_type == pa.float32(), "double": data_type == pa.float64(), "string": is_text, "uuid": is_text,
        "binary": is_bytes,
    }
    if kind.name.startswith("decimal"):
        precision, scale = map(int, re.findall(r"\d+", kind.name))
        if not is_a.is_decimal(data_type) or (data_type.precision, data_type.scale) != (precision, scale):
            raise wrong
    elif not expected.get(kind.name, False):
        raise wrong
    return [None if value is None else plain(value, kind) for value in values]


def plain(value: object, kind: Kind) -> object:
    match kind.name:
        case "float":
            return single(value)
        case "double":
            return double(value)
        case "binary":
            return bytes(value).hex()
        case name if name.startswith("decimal"):
            return format(decimal.Decimal(value), "f")
        case _:
            return value


def in_order(table: object, columns: dict[str, Kind]) -> Columns:
    table = table.sort_by("id")
    return {name: of_arrow(table.column(name), kind) for name, kind in columns.items()}


class PyArrow(Reader):
    """Reads plain Parquet, whatever the table is."""

    reads_plain = True

    def __init__(self):
        self.name = f"pyarrow {importlib.metadata.version('pyarrow')}"

    def read(self, table: pathlib.Path, columns: dict[str, Kind]) -> Columns:
        import pyarrow.parquet

        return in_order(pyarrow.parquet.read_table(plain_files(table), columns=["id", *columns]), columns)


class DuckDb(Reader):
    reads_plain = True

    def __init__(self):
        import duckdb

        self.name = f"DuckDB {duckdb.__version__}"
        self.connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        for extension in ("avro", "httpfs", "iceberg"):
            found = [file for path in sys.path
                     for file in glob.glob(f"{path}/duckdb_extension_{extension}/extensions/*/*.duckdb_extension")]
            self.connection.load_extension(found[0])
        self.connection.execute("SET TimeZone = 'UTC'")

    def read(self, table: pathlib.Path, columns: dict[str, Kind]) -> Columns:
        names = ", ".join(f'"{name}"' for name in ["id", *columns])
        # What Arrow cannot tell: a date or timestamp that is infinite here.
        infinite = [f'"{name}"' for name, kind in columns.items() if kind.name in ("date", "timestamp", "timestamptz")]
        scan = f"read_parquet({plain_files(table)})" if is_plain(table) else f"iceberg_scan('{table}')"
        if infinite:
            asked = " or ".join(f"isinf({name})" for name in infinite)
            (count,) = self.connection.execute(f"select count(*) from {scan} where {asked}").fetchone()
            if count:
                raise ValueError("it reads infinity")
        return in_order(self.connection.execute(f"select {names} from {scan}").to_arrow_table(), columns)

    def close(self) -> None:
        self.connection.close()


class PyIceberg(Reader):
    def __init__(self):
        self.name = f"PyIceberg {importlib.metadata.version('pyiceberg')}"

    def read(self, table: pathlib.Path, columns: dict[str, Kind]) -> Columns:
        from pyiceberg.table import StaticTable

        loaded = StaticTable.from_metadata(str(table))
        return in_order(loaded.scan(selected_fields=("id", *columns)).to_arrow(), columns)


LOCAL = {"pyarrow": PyArrow, "duckdb": DuckDb, "pyiceberg": PyIceberg}


# The oldest of Iceberg's runtimes that filters uuids right is 1.10.1.
RUNTIME = "iceberg-spark-runtime-4.0_2.13", "1.10.1"


def spark_runtime() -> pathlib.Path:
    """Iceberg's runtime for Spark, from Maven Central once (47 MB)."""
    cache = pathlib.Path(os.environ.get("LAKEGATE_CACHE") or pathlib.Path.home() / ".cache/lakegate") / "spark-jars"
    name, version = RUNTIME
    jar = cache / f"{name}-{version}.jar"
    if not jar.exists():
        artifact = f"-Dartifact=org.apache.iceberg:{name}:{version}"
        subprocess.run(["mvn", "--quiet", "--batch-mode", "dependency:copy", artifact, f"-DoutputDirectory={cache}"],
                       check=True, stdout=sys.stderr)
    return jar


class Spark(Reader):
    """Spark with Iceberg's own runtime, over the lake's directory as a warehouse."""

    reads_plain = True
    TYPES = {
        "boolean": "boolean", "int": "int", "long": "bigint", "float": "float", "double": "double", "string": "string",
        "binary": "binary", "date": "date", "timestamp": "timestamp_ntz", "timestamptz": "timestamp", "uuid": "string",
    }

    def __init__(self, lake: pathlib.Path, jar: pathlib.Path):
        import pyspark
        from pyspark.sql import SparkSession

        self.name = f"Spark {pyspark.__version__}"
        catalog = "spark.sql.catalog.lake"
        self.session = (
            SparkSession.builder.master("local[2]").appName("traps")
            .config("spark.jars", str(jar)).config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC").config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1").config("spark.log.level", "ERROR")
            .config(catalog, "org.apache.iceberg.spark.SparkCatalog").config(f"{catalog}.type", "hadoop")
            .config(f"{catalog}.warehouse", f"file://{lake}").getOrCreate())

    def read(self, table: pathlib.Path, columns: dict[str, Kind]) -> Columns:
        if is_plain(table):
            named = self.session.read.parquet(*plain_files(table))
        else:
            named = self.session.table(f"lake.{table.parent.name}.{table.name}")
        types = {field.name: field.dataType.simpleString() for field in named.schema.fields}
        for name, kind in columns.items():
            if types[name] != self.type_of(kind):
                raise TypeError(f"{types[name]} where {self.type_of(kind)} was expected")
        items = [f"{self.expression(f'`{name}`', kind)} as c{number}"
                 for number, (name, kind) in enumerate(columns.items())]
        found = named.selectExpr("id", *items).sort("id").collect()
        return {name: [self.plain(row[f"c{number}"], kind) for row in found]
                for number, (name, kind) in enumerate(columns.items())}

    def type_of(self, kind: Kind) -> str:
        if kind.element:
            return f"array<{self.type_of(kind.element)}>"
        if kind.fields:
            return "struct<" + ",".join(f"{name}:{self.type_of(of)}" for name, of in kind.fields) + ">"
        return self.TYPES.get(kind.name, kind.name)

    def expression(self, value: str, kind: Kind, depth: int = 0) -> str:
        match kind.name:
            case "date":
                return f"unix_date({value})"
            case "timestamp" | "timestamptz":
                return f"unix_micros(cast({value} as timestamp))"
            case "binary":
                return f"lower(hex({value}))"
            case name if name.startswith("decimal"):
                return f"cast({value} as string)"
            case "list":
                inner = self.expression(f"x{depth}", kind.element, depth + 1)
                return f"transform({value}, x{depth} -> {inner})"
            case "struct":
                parts = (f"'{name}', {self.expression(f'{value}.`{name}`', of, depth)}" for name, of in kind.fields)
                return f"if({value} is null, null, named_struct({', '.join(parts)}))"
            case _:
                return value

    def plain(self, value: object, kind: Kind) -> object:
        if value is None:
            return None
        match kind.name:
            case "float":
                return single(value)
            case "double":
                return double(value)
            case "list":
                return [self.plain(one, kind.element) for one in value]
            case "struct":
                return {name: self.plain(value[name], of) for name, of in kind.fields}
            case _:
                return value

    def close(self) -> None:
        self.session.stop()


class Trino(Reader):
    """A Trino server with the lake's tables registered in a catalog of its own."""

    TYPES = {
        "boolean": "boolean", "int": "integer", "long": "bigint", "float": "real", "double": "double", "string": "varchar",
        "binary": "varbinary", "date": "date", "timestamp": "timestamp(6)", "timestamptz": "timestamp(6) with time zone",
        "time": "time(6)", "uuid": "uuid",
    }

    def __init__(self, version: str, port: int):
        self.name, self.address = f"Trino {version}", f"http://127.0.0.1:{port}/v1/statement"
        self.registered: set[pathlib.Path] = set()

    def ask(self, sql: str) -> tuple[list[dict], list[list]]:
        headers = {"X-Trino-User": "traps", "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME",
                   "X-Trino-Time-Zone": "UTC"}
        request = urllib.request.Request(self.address, sql.encode(), headers)
        columns, rows = [], []
        while True:
            with urllib.request.urlopen(request, timeout=300) as answer:
                page = json.load(answer)
            if "error" in page:
                raise RuntimeError(page["error"]["message"])
            columns = page.get("columns", columns)
            rows += page.get("data", [])
            if "nextUri" not in page:
                return columns, rows
            request = urllib.request.Request(page["nextUri"], headers=headers)

    def read(self, table: pathlib.Path, columns: dict[str, Kind]) -> Columns:
        schema, name = table.parent.name, table.name
        if table not in self.registered:
            newest = (table / "metadata/version-hint.text").read_text()
            self.ask(f"create schema if not exists lake.{schema}")
            self.ask(f"call lake.system.register_table('{schema}', '{name}', 'file://{table}', 'v{newest}.metadata.json')")
            self.registered.add(table)
        names = ", ".join(f'"{name}"' for name in columns)
        described, _ = self.ask(f"select {names} from lake.{schema}.{name} limit 0")
        for found, kind in zip(described, columns.values()):
            if found["type"] != self.type_of(kind):
                raise TypeError(f"{found['type']} where {self.type_of(kind)} was expected")
        items = ", ".join(self.expression(f'"{name}"', kind) for name, kind in columns.items())
        _, rows = self.ask(f"select {items} from lake.{schema}.{name} order by id")
        return {name: [self.plain(row[number], kind) for row in rows]
                for number, (name, kind) in enumerate(columns.items())}

    def type_of(self, kind: Kind) -> str:
        if kind.element:
            return f"array({self.type_of(kind.element)})"
        if kind.fields:
            return "row(" + ", ".join(f"{name} {self.type_of(of)}" for name, of in kind.fields) + ")"
        return self.TYPES.get(kind.name, kind.name.replace(",", ", "))

    def expression(self, value: str, kind: Kind, depth: int = 0) -> str:
        match kind.name:
            case "float":
                return f"to_hex(to_ieee754_32({value}))"
            case "double":
                return f"to_hex(to_ieee754_64({value}))"
            case "binary":
                return f"to_hex({value})"
            case "timestamptz":
                return f"cast({value} at time zone 'UTC' as varchar)"
            case "date" | "timestamp" | "time" | "uuid":
                return f"cast({value} as varchar)"
            case name if name.startswith("decimal"):
                return f"cast({value} as varchar)"
            case "list":
                inner = self.expression(f"x{depth}", kind.element, depth + 1)
                return f"transform({value}, x{depth} -> {inner})"
            case "struct":
                parts = ", ".join(self.expression(f'{value}."{name}"', of, depth) for name, of in kind.fields)
                return f"if({value} is null, null, row({parts}))"
            case _:
                return value

    def plain(self, value: object, kind: Kind) -> object:
        if value is None:
            return None
        match kind.name:
            case "float":
                return single(struct_of(">f", value))
            case "double":
                return double(struct_of(">d", value))
            case "binary":
                return value.lower()
            case "date":
                return calendar(value)[0]
            case "timestamp" | "timestamptz":
                day, micros = calendar(value)
                return day * 86_400_000_000 + micros
            case "time":
                return calendar(f"1970-01-01 {value}")[1]
            case "list":
                return [self.plain(one, kind.element) for one in value]
            case "struct":
                return {name: self.plain(one, of) for (name, of), one in zip(kind.fields, value)}
            case _:
                return value


def struct_of(form: str, bits: str) -> float:
    return struct.unpack(form, bytes.fromhex(bits))[0]


def calendar(text: str) -> tuple[int, int]:
    """A date or timestamp as Trino prints it: its day, and the microseconds of the day."""
    found = re.fullmatch(r"([+-]?\d+)-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?: UTC)?", text)
    if not found:
        raise ValueError(f"no date: {text}")
    year, month, day, hour, minute, second, fraction = found.groups()
    time_of_day = clock(int(hour or 0), int(minute or 0), int(second or 0), int((fraction or "0").ljust(6, "0")))
    return days(int(year), int(month), int(day)), time_of_day


@contextlib.contextmanager
def trino(home: pathlib.Path, java: str, directory: pathlib.Path, port: int) -> Iterator[Trino]:
    """A server of its own that reads this machine's files."""
    etc = directory / "etc"
    (etc / "catalog").mkdir(parents=True)
    plugins = directory / "plugin"
    plugins.mkdir()
    # Its start loads whatever is there, a hundred plugins.
    for plugin in ("iceberg", "geospatial"):
        (plugins / plugin).symlink_to(home / "plugin" / plugin)
    (etc / "config.properties").write_text(
        f"coordinator=true\nnode-scheduler.include-coordinator=true\nhttp-server.http.port={port}\n"
        f"discovery.uri=http://127.0.0.1:{port}\n")
    (etc / "catalog/lake.properties").write_text(
        "connector.name=iceberg\niceberg.catalog.type=TESTING_FILE_METASTORE\n"
        f"hive.metastore.catalog.dir=file://{directory}/metastore\nfs.hadoop.enabled=true\n"
        "iceberg.register-table-procedure.enabled=true\n")
    (directory / "metastore").mkdir()
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [java, "-server", "-Xmx2G", "-XX:+UseG1GC", "--add-modules=jdk.incubator.vector", "-Dnode.environment=traps",
             "-Dnode.id=traps", "-Dnode.bind-ip=127.0.0.1", "-Dnode.internal-address=127.0.0.1", f"-Dnode.data-dir={directory}/data", f"-Dconfig={etc}/config.properties", "-cp",
             f"{home}/lib/*", "io.trino.server.TrinoServer"], cwd=directory, stdout=log, stderr=log)
    try:
        reader = Trino(home.name.rpartition("-")[2], port)
        end = time.monotonic() + 600
        while True:
            try:
                reader.ask("show schemas from lake")
                break
            except (OSError, RuntimeError) as error:
                if server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"Trino did not come up: {(directory / 'log').read_text()[-2000:]}") from error
                time.sleep(0.5)
        yield reader
    finally:
        server.terminate()
        server.wait()
