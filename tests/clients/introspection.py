"""What BI tools and drivers ask to find out what is there, answered by PostgreSQL and by the gateway over the same database.

usage: introspection.py BINARY [--show TOOL]

introspection.json holds statements as real clients sent them, in their order; introspection.sql the database they were
sent to. A throw-away PostgreSQL gets that database; `lakegate serve` has it as a DataSource. Each tool's statements are
sent to both, in one session a tool, by the protocol the tool used. Compared are: status, names and types of columns, and
rows, whatever their order where none is asked for, with object ids replaced by the names of what they stand for.
"""

import argparse
import collections
import json
import pathlib
import re
import sys
import tempfile
import time
from dataclasses import dataclass

import yaml

import protocol

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "bench"))

import peers  # noqa: E402  what starts the servers is bench's
import served  # noqa: E402

USER, DATABASE = "postgres", "bi"
# Objects of the server where the statements were recorded, whose ids stand in some of them.
RECORDED = {"16391": "sales.orders", "16413": "public.t1"}
# What has ids of its own.
NAMED = """
    select oid, 'relation ' || relnamespace::regnamespace || '.' || relname from pg_class where oid >= 16384
    union all select oid, 'schema ' || nspname from pg_namespace where oid >= 12000
    union all select oid, 'type ' || typname from pg_type where oid >= 16384
    union all select oid, 'constraint ' || conname from pg_constraint
    union all select oid, 'database ' || datname from pg_database
"""


@dataclass
class Outcome:
    """How the gateway's answer to one statement compares."""

    statement: dict
    # equal, rows, shape or error
    kind: str
    detail: str = ""


class Server:
    """A session of one tool, and what the server's object ids mean."""

    def __init__(self, port: int):
        self.client = protocol.Client(port, USER, DATABASE)
        answer = self.client.simple(NAMED)[0]
        if answer.error:
            raise SystemExit(f"cannot read object ids: {answer.error}")
        self.names = {oid: name for oid, name in answer.rows if oid is not None}
        self.oids = {name: oid for oid, name in self.names.items()}

    def own_ids(self, text: str) -> str:
        for recorded, name in RECORDED.items():
            text = re.sub(rf"\b{recorded}\b", self.oids[f"relation {name}"], text)
        return text

    def ask(self, statement: dict) -> list[protocol.Result]:
        sql = self.own_ids(statement["sql"])
        if statement["proto"] == "simple":
            return self.client.simple(sql)
        given = statement["params"] or {}
        values = [given[key] for key in sorted(given, key=int)]
        values = [None if value == "NULL" else self.own_ids(value[1:-1].replace("''", "'")) for value in values]
        return self.client.extended(sql, values)

    def plain(self, row: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """A row with names in place of object ids."""
        return tuple(
            value and re.sub(r"\b\d{4,}\b", lambda found: self.names.get(found[0], found[0]), value) for value in row
        )


def compare(statement: dict, reference: Server, gateway: Server) -> Outcome:
    expected, found = reference.ask(statement), gateway.ask(statement)
    for wanted, got in zip(expected, found):
        if bool(wanted.error) != bool(got.error):
            return Outcome(statement, "error", f"{got.error or f'PostgreSQL refuses: {wanted.error}'}")
        if wanted.error and got.error and wanted.error[0] != got.error[0]:
            return Outcome(statement, "shape", f"{got.error} for {wanted.error}")
        wanted_columns = [(column.name, column.type) for column in wanted.columns]
        got_columns = [(column.name, column.type) for column in got.columns]
        if wanted_columns != got_columns:
            differ = [f"{got} for {wanted}" for wanted, got in zip(wanted_columns, got_columns) if wanted != got]
            return Outcome(statement, "shape", ", ".join(differ) or f"{len(got_columns)} for {len(wanted_columns)} columns")
        wanted_rows, got_rows = map(reference.plain, wanted.rows), map(gateway.plain, got.rows)
        missing = collections.Counter(wanted_rows)
        added = collections.Counter(got_rows)
        missing, added = missing - added, added - missing
        if missing or added or wanted.tag != got.tag:
            detail = [f"{wanted.tag} / {got.tag}"] if wanted.tag != got.tag else []
            detail += [f"lacks {row}" for row in list(missing)[:3]] + [f"has {row}" for row in list(added)[:3]]
            return Outcome(statement, "rows", "\n      ".join(detail))
    if len(expected) != len(found):
        return Outcome(statement, "shape", f"{len(found)} results for {len(expected)}")
    return Outcome(statement, "equal")


def family(tool: str) -> str:
    """psql's commands are one tool, and so are a driver's settings."""
    return tool.split("_")[0] if tool.startswith(("psql", "odbc")) else tool


def replay(reference_port: int, gateway_port: int, only: str | None) -> dict[str, list[Outcome]]:
    statements = json.loads((HERE / "introspection.json").read_text())
    outcomes: dict[str, list[Outcome]] = collections.defaultdict(list)
    for tool in dict.fromkeys(statement["tool"] for statement in statements):
        if only and not tool.startswith(only):
            continue
        reference, gateway = Server(reference_port), Server(gateway_port)
        for statement in statements:
            if statement["tool"] == tool:
                outcomes[family(tool)].append(compare(statement, reference, gateway))
        reference.client.close()
        gateway.client.close()
    return outcomes


def table(outcomes: dict[str, list[Outcome]]) -> list[str]:
    lines = ["| tool | statements | equal | other rows | other shape | error |", "|---|---|---|---|---|---|"]
    total: collections.Counter[str] = collections.Counter()
    for tool, found in [*sorted(outcomes.items())]:
        kinds = collections.Counter(outcome.kind for outcome in found)
        total += kinds
        lines.append(row(tool, kinds))
    return [*lines, row("all", total)]


def row(tool: str, kinds: collections.Counter[str]) -> str:
    counts = [sum(kinds.values()), *(kinds[kind] for kind in ("equal", "rows", "shape", "error"))]
    return "| " + " | ".join([tool, *map(str, counts)]) + " |"


def await_served(port: int) -> None:
    """Until the gateway has looked at the store."""
    end = time.monotonic() + 60
    while True:
        try:
            client = protocol.Client(port, USER, DATABASE)
            answers = client.simple("select 1 from sales.orders limit 1")
            client.close()
            if not answers[0].error:
                return
            problem: object = answers[0].error
        except ConnectionError as error:
            problem = error
        if time.monotonic() > end:
            raise SystemExit(f"sales.orders is not served: {problem}")
        time.sleep(0.05)


def manifests(port: int) -> str:
    server = {"database": DATABASE, "primary": {"host": "127.0.0.1", "port": port},
              "credentials": {"secretRef": {"name": "store"}}, "tls": {"mode": "Disable"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store"},
              "stringData": {"username": USER, "password": "unused"}}
    source = {"apiVersion": "lakegate.dev/v1alpha1", "kind": "DataSource", "metadata": {"name": DATABASE},
              "spec": {"postgres": server}}
    return yaml.safe_dump_all([secret, source])


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--show", help="tell of this tool's statements alone, and how each differs")
    options = arguments.parse_args()
    with peers.empty_postgres() as port, tempfile.TemporaryDirectory() as folder:
        administrator = protocol.Client(port, USER, "postgres")
        administrator.simple(f"create database {DATABASE}")
        administrator.close()
        owner = protocol.Client(port, USER, DATABASE)
        failed = [result.error for result in owner.simple((HERE / "introspection.sql").read_text()) if result.error]
        owner.close()
        if failed:
            raise SystemExit(f"the fixture: {failed}")
        (pathlib.Path(folder) / "bi.yaml").write_text(manifests(port))
        with served.serving(options.binary, folder) as (_, gateway):
            await_served(gateway)
            outcomes = replay(port, gateway, options.show)
    for found in outcomes.values():
        for outcome in found:
            if outcome.kind != "equal" and options.show is not None:
                sql = " ".join(outcome.statement["sql"].split())
                print(f"{outcome.statement['tool']} {outcome.kind}: {sql[:1500]}\n      {outcome.detail}")
    print("\n".join(table(outcomes)))


if __name__ == "__main__":
    main()
