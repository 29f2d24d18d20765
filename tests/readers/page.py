"""docs/types.md, made of tables.py."""

import stores
from tables import ICEBERG, PORTABLE, Column, Refusal

READERS = ["pyarrow", "DuckDB", "PyIceberg", "Spark", "Trino"]

HEAD = """# Types

What each type of each store becomes in a lake table, and what others read there. This page is made of
`tests/readers/tables.py`, which is also the test: `tests/readers/traps.sh` fills stores with the values below, exports them
with `lakegate serve`, and compares what pyarrow 26.0, DuckDB 1.5, PyIceberg 0.12, Spark 4.0 with Iceberg 1.10.1 and
Trino 476 find with what was put in, value by value and type by type. Each column also holds NULL.

A value is exported exactly, or the run fails and names the column and what to do ([below](#what-is-refused)). No value is
rounded, cut, wrapped or turned into NULL, but where a manifest says so (`cast`, `onCastError`, a mask, `zeroDates`).

## Profiles

`destination.profile` says which types a table has.

| | `Portable` (default) | `Iceberg` | `Hive3`, with `format: Parquet` |
|---|---|---|---|
| made for | every engine reads every column alike | Iceberg's own types | Hive 3 and what is as old |
| uuid | string of 36 characters | uuid | string |
| time of day | string `HH:MM:SS.ffffff` | time; Spark refuses tables that have one | string |
| bytes of a fixed length | binary | fixed(n) | binary |
| timestamps | timestamp, timestamptz | the same | strings in UTC, years 1 to 9999 |
| dates | date | date | date, from 1582-10-15 |
| decimals in Parquet | INT32, INT64 or bytes, by their digits | the same | bytes of a fixed length |

The profile of a table stays: its columns cannot become other types. Export into another table instead.

In all profiles integers are signed (an unsigned column takes the next wider type), a decimal has at most 38 digits
(wider ones are text), timestamps count microseconds, lists, structs and maps keep their parts, and intervals are text in
ISO 8601.

What a lake type is to each reader:

| Iceberg | pyarrow, PyIceberg | DuckDB | Spark | Trino |
|---|---|---|---|---|
| boolean | bool | BOOLEAN | boolean | boolean |
| int, long | int32, int64 | INTEGER, BIGINT | int, bigint | integer, bigint |
| float, double | float, double | FLOAT, DOUBLE | float, double | real, double |
| decimal(p,s) | decimal128(p,s) | DECIMAL(p,s) | decimal(p,s) | decimal(p,s) |
| string | string | VARCHAR | string | varchar |
| binary | binary | BLOB | binary | varbinary |
| date | date32 | DATE | date | date |
| timestamp | timestamp[us] | TIMESTAMP | timestamp_ntz | timestamp(6) |
| timestamptz | timestamp[us, UTC] | TIMESTAMP WITH TIME ZONE | timestamp | timestamp(6) with time zone |
| uuid (`Iceberg`) | 16 bytes, arrow.uuid | UUID | string | uuid |
| time (`Iceberg`) | time64[us] | TIME | refused | time(6) |
| list, struct | list, struct | LIST, STRUCT | array, struct | array, row |

## Names

A column's name becomes lower case, and whatever is neither a letter, a digit nor `_` becomes `_`; one that begins with a
digit gets a `_` before it, and one that Iceberg's engines use themselves (`_pos`, `_file`, `_deleted`, …) one behind it.
Letters of every script stay. Two columns that would have one name, and names of more than 255 bytes, fail the run before it
reads a row: rename one with `as`, or leave it out.
"""


def code(text: str) -> str:
    text = text if len(text) <= 44 else text[:30] + "…" + text[-10:]
    text = text.replace("|", "\\|").replace("\n", "\\n")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def marks(column: Column, notes: list[str], readers: list[str]) -> list[str]:
    """A cell a reader."""
    cells = []
    for reader in READERS:
        said = [f"profile {profile}: {text}" for profile, text in
                ((profile, column.readers.get((profile, reader))) for profile in (PORTABLE, ICEBERG)) if text]
        if reader not in readers:
            cells.append("")
            continue
        if not said:
            cells.append("✓")
            continue
        note = f"{reader}, {'; '.join(said)}"
        if note not in notes:
            notes.append(note)
        cells.append(f"({notes.index(note) + 1})")
    return cells


def table_of(trap: stores.Trap) -> str:
    lines = [
        f"| {trap.title} | in the lake | with `Iceberg` | values | {' | '.join(READERS)} |",
        "|---|---|---|---|" + "---|" * len(READERS),
    ]
    notes, remarks = [], []
    # The others have no catalog of plain files.
    readers = ["pyarrow", "DuckDB", "Spark"] if trap is stores.HIVE else READERS
    for column in trap.columns:
        declared = column.shown or column.declared or "no type"
        if column.lake_name:
            declared += f", named {code(column.name)}"
        kind = column.kind + (f", named {code(column.lake_name)}" if column.lake_name else "")
        values = " ".join(code(literal) for literal, _ in column.cases)
        own = column.iceberg[0] if column.iceberg else ""
        lines.append(f"| {declared} | {kind} | {own} | {values} | {' | '.join(marks(column, notes, readers))} |")
        if column.note:
            remarks.append(f"- {declared}: {column.note}")
    lines += ["", *(f"({number}) {note}." for number, note in enumerate(notes, 1))]
    if remarks:
        lines += ["", *remarks]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def refusals_of(title: str, refusals: list[Refusal]) -> str:
    lines = [f"| {title} | instead |", "|---|---|"]
    lines += [f"| {refusal.what} | {refusal.remedy} |" for refusal in refusals]
    return "\n".join(lines) + "\n"


def text() -> str:
    traps = [*stores.TRAPS, stores.HIVE]
    parts = [HEAD, *(f"## {trap.title}\n\n{table_of(trap)}" for trap in traps)]
    parts.append(
        "## What is refused\n\nThe run fails with the column's name and what to do; a `where` that leaves such rows out works, "
        "too. A status, an event and a log show no value.\n\n"
        + "\n".join(refusals_of(title, refusals) for title, _, refusals in stores.REFUSALS.values())
        + "\nFrom every store: a value over 64 MiB, a timestamp finer than a microsecond, and the last day or microsecond that "
        "its type can count, which DuckDB reads as infinity.\n")
    return "\n".join(parts)
