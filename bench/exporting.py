"""A peer's export of lineitem into one Parquet file, once, in a process of its own; prints what it took as JSON.

    python bench/exporting.py duckdb|connectorx PORT FILE

The time and the processor of the start, of imports and of connecting are not counted."""

import json
import resource
import sys
import time
from collections.abc import Callable

import tpch

THREADS = 2
# As Lakegate's.
LEVEL = 3


def duckdb(port: int, file: str) -> Callable[[], object]:
    import duckdb

    database = duckdb.connect(config={"threads": THREADS})
    database.load_extension(tpch.extension("postgres_scanner"))
    where = f"host=127.0.0.1 port={port} dbname=postgres user={tpch.USER} password={tpch.PASSWORD}"
    database.execute(f"attach '{where}' as pg (type postgres, read_only)")
    # Lakegate keeps no order either, and DuckDB takes less memory and no more time without.
    database.execute("set preserve_insertion_order = false")
    return lambda: database.execute(
        f"copy (select * from pg.public.lineitem) to '{file}' (format parquet, compression zstd, compression_level {LEVEL})")


def connectorx(port: int, file: str) -> Callable[[], object]:
    import connectorx
    import pyarrow.parquet

    url = f"postgresql://{tpch.USER}:{tpch.PASSWORD}@127.0.0.1:{port}/postgres"

    def work() -> None:
        rows = connectorx.read_sql(url, "select * from lineitem", return_type="arrow", protocol="binary",
                                   partition_on="l_orderkey", partition_num=THREADS)
        pyarrow.parquet.write_table(rows, file, compression="zstd", compression_level=LEVEL)

    return work


def processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


work = {"duckdb": duckdb, "connectorx": connectorx}[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
used, begin = processor(), time.perf_counter()
work()
print(json.dumps({"wall": time.perf_counter() - begin, "processor": processor() - used}))
