"""Reads a lake table with PyIceberg and with DuckDB's iceberg extension.

usage: readers.py QUESTION

QUESTION is JSON: {"table": "/path/of/it or s3://bucket/path", "versions": 3, "filters": {"duckdb": [...], "pyiceberg":
[...]}}, the same conditions in each reader's own syntax, and for a bucket {"s3": {"server": "host:port", "key": ...,
"secret": ...}}. Prints one JSON object: per reader all rows, the ids that pass each filter, and the ids of every
version.
"""

import datetime
import decimal
import glob
import json
import os
import sys
import uuid


def plain(value):
    """A value as JSON, the same whichever reader it comes from."""
    if isinstance(value, (list, tuple)):
        # pyarrow gives a map as pairs, DuckDB as a dictionary
        if value and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
            return {str(key): plain(item) for key, item in value}
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            return value.astimezone(datetime.timezone.utc).isoformat()
        return value.isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, (bytes, bytearray)):
        return "hex:" + bytes(value).hex()
    if isinstance(value, float):
        return repr(value)
    return value


def with_duckdb(table, versions, filters, s3):
    import duckdb
    import duckdb_extension_avro
    import duckdb_extension_httpfs
    import duckdb_extension_iceberg

    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for module in (duckdb_extension_avro, duckdb_extension_httpfs, duckdb_extension_iceberg):
        folder = os.path.dirname(module.__file__)
        (extension,) = glob.glob(folder + "/extensions/*/*.duckdb_extension")
        connection.execute(f"LOAD '{extension}'")
    connection.execute("SET TimeZone = 'UTC'")
    if s3:
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{s3['key']}', SECRET '{s3['secret']}', ENDPOINT '{s3['server']}', "
            "URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')"
        )

    def select(columns, scan, condition=None):
        where = f" where {condition}" if condition else ""
        arrow = connection.execute(f"select {columns} from iceberg_scan('{scan}'){where}").to_arrow_table()
        return arrow.to_pylist()

    def ids(scan, condition=None):
        return sorted(row["id"] for row in select("id", scan, condition))

    return {
        "rows": sorted((plain(row) for row in select("*", table)), key=lambda row: row["id"]),
        "filters": [ids(table, condition) for condition in filters],
        "versions": [ids(version) for version in versions],
    }


def with_pyiceberg(table, versions, filters, s3):
    from pyiceberg.table import StaticTable

    properties = {}
    if s3:
        properties = {
            "s3.endpoint": f"http://{s3['server']}",
            "s3.access-key-id": s3["key"],
            "s3.secret-access-key": s3["secret"],
            "s3.region": "us-east-1",
        }

    def load(location):
        return StaticTable.from_metadata(location, properties)

    def ids(loaded, condition=None):
        scan = loaded.scan(row_filter=condition) if condition else loaded.scan()
        return sorted(scan.select("id").to_arrow().column("id").to_pylist())

    newest = load(table)
    rows = newest.scan().to_arrow().to_pylist()
    return {
        "rows": sorted((plain(row) for row in rows), key=lambda row: row["id"]),
        "filters": [ids(newest, condition) for condition in filters],
        "versions": [ids(load(version)) for version in versions],
        "planned_files": [len(list(newest.scan(row_filter=condition).plan_files())) for condition in filters],
    }


def main():
    question = json.loads(sys.argv[1])
    table, filters, s3 = question["table"], question["filters"], question.get("s3")
    versions = [f"{table}/metadata/v{number + 1}.metadata.json" for number in range(question["versions"])]
    result = {
        "duckdb": with_duckdb(table, versions, filters["duckdb"], s3),
        "pyiceberg": with_pyiceberg(table, versions, filters["pyiceberg"], s3),
    }
    json.dump(result, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main()
