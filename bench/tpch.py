"""TPC-H: its rows, made by DuckDB's generator and kept; its tables in PostgreSQL and MariaDB; the queries measured."""

import contextlib
import glob
import importlib
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import duckdb
import psycopg2

import peers

CACHE = pathlib.Path(os.environ.get("LAKEGATE_CACHE") or pathlib.Path.home() / ".cache/lakegate")

# The types of the specification.
TABLES = {
    "region": "r_regionkey int primary key, r_name char(25) not null, r_comment varchar(152)",
    "nation": "n_nationkey int primary key, n_name char(25) not null, n_regionkey int not null, n_comment varchar(152)",
    "supplier": "s_suppkey int primary key, s_name char(25) not null, s_address varchar(40) not null,"
    " s_nationkey int not null, s_phone char(15) not null, s_acctbal decimal(15,2) not null, s_comment varchar(101) not null",
    "customer": "c_custkey int primary key, c_name varchar(25) not null, c_address varchar(40) not null,"
    " c_nationkey int not null, c_phone char(15) not null, c_acctbal decimal(15,2) not null,"
    " c_mktsegment char(10) not null, c_comment varchar(117) not null",
    "part": "p_partkey int primary key, p_name varchar(55) not null, p_mfgr char(25) not null, p_brand char(10) not null,"
    " p_type varchar(25) not null, p_size int not null, p_container char(10) not null,"
    " p_retailprice decimal(15,2) not null, p_comment varchar(23) not null",
    "partsupp": "ps_partkey int not null, ps_suppkey int not null, ps_availqty int not null,"
    " ps_supplycost decimal(15,2) not null, ps_comment varchar(199) not null, primary key (ps_partkey, ps_suppkey)",
    "orders": "o_orderkey bigint primary key, o_custkey int not null, o_orderstatus char(1) not null,"
    " o_totalprice decimal(15,2) not null, o_orderdate date not null, o_orderpriority char(15) not null,"
    " o_clerk char(15) not null, o_shippriority int not null, o_comment varchar(79) not null",
    "lineitem": "l_orderkey bigint not null, l_partkey int not null, l_suppkey int not null, l_linenumber int not null,"
    " l_quantity decimal(15,2) not null, l_extendedprice decimal(15,2) not null, l_discount decimal(15,2) not null,"
    " l_tax decimal(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null,"
    " l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null,"
    " l_shipinstruct char(25) not null, l_shipmode char(10) not null, l_comment varchar(44) not null,"
    " primary key (l_orderkey, l_linenumber)",
}
IN_MARIADB = ("customer", "orders")

Q1 = """select l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice),
    sum(l_extendedprice * (1 - l_discount)), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)),
    avg(l_quantity), avg(l_extendedprice), avg(l_discount), count(*)
from {lineitem} where l_shipdate <= date '1998-12-01' - interval '90' day
group by l_returnflag, l_linestatus order by l_returnflag, l_linestatus"""
Q6 = """select sum(l_extendedprice * l_discount) from {lineitem}
where l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01'
    and l_discount between 0.05 and 0.07 and l_quantity < 24"""
TOP = "select * from {lineitem} order by l_extendedprice desc, l_orderkey, l_linenumber limit 10"
Q3 = """select l_orderkey, sum(l_extendedprice * (1 - l_discount)) as revenue, o_orderdate, o_shippriority
from {customer} join {orders} on c_custkey = o_custkey join {lineitem} on l_orderkey = o_orderkey
where c_mktsegment = 'BUILDING' and o_orderdate < date '1995-03-15' and l_shipdate > date '1995-03-15'
group by l_orderkey, o_orderdate, o_shippriority order by revenue desc, o_orderdate, l_orderkey limit 10"""
POINT = "select o_totalprice, o_orderdate from {orders} where o_orderkey = {key}"
THREE_KEYS = """select c_name, o_orderkey, o_totalprice from {customer} join {orders} on o_custkey = c_custkey
where c_custkey in (7, 1301, 1448) order by o_orderkey"""
# Every column of every row, decoded and looked at.
SCAN = """select count(*), sum(l_orderkey), sum(l_partkey), sum(l_suppkey), sum(l_linenumber), sum(l_quantity),
    sum(l_extendedprice), sum(l_discount), sum(l_tax), sum(length(l_returnflag)), sum(length(l_linestatus)),
    min(l_shipdate), max(l_commitdate), min(l_receiptdate), max(l_shipinstruct), min(l_shipmode), sum(length(l_comment))
from {lineitem}"""


def extended(*modules: str) -> duckdb.DuckDBPyConnection:
    """DuckDB with extensions that came from PyPI."""
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for module in modules:
        folder = pathlib.Path(importlib.import_module(f"duckdb_extension_{module}").__file__).parent
        (extension,) = glob.glob(f"{folder}/extensions/*/*.duckdb_extension")
        connection.execute(f"load '{extension}'")
    return connection


def files(scale: str) -> pathlib.Path:
    """The folder with each table as a file of tab-separated rows."""
    folder = CACHE / f"tpch-{scale}"
    if not folder.exists():
        making = pathlib.Path(tempfile.mkdtemp(dir=CACHE))
        connection = extended("tpch")
        connection.execute(f"call dbgen(sf = {scale})")
        for table in TABLES:
            connection.table(table).to_csv(f"{making}/{table}", sep="\t", header=False)
        making.rename(folder)
    return folder


def fill_postgres(port: int, folder: pathlib.Path) -> None:
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for table, columns in TABLES.items():
                cursor.execute(f"create table {table} ({columns})")
                with open(folder / table, encoding="utf-8") as rows:
                    cursor.copy_expert(f"copy {table} from stdin (format csv, delimiter E'\\t')", rows)
            cursor.execute("create index on orders (o_custkey)")
            cursor.execute("vacuum (analyze, freeze)")
            # What was just written must not be written out while something is measured.
            cursor.execute("checkpoint")


@contextlib.contextmanager
def mariadb(folder: pathlib.Path) -> Iterator[int]:
    """A throw-away server with customers and orders, and a user `lakegate` without a password; yields its port."""
    server = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    directory = tempfile.mkdtemp(prefix="lakegate-bench-")
    data, port = f"{directory}/data", peers.free_port()
    # As whoever runs this: root has to be named.
    owner = ["--user=root"] if os.getuid() == 0 else []
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["mariadb-install-db", "--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal",
                    f"--datadir={data}", *owner], check=True, **quiet)
    process = subprocess.Popen([server, "--no-defaults", f"--datadir={data}", f"--socket={directory}/socket",
                                f"--port={port}", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=512M",
                                "--innodb-flush-log-at-trx-commit=0", "--local-infile=1", *owner], **quiet)

    def sql(statements: str) -> None:
        subprocess.run(["mariadb", "--no-defaults", "--user=root", "--local-infile=1", f"--socket={directory}/socket"],
                       input=statements.encode(), check=True, **quiet)

    try:
        for _ in range(300):
            try:
                sql("select 1")
                break
            except subprocess.CalledProcessError:
                subprocess.run(["sleep", "0.1"], check=True)
        sql("create database tpch; create user lakegate identified by ''; grant select, process on *.* to lakegate")
        for table in IN_MARIADB:
            sql(f"use tpch; create table {table} ({TABLES[table]}); "
                f"load data local infile '{folder / table}' into table {table} fields terminated by '\\t' optionally enclosed by '\"'")
        sql("use tpch; create index by_customer on orders (o_custkey); analyze table customer; analyze table orders")
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)
