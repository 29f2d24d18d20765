"""What a value is, whoever read it.

A value of the lake is written here as its column's Iceberg type holds it: a date as days, a timestamp or a time as
microseconds, a float as its bits, a decimal and a uuid as text, bytes as hexadecimal. So values that Python has no form
for (the year 294246, two zeros, NaN) are compared like all others.
"""

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """An Iceberg type."""

    name: str
    element: "Kind | None" = None
    fields: "tuple[tuple[str, Kind], ...]" = ()

    def __str__(self) -> str:
        if self.element:
            return f"list<{self.element}>"
        if self.fields:
            return "struct<" + ", ".join(f"{name}: {kind}" for name, kind in self.fields) + ">"
        return self.name


def kind(text: str) -> Kind:
    if text.startswith("list<"):
        return Kind("list", element=kind(text[5:-1]))
    if text.startswith("struct<"):
        parts = (part.split(": ") for part in text[7:-1].split(", "))
        return Kind("struct", fields=tuple((name, kind(of)) for name, of in parts))
    return Kind(text)


def days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the calendar that never changed; the year 0 is 1 BC. By Howard Hinnant's
    `days_from_civil`."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def clock(hour: int, minute: int, second: int, microsecond: int = 0) -> int:
    """Microseconds since midnight."""
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + microsecond


def instant(year: int, month: int, day: int, *time: int) -> int:
    """Microseconds since 1970."""
    return days(year, month, day) * 86_400_000_000 + (clock(*time) if time else 0)


def double(value: float) -> str:
    """The bits of a double; NaN is one, however it is spelt."""
    return "nan" if value != value else struct.pack(">d", value).hex()


def single(value: float) -> str:
    """The bits of a float that Python holds as a double."""
    return "nan" if value != value else struct.pack(">f", value).hex()
