"""TPC-H in the stores: every table in PostgreSQL, and the customers and orders in MariaDB too."""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile

import duckdb
import psycopg2

import peers

CACHE = pathlib.Path(os.environ.get("LAKEGATE_CACHE") or pathlib.Path.home() / ".cache/lakegate") / "tpch"
# The standard's columns: identifiers are integers, of orders those that need not fit in 32 bits.
COLUMNS = {
    "region": "r_regionkey int not null primary key, r_name char(25) not null, r_comment varchar(152)",
    "nation": "n_nationkey int not null primary key, n_name char(25) not null, n_regionkey int not null,"
              " n_comment varchar(152)",
    "part": "p_partkey int not null primary key, p_name varchar(55) not null, p_mfgr char(25) not null,"
            " p_brand char(10) not null, p_type varchar(25) not null, p_size int not null, p_container char(10) not null,"
            " p_retailprice decimal(15,2) not null, p_comment varchar(23) not null",
    "supplier": "s_suppkey int not null primary key, s_name char(25) not null, s_address varchar(40) not null,"
                " s_nationkey int not null, s_phone char(15) not null, s_acctbal decimal(15,2) not null,"
                " s_comment varchar(101) not null",
    "partsupp": "ps_partkey int not null, ps_suppkey int not null, ps_availqty int not null,"
                " ps_supplycost decimal(15,2) not null, ps_comment varchar(199) not null, primary key (ps_partkey, ps_suppkey)",
    "customer": "c_custkey int not null primary key, c_name varchar(25) not null, c_address varchar(40) not null,"
                " c_nationkey int not null, c_phone char(15) not null, c_acctbal decimal(15,2) not null,"
                " c_mktsegment char(10) not null, c_comment varchar(117) not null",
    "orders": "o_orderkey bigint not null primary key, o_custkey int not null, o_orderstatus char(1) not null,"
              " o_totalprice decimal(15,2) not null, o_orderdate date not null, o_orderpriority char(15) not null,"
              " o_clerk char(15) not null, o_shippriority int not null, o_comment varchar(79) not null",
    "lineitem": "l_orderkey bigint not null, l_partkey int not null, l_suppkey int not null, l_linenumber int not null,"
                " l_quantity decimal(15,2) not null, l_extendedprice decimal(15,2) not null,"
                " l_discount decimal(15,2) not null, l_tax decimal(15,2) not null, l_returnflag char(1) not null,"
                " l_linestatus char(1) not null, l_shipdate date not null, l_commitdate date not null,"
                " l_receiptdate date not null, l_shipinstruct char(25) not null, l_shipmode char(10) not null,"
                " l_comment varchar(44) not null, primary key (l_orderkey, l_linenumber)",
}
# The foreign keys that the primary keys do not begin with, and the dates by which both large tables are asked.
INDEXES = {
    "nation": ["n_regionkey"], "supplier": ["s_nationkey"], "partsupp": ["ps_suppkey"], "customer": ["c_nationkey"],
    "orders": ["o_custkey", "o_orderdate"], "lineitem": ["l_partkey, l_suppkey", "l_shipdate"],
}
IN_MARIADB = ["customer", "orders"]
# Reads what it may and nothing else; the password is for the protocols alone, as nothing leaves loopback.
USER, PASSWORD = "lakegate", "lakegate-bench"


def extension(name: str) -> str:
    """Where the file of a DuckDB extension is that was installed as a package: DuckDB would look for it elsewhere."""
    for path in map(pathlib.Path, sys.path):
        found = sorted(path.glob(f"duckdb_extension_{name}/extensions/v{duckdb.__version__}/*.duckdb_extension"))
        if found:
            return str(found[0])
    raise RuntimeError(f"DuckDB's extension {name} {duckdb.__version__} is not installed")


def files(scale: float) -> pathlib.Path:
    """The folder with the tables as the standard's own generator makes them, a CSV file each; made once and kept."""
    folder = CACHE / f"{scale:g}"
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    making = pathlib.Path(tempfile.mkdtemp(dir=CACHE))
    try:
        with duckdb.connect() as database:
            database.load_extension(extension("tpch"))
            database.execute(f"call dbgen(sf = {scale})")
            for table in COLUMNS:
                database.execute(f"copy {table} to '{making / table}.csv' (header false)")
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def load(scale: float, postgres: int, mariadb_socket: str) -> None:
    """Fills both servers, with indexes and statistics."""
    folder = files(scale)
    load_postgres(postgres, folder)
    load_mariadb(mariadb_socket, folder)


def load_postgres(port: int, folder: pathlib.Path, text: str = "char") -> None:
    """`text` is the type of what has one length: char(n) has blanks at its end wherever it is copied to, varchar has none."""
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for table, columns in COLUMNS.items():
                cursor.execute(f"create table {table} ({columns.replace(' char(', f' {text}(')})")
                with (folder / f"{table}.csv").open(encoding="utf-8") as rows:
                    cursor.copy_expert(f"copy {table} from stdin (format csv)", rows)
                for key in INDEXES.get(table, []):
                    cursor.execute(f"create index on {table} ({key})")
            cursor.execute(f"create role {USER} login password '{PASSWORD}'")
            cursor.execute(f"grant select on all tables in schema public to {USER}")
            cursor.execute("vacuum (freeze, analyze)")
            # What was just written must not be written out while something is measured.
            cursor.execute("checkpoint")


def load_mariadb(socket_file: str, folder: pathlib.Path) -> None:
    peers.mariadb(socket_file, "create database tpch character set utf8mb4")
    for table in IN_MARIADB:
        peers.mariadb(
            socket_file,
            f"create table {table} ({COLUMNS[table]}); "
            f"load data local infile '{folder / table}.csv' into table {table} character set utf8mb4 "
            "fields terminated by ',' optionally enclosed by '\"' escaped by '';",
            "tpch")
        for key in INDEXES[table]:
            peers.mariadb(socket_file, f"create index {key} on {table} ({key})", "tpch")
    peers.mariadb(
        socket_file,
        f"analyze table {', '.join(IN_MARIADB)}; create user {USER} identified by '{PASSWORD}'; "
        f"grant select on tpch.* to {USER};",
        "tpch")
