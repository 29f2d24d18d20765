"""Reads the newest run of plain Parquet files in Hive's directories, with DuckDB and with pyarrow.

usage: plain_readers.py /path/of/the/table

The run manifest tells the types of the columns that only directories have; of fields that are derived from a column the
readers are told that they are text. Prints one JSON object: per reader the rows in the order of `id`, and the columns that
the row's file has itself.
"""

import datetime
import decimal
import json
import pathlib
import sys

SQL = {"long": "BIGINT", "int": "INTEGER", "string": "VARCHAR", "date": "DATE", "boolean": "BOOLEAN", "timestamp": "TIMESTAMP"}


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return value


def arrow_type(name):
    import pyarrow as pa

    # pyarrow makes no decimals of directories
    if name.startswith("decimal"):
        return pa.string()
    return {"long": pa.int64(), "int": pa.int32(), "string": pa.string(), "date": pa.date32(), "boolean": pa.bool_(),
            "timestamp": pa.timestamp("us")}[name]


def with_duckdb(directory, types):
    import duckdb

    connection = duckdb.connect()
    told = ", ".join(f"'{name}': '{SQL.get(kind, kind)}'" for name, kind in types.items())
    rows = connection.execute(
        "select * exclude (filename), filename from read_parquet(?, hive_partitioning = true, filename = true, "
        f"hive_types = {{{told}}}) order by id", [f"{directory}/**/*.parquet"]).to_arrow_table()
    return rows.to_pylist()


def with_pyarrow(directory, types):
    import pyarrow as pa
    import pyarrow.dataset as ds

    told = pa.schema([(name, arrow_type(kind)) for name, kind in types.items()])
    files = ds.dataset(directory, format="parquet", partitioning=ds.partitioning(told, flavor="hive"))
    of_file = {}
    for fragment in files.get_fragments():
        of_file |= {id: fragment.path for id in fragment.to_table(columns=["id"]).column("id").to_pylist()}
    return [row | {"filename": of_file[row["id"]]} for row in files.to_table().sort_by("id").to_pylist()]


def main():
    import pyarrow.parquet

    table = pathlib.Path(sys.argv[1])
    (manifest,) = (table / "_runs").glob("*.json")
    run = json.loads(manifest.read_text())
    columns = {column["name"]: column["dataType"] for column in run["columns"]}
    types = {
        field["name"]: columns[field["column"]] if field["transform"] == "identity" else "string"
        for field in run["partitionFields"]
    }
    # as a process would find it that knows the directory alone
    directory = str(table / run["directory"])
    result = {}
    for name, read in (("duckdb", with_duckdb), ("pyarrow", with_pyarrow)):
        rows = []
        for row in read(directory, types):
            file = row.pop("filename")
            in_file = sorted(pyarrow.parquet.read_schema(file).names)
            rows.append({"row": {column: plain(value) for column, value in row.items()}, "in_file": in_file})
        result[name] = rows
    json.dump(result, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main()
