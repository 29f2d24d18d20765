"""What is asked, in SQL that every engine reads alike, and when two answers are one."""

import dataclasses
import datetime
import decimal

from engines import Engine, Rows


class Wrong(Exception):
    """An answer that is not PostgreSQL's: it voids the whole run."""


@dataclasses.dataclass(frozen=True)
class Question:
    title: str
    sql: str
    # The tables that are read from MariaDB by who can; the others, and all for PostgreSQL, from PostgreSQL.
    in_mariadb: frozenset[str] = frozenset()

    def of(self, engine: Engine, **values: object) -> str:
        """The question in the names of the engine's tables."""
        return self.sql.format(**engine.names(self.in_mariadb), **values)


Q1 = Question("q1", """select l_returnflag, l_linestatus, sum(l_quantity) as sum_qty, sum(l_extendedprice) as sum_base_price,
  sum(l_extendedprice * (1 - l_discount)) as sum_disc_price,
  sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) as sum_charge, avg(l_quantity) as avg_qty,
  avg(l_extendedprice) as avg_price, avg(l_discount) as avg_disc, count(*) as count_order
from {lineitem} where l_shipdate <= date '1998-12-01' - interval '90' day
group by l_returnflag, l_linestatus order by l_returnflag, l_linestatus""")

Q6 = Question("q6", """select sum(l_extendedprice * l_discount) as revenue from {lineitem}
where l_shipdate >= date '1994-01-01' and l_shipdate < date '1994-01-01' + interval '1' year
  and l_discount between 0.06 - 0.01 and 0.06 + 0.01 and l_quantity < 24""")

# Rows of one price are told apart, so that there is one right answer.
TOP = Question("top-N", "select * from {lineitem} order by l_extendedprice desc, l_orderkey, l_linenumber limit 10")

Q3_SQL = """select l_orderkey, sum(l_extendedprice * (1 - l_discount)) as revenue, o_orderdate, o_shippriority
from {customer}, {orders}, {lineitem}
where c_mktsegment = 'BUILDING' and c_custkey = o_custkey and l_orderkey = o_orderkey
  and o_orderdate < date '1995-03-15' and l_shipdate > date '1995-03-15'
group by l_orderkey, o_orderdate, o_shippriority order by revenue desc, o_orderdate, l_orderkey limit 10"""
Q3_ORDERS = Question("q3, customer and orders in MariaDB", Q3_SQL, frozenset({"customer", "orders"}))
Q3_CUSTOMERS = Question("q3, customer in MariaDB", Q3_SQL, frozenset({"customer"}))

# Every column is decoded; texts are looked at whole by their order.
SCAN = Question("full scan of lineitem", """select count(*), sum(l_orderkey), sum(l_partkey), sum(l_suppkey), sum(l_linenumber),
  sum(l_quantity), sum(l_extendedprice), sum(l_discount), sum(l_tax), max(l_returnflag), min(l_linestatus), min(l_shipdate),
  max(l_commitdate), max(l_receiptdate), min(l_shipinstruct), max(l_shipmode), max(l_comment) from {lineitem}""")

POINT = Question("point lookup", "select * from {orders} where o_orderkey = {key}")
# A customer with three orders: which keys these are is known to MariaDB alone.
THREE = Question("cross-store join on three keys", """select o_orderkey, o_orderdate, l_linenumber, l_extendedprice
from {orders} join {lineitem} on l_orderkey = o_orderkey where o_custkey = {customer_key}
order by o_orderkey, l_linenumber""", frozenset({"orders"}))
ONE = Question("select 1", "select 1")

PANEL = Question("a panel", """select o_orderpriority, count(*) as orders, sum(o_totalprice) as turnover from {orders}
where o_orderdate >= date '{begin}' and o_orderdate < date '{end}' group by o_orderpriority order by o_orderpriority""")

ANALYTIC = [Q1, Q6, TOP, Q3_ORDERS, Q3_CUSTOMERS]


def check(who: Engine, question: Question, right: Rows, answer: Rows) -> None:
    """Raises `Wrong` unless it is the right answer."""
    if len(right) != len(answer):
        raise Wrong(f"{who.name}, {question.title}: {len(answer)} rows, not {len(right)}")
    for number, (expected, found) in enumerate(zip(right, answer)):
        if len(expected) != len(found) or not all(map(alike, expected, found)):
            raise Wrong(f"{who.name}, {question.title}, row {number + 1}: {found}, not {expected}")


def alike(right: object, value: object) -> bool:
    """Whether two values are one. Numbers are compared as far as the less precise type goes: averages are a double in
    DuckDB, and decimals of their operand's scale in Trino. Some readers give the padding of char(n), some do not."""
    if isinstance(right, str) and isinstance(value, str):
        return right.rstrip(" ") == value.rstrip(" ")
    if isinstance(right, datetime.date):
        return right == value
    if isinstance(value, float) and right is not None:
        return abs(float(right) - value) <= 1e-12 * abs(float(right))
    if isinstance(right, decimal.Decimal) and isinstance(value, decimal.Decimal):
        exponent = max(right.as_tuple().exponent, value.as_tuple().exponent)
        unit = decimal.Decimal(1).scaleb(exponent)
        with decimal.localcontext(prec=60, rounding=decimal.ROUND_HALF_UP):
            return right.quantize(unit) == value.quantize(unit)
    return right == value
