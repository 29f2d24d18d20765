"""The trap tables: every type of each store with its extreme values, and what the lake must hold of them.

The expected values are written by hand from each store's documentation of its types. Nothing here asks Lakegate.
"""

from dataclasses import dataclass, field

from values import clock, days, instant

PORTABLE, ICEBERG, HIVE3 = "Portable", "Iceberg", "Hive3"


@dataclass(frozen=True)
class Column:
    """A column of a trap table."""

    name: str
    # As the store declares it.
    declared: str
    # Iceberg's type in the profile Portable.
    kind: str
    # Each a literal of the store and the value in the lake. A literal of None is left out of the INSERT.
    cases: list[tuple[str, object]]
    # Where the profile Iceberg differs: type and values.
    iceberg: tuple[str, list[object]] | None = None
    # Its name in the lake.
    lake_name: str = ""
    # How the page calls its type.
    shown: str = ""
    # What a person should know.
    note: str = ""
    # Readers that do not read it as it is, with what they do instead; by the profile's name first.
    readers: dict[tuple[str, str], str] = field(default_factory=dict)
    # A reader refuses a whole table for it in the profile Iceberg, so it has one of its own there.
    alone: bool = False

    @property
    def output(self) -> str:
        return self.lake_name or self.name

    def kind_in(self, profile: str) -> str:
        return self.iceberg[0] if self.iceberg and profile == ICEBERG else self.kind

    def values_in(self, profile: str) -> list[object]:
        if self.iceberg and profile == ICEBERG:
            return self.iceberg[1]
        return [value for _, value in self.cases]


@dataclass(frozen=True)
class Refusal:
    """A value that no type of the lake holds: the run that meets it fails and says so."""

    name: str
    declared: str
    literal: str
    # What the run's message must hold, beside the column's name.
    says: tuple[str, ...]
    what: str
    remedy: str


POSTGRES = [
    Column("c_bool", "boolean", "boolean", [("true", True), ("false", False)]),
    Column("c_int2", "smallint", "int", [("-32768", -32768), ("32767", 32767)]),
    Column("c_int4", "integer", "int", [("-2147483648", -2147483648), ("2147483647", 2147483647)]),
    Column("c_int8", "bigint", "long", [("-9223372036854775808", -2**63), ("9223372036854775807", 2**63 - 1)]),
    Column("c_oid", "oid", "long", [("0", 0), ("4294967295", 2**32 - 1)]),
    Column("c_real", "real", "float", [
        ("'3.4028235e38'", "7f7fffff"), ("'1e-45'", "00000001"), ("'-0'", "80000000"), ("'0.1'", "3dcccccd"),
        ("'NaN'", "nan"), ("'Infinity'", "7f800000"), ("'-Infinity'", "ff800000"),
    ]),
    Column("c_double", "double precision", "double", [
        ("'1.7976931348623157e308'", "7fefffffffffffff"), ("'5e-324'", "0000000000000001"),
        ("'-0'", "8000000000000000"), ("'0.1'", "3fb999999999999a"), ("'NaN'", "nan"),
        ("'Infinity'", "7ff0000000000000"), ("'-Infinity'", "fff0000000000000"),
    ]),
    Column("c_numeric_9_2", "numeric(9,2)", "decimal(9,2)", [
        ("9999999.99", "9999999.99"), ("-9999999.99", "-9999999.99"), ("0.01", "0.01"), ("0", "0.00"),
    ]),
    Column("c_numeric_18_4", "numeric(18,4)", "decimal(18,4)", [
        ("99999999999999.9999", "99999999999999.9999"), ("-99999999999999.9999", "-99999999999999.9999"),
    ]),
    Column("c_numeric_38_10", "numeric(38,10)", "decimal(38,10)", [
        ("9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999"),
        ("-9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999"),
        ("0.0000000001", "0.0000000001"),
    ]),
    Column("c_numeric_38_0", "numeric(38)", "decimal(38,0)", [("9" * 38, "9" * 38), ("-" + "9" * 38, "-" + "9" * 38)]),
    Column("c_numeric_3_5", "numeric(3,5)", "decimal(5,5)", [("0.00999", "0.00999"), ("-0.00001", "-0.00001")]),
    Column("c_numeric_5_m2", "numeric(5,-2)", "decimal(7,0)", [("9999900", "9999900"), ("-100", "-100")],
           note="the scale -2 widens the precision"),
    Column("c_numeric_50_9", "numeric(50,9)", "string", [
        ("1.23", "1.230000000"), ("-" + "9" * 41 + ".999999999", "-" + "9" * 41 + ".999999999"),
    ], note="no engine reads a decimal of more than 38 digits alike"),
    Column("c_numeric", "numeric", "string", [
        ("1.5", "1.5"), ("1.500", "1.5"), ("100", "100"), ("0", "0"), ("-0.5", "-0.5"), ("0.000", "0"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("-0." + "0" * 37 + "1", "-0." + "0" * 37 + "1"),
    ], note="without precision: text without zeros at its end; cast it to a decimal to compute with it"),
    Column("c_text", "text", "string", [
        ("''", ""), ("'zażółć 漢字 😀'", "zażółć 漢字 😀"), ("E'a\\tb\\n\"c\",\\\\'", "a\tb\n\"c\",\\"), ("'NULL'", "NULL"),
        ("repeat('é', 100)", "é" * 100), ("' a '", " a "),
    ]),
    Column("c_varchar", "varchar(5)", "string", [("'abc  '", "abc  "), ("'漢字'", "漢字")]),
    Column("c_char", "char(5)", "string", [("'ab'", "ab   "), ("''", "     ")], note="padded, as PostgreSQL keeps it"),
    Column("c_name", "name", "string", [("'pg_class'", "pg_class")]),
    Column("c_enum", "traps.mood", "string", [("'sad'", "sad"), ("'so so'", "so so")], shown="an enum"),
    Column("c_bytea", "bytea", "binary", [("'\\x'", ""), ("'\\x00ff0a'", "00ff0a")]),
    Column("c_date", "date", "date", [
        ("'1969-12-31'", -1), ("'0001-01-01'", days(1, 1, 1)), ("'1582-10-04'", days(1582, 10, 4)),
        ("'1582-10-10'", days(1582, 10, 10)), ("'1900-03-01'", days(1900, 3, 1)), ("'9999-12-31'", days(9999, 12, 31)),
        ("'4713-01-01 BC'", days(-4712, 1, 1)), ("'5874897-12-31'", days(5874897, 12, 31)),
    ]),
    Column("c_timestamp", "timestamp", "timestamp", [
        ("'1969-12-31 23:59:59.999999'", -1), ("'0001-01-01 00:00:00'", instant(1, 1, 1)),
        ("'1582-10-10 12:00:00'", instant(1582, 10, 10, 12, 0, 0)),
        ("'9999-12-31 23:59:59.999999'", instant(9999, 12, 31, 23, 59, 59, 999999)),
        ("'4713-01-01 00:00:00 BC'", instant(-4712, 1, 1)),
        ("'294246-12-31 23:59:59.999999'", instant(294246, 12, 31, 23, 59, 59, 999999)),
    ]),
    Column("c_timestamptz", "timestamptz", "timestamptz", [
        ("'1970-01-01 08:59:59.999999+09'", -1), ("'2026-03-29 02:30:00 Europe/Berlin'", instant(2026, 3, 29, 1, 30, 0)),
        ("'0001-01-01 00:00:00+00'", instant(1, 1, 1)),
        ("'9999-12-31 23:59:59.999999+00'", instant(9999, 12, 31, 23, 59, 59, 999999)),
        ("'4713-01-01 00:00:00+00 BC'", instant(-4712, 1, 1)),
        ("'73000-12-31 23:59:59.999999+00'", instant(73000, 12, 31, 23, 59, 59, 999999)),
    ]),
    Column("c_time", "time", "string", [
        ("'00:00:00'", "00:00:00.000000"), ("'23:59:59.999999'", "23:59:59.999999"),
    ], iceberg=("time", [0, clock(23, 59, 59, 999999)]), alone=True,
           readers={(ICEBERG, "Spark"): "refuses the whole table"}),
    Column("c_timetz", "timetz", "string", [("'23:59:59.999999+09:30'", "23:59:59.999999+09:30")]),
    Column("c_interval", "interval", "string", [
        ("'1 year 2 mons 3 days 04:05:06.789'", "P1Y2M3DT4H5M6.789S"), ("'0'", "PT0S"),
        ("'-1 mons +2 days -00:00:01'", "P-1M2DT-1S"), ("'178000000 years'", "P178000000Y"),
    ], note="ISO 8601; months, days and time are kept apart"),
    Column("c_uuid", "uuid", "string", [
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ], iceberg=("uuid", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff"])),
    Column("c_json", "json", "string", [
        ("'{\"a\": 1,  \"a\": 12345678901234567890.123}'", "{\"a\": 1,  \"a\": 12345678901234567890.123}"),
    ], note="as it was written"),
    Column("c_jsonb", "jsonb", "string", [
        ("'{\"b\":1, \"a\": 12345678901234567890.123}'", "{\"a\": 12345678901234567890.123, \"b\": 1}"), ("'null'", "null"),
    ], note="as PostgreSQL prints it; JSON's null is a text, not NULL"),
    Column("c_int4s", "integer[]", "list<int>", [("'{1,NULL,-2147483648}'", [1, None, -2147483648]), ("'{}'", [])]),
    Column("c_texts", "text[]", "list<string>", [("'{\"a,b\",NULL,\"\",\"NULL\"}'", ["a,b", None, "", "NULL"])]),
    Column("c_numerics", "numeric(5,2)[]", "list<decimal(5,2)>", [("'{999.99,-0.01}'", ["999.99", "-0.01"])]),
    Column("c_free_numerics", "numeric[]", "list<string>", [("'{1.50,100}'", ["1.5", "100"])]),
    Column("c_timestamps", "timestamp[]", "list<timestamp>", [
        ("'{1969-12-31 23:59:59.999999,NULL}'", [-1, None]),
    ]),
    Column("c_uuids", "uuid[]", "list<string>", [
        ("'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ]),
    Column("c_inet", "inet", "string", [("'192.168.0.1/24'", "192.168.0.1/24"), ("'::1'", "::1/128")],
           note="with its prefix, as `::text` prints it"),
    Column("c_cidr", "cidr", "string", [("'10.0.0.0/8'", "10.0.0.0/8")]),
    Column("c_macaddr", "macaddr", "string", [("'08-00-2b-01-02-03'", "08:00:2b:01:02:03")]),
    Column("c_range", "int4range", "string", [("'[1,5]'", "[1,6)"), ("'empty'", "empty")]),
    Column("c_money", "money", "string", [("(-12.34)::numeric::money", "-12.34"), ("92233720368547758.07::numeric::money", "92233720368547758.07")],
           note="its amount, without the server's locale"),
    Column("c_bit", "bit(3)", "string", [("B'101'", "101")]),
    Column("c_varbit", "bit varying(8)", "string", [("B'0001'", "0001")]),
    Column("c_xml", "xml", "string", [("'<a b=\"1\"/>'", "<a b=\"1\"/>")]),
    Column("c_tsvector", "tsvector", "string", [("'b a'", "'a' 'b'")]),
    Column("c_point", "point", "string", [("'(1.5,-2)'", "(1.5,-2)")]),
    Column("c_row", "traps.pair", "string", [("row(1, 'x,y')", "(1,\"x,y\")")], shown="a composite type", note="its text"),
    Column("c_domain", "traps.positive", "int", [("7", 7)], shown="a domain over integer"),
    Column("Größe (m²)", "integer", "int", [("1", 1)], lake_name="größe__m²_", note="a name made safe"),
    Column("a.b;c d", "integer", "int", [("2", 2)], lake_name="a_b_c_d", note="a name made safe"),
    Column("2nd", "integer", "int", [("3", 3)], lake_name="_2nd", note="a name made safe"),
    Column("이름", "text", "string", [("'값'", "값")]),
    Column("_pos", "integer", "int", [("4", 4)], lake_name="_pos_", note="Spark refuses tables with a column `_pos`"),
]

POSTGRES_SETUP = """
create schema traps;
create type traps.mood as enum ('sad', 'so so');
create type traps.pair as (a integer, b text);
create domain traps.positive as integer check (value > 0);
"""

POSTGRES_REFUSALS = [
    Refusal("numeric_nan", "numeric(10,2)", "'NaN'", ("NaN",), "NaN in a numeric", "a view that casts it to text"),
    Refusal("free_numeric_nan", "numeric", "'NaN'", ("NaN",), "NaN in a numeric without precision",
            "`unconstrainedNumeric: Text`, or a view that casts it to text"),
    Refusal("free_numeric_infinity", "numeric", "'Infinity'", ("infinite",), "infinity in a numeric",
            "`unconstrainedNumeric: Text`, or a view that casts it to text"),
    Refusal("free_numeric_digits", "numeric", "1e40", ("unconstrainedNumeric",), "a numeric without precision of more than 38 digits before the point",
            "`unconstrainedNumeric: Text`"),
    Refusal("date_infinity", "date", "'infinity'", ("infinite",), "infinity of a date", "a view that casts it to text"),
    Refusal("timestamp_infinity", "timestamp", "'-infinity'", ("infinite",), "infinity of a timestamp",
            "a view that casts it to text"),
    Refusal("timestamp_far", "timestamp", "'294276-12-31 23:59:59'", (), "a timestamp after 294246 AD",
            "a view that casts it to text"),
    Refusal("timestamp_last", "timestamp", "'294247-01-10 04:00:54.775807'", (),
            "the last microsecond that 64 bits can count, 294247-01-10 04:00:54.775807 (infinity to DuckDB)", "a cast to text"),
    Refusal("time_24", "time", "'24:00:00'", ("24:00",), "the time 24:00:00", "a view that casts it to text"),
    Refusal("array_2d", "integer[]", "'{{1,2},{3,4}}'", ("dimension",), "an array of two dimensions",
            "a view that casts it to text"),
    Refusal("array_lower", "integer[]", "'[0:1]={1,2}'", (), "an array that begins at index 0",
            "a view that casts it to text"),
]

MARIADB = [
    Column("c_tinyint", "tinyint", "int", [("-128", -128), ("127", 127)]),
    Column("c_tinyint1", "tinyint(1)", "int", [("127", 127), ("1", 1)], note="a number, because it can hold one"),
    Column("c_utinyint", "tinyint unsigned", "int", [("255", 255)]),
    Column("c_smallint", "smallint", "int", [("-32768", -32768), ("32767", 32767)]),
    Column("c_usmallint", "smallint unsigned", "int", [("65535", 65535)]),
    Column("c_mediumint", "mediumint", "int", [("-8388608", -8388608), ("8388607", 8388607)]),
    Column("c_umediumint", "mediumint unsigned", "int", [("16777215", 16777215)]),
    Column("c_int", "int", "int", [("-2147483648", -2**31), ("2147483647", 2**31 - 1)]),
    Column("c_uint", "int unsigned", "long", [("4294967295", 2**32 - 1)]),
    Column("c_bigint", "bigint", "long", [("-9223372036854775808", -2**63), ("9223372036854775807", 2**63 - 1)]),
    Column("c_ubigint", "bigint unsigned", "decimal(20,0)", [
        ("18446744073709551615", "18446744073709551615"), ("0", "0"),
    ]),
    Column("c_bit1", "bit(1)", "boolean", [("b'1'", True), ("b'0'", False)]),
    Column("c_bit9", "bit(9)", "long", [("b'100000001'", 257)]),
    Column("c_bit64", "bit(64)", "decimal(20,0)", [("18446744073709551615", "18446744073709551615")]),
    Column("c_float", "float", "float", [("3.4028235e38", "7f7fffff"), ("0.1", "3dcccccd")]),
    Column("c_double", "double", "double", [
        ("1.7976931348623157e308", "7fefffffffffffff"), ("2.2250738585072014e-308", "0010000000000000"),
        ("0.1", "3fb999999999999a"),
    ]),
    Column("c_decimal_10_2", "decimal(10,2)", "decimal(10,2)", [("-99999999.99", "-99999999.99"), ("0.1", "0.10")]),
    Column("c_decimal_38_38", "decimal(38,38)", "decimal(38,38)", [("0." + "9" * 38, "0." + "9" * 38)]),
    Column("c_decimal_65_30", "decimal(65,30)", "string", [
        ("-" + "9" * 35 + "." + "9" * 30, "-" + "9" * 35 + "." + "9" * 30), ("1.5", "1.5" + "0" * 29),
    ], note="no engine reads a decimal of more than 38 digits alike"),
    Column("c_char", "char(5)", "string", [("'ab '", "ab")], note="without its padding, as MariaDB returns it"),
    Column("c_varchar", "varchar(20)", "string", [("'ab '", "ab "), ("''", ""), ("'漢字 😀'", "漢字 😀")]),
    Column("c_latin1", "varchar(20) character set latin1", "string", [("'é€'", "é€")], note="UTF-8 in the lake"),
    Column("c_text", "text", "string", [("'a\\tb\\n\"c\"\\\\'", "a\tb\n\"c\"\\"), ("char(0 using utf8mb4)", "\0")]),
    Column("c_enum", "enum('a','b c')", "string", [("'b c'", "b c"), ("''", "")],
           note="'' is what MariaDB keeps of a value that was none of them"),
    Column("c_set", "set('a','b','c')", "string", [("'c,a'", "a,c"), ("''", "")]),
    Column("c_json", "json", "string", [("'{\"b\": 1,  \"a\": null}'", "{\"b\": 1,  \"a\": null}")]),
    Column("c_binary", "binary(4)", "binary", [("x'01'", "01000000")], note="padded with zeros, as MariaDB keeps it"),
    Column("c_varbinary", "varbinary(4)", "binary", [("x'00ff'", "00ff"), ("''", "")]),
    Column("c_blob", "blob", "binary", [("x'ff00'", "ff00")]),
    Column("c_date", "date", "date", [
        ("'0000-00-00'", None), ("'1000-01-01'", days(1000, 1, 1)), ("'1582-10-10'", days(1582, 10, 10)),
        ("'0001-01-01'", days(1, 1, 1)), ("'9999-12-31'", days(9999, 12, 31)),
    ], note="0000-00-00 is NULL, or refused with `zeroDates: Fail`"),
    Column("c_datetime", "datetime(6)", "timestamp", [
        ("'0000-00-00 00:00:00'", None), ("'1000-01-01 00:00:00'", instant(1000, 1, 1)),
        ("'1969-12-31 23:59:59.999999'", -1),
        ("'9999-12-31 23:59:59.999999'", instant(9999, 12, 31, 23, 59, 59, 999999)),
    ], note="0000-00-00 as with date"),
    Column("c_datetime0", "datetime", "timestamp", [("'2026-11-24 12:34:56'", instant(2026, 11, 24, 12, 34, 56))]),
    Column("c_timestamp", "timestamp(6) null default null", "timestamptz", [
        ("'1970-01-01 00:00:01'", 1_000_000), ("'2038-01-19 03:14:07.999999'", instant(2038, 1, 19, 3, 14, 7, 999999)),
    ], note="in UTC, whatever the server's zone"),
    Column("c_time", "time(6)", "string", [
        ("'-838:59:59.999999'", "-838:59:59.999999"), ("'838:59:59.000001'", "838:59:59.000001"),
        ("'00:00:00'", "00:00:00.000000"),
    ], note="a span, not a time of day; in every profile"),
    Column("c_year", "year", "int", [("1901", 1901), ("2155", 2155), ("0", 0)]),
    Column("c_point", "point", "binary", [
        ("st_pointfromtext('POINT(1 -2)')", "0101000000000000000000f03f00000000000000c0"),
    ], note="WKB"),
    Column("c_uuid", "uuid", "string", [
        ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ]),
    Column("c_inet6", "inet6", "string", [("'::1'", "::1")]),
]

MARIADB_REFUSALS = [
    Refusal("zero_day", "date", "'2018-02-00'", (), "a date with a zero month or day", "a view that casts it to text"),
    Refusal("no_such_day", "datetime", "'2018-02-31 00:00:00'", (), "a day that does not exist (`ALLOW_INVALID_DATES`)",
            "a view that casts it to text"),
]

SQLITE = [
    Column("c_integer", "integer", "long", [("-9223372036854775808", -2**63), ("9223372036854775807", 2**63 - 1)]),
    Column("c_boolean", "boolean", "boolean", [("1", True), ("0", False), ("'TRUE'", True)]),
    Column("c_real", "real", "double", [
        ("1.7976931348623157e308", "7fefffffffffffff"), ("5e-324", "0000000000000001"), ("0.1", "3fb999999999999a"),
        ("9e999", "7ff0000000000000"), ("-9e999", "fff0000000000000"), ("9007199254740992", "4340000000000000"),
    ], note="NaN does not exist in SQLite: it is NULL there"),
    Column("c_text", "text", "string", [("''", ""), ("'漢字 😀'", "漢字 😀"), ("1.5", "1.5")]),
    Column("c_untyped", "", "string", [("12345678901", "12345678901"), ("0.1", "0.1"), ("'x'", "x")],
           note="numbers as their shortest text"),
    Column("c_blob", "blob", "binary", [("x''", ""), ("x'00ff'", "00ff")]),
    Column("c_decimal", "decimal(10,2)", "decimal(10,2)", [
        ("1.1", "1.10"), ("-99999999.99", "-99999999.99"), ("'7'", "7.00"),
    ], note="SQLite keeps a double: its shortest decimal"),
    Column("c_numeric", "numeric", "double", [("1.5", "3ff8000000000000"), ("3", "4008000000000000")]),
    Column("c_date", "date", "string", [("'2026-11-24'", "2026-11-24"), ("2461003", "2461003")],
           note="SQLite has no dates: text, day numbers and seconds stand side by side"),
]

SQLITE_REFUSALS = [
    Refusal("integer_text", "integer", "'x'", ("integer",), "text in an integer column", "a cast in a view"),
    Refusal("numeric_integer", "numeric", "9007199254740993", (), "an integer that no double holds in a column `numeric`",
            "declare the column INTEGER"),
    Refusal("decimal_digits", "decimal(10,2)", "1.001", ("decimal",), "a number with more digits than were declared",
            "a cast in a view"),
    Refusal("boolean_two", "boolean", "2", ("boolean",), "a number that is neither 0 nor 1 in a boolean column",
            "a cast in a view"),
]

# In the profile Hive3, whose runs are plain directories of Parquet files.
HIVE = [
    Column("c_int2", "smallint", "int", [("-32768", -32768)]),
    Column("c_numeric_9_2", "numeric(9,2)", "decimal(9,2)", [("9999999.99", "9999999.99"), ("-0.01", "-0.01")]),
    Column("c_numeric_18_4", "numeric(18,4)", "decimal(18,4)", [("-99999999999999.9999", "-99999999999999.9999")]),
    Column("c_numeric_38_10", "numeric(38,10)", "decimal(38,10)", [
        ("-9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999"),
    ]),
    Column("c_numerics", "numeric(5,2)[]", "list<decimal(5,2)>", [("'{999.99,-0.01,NULL}'", ["999.99", "-0.01", None])]),
    Column("c_date", "date", "date", [
        ("'1582-10-15'", days(1582, 10, 15)), ("'9999-12-31'", days(9999, 12, 31)), ("'1969-12-31'", -1),
    ], note="earlier ones are refused: Hive 3 counts them by another calendar"),
    Column("c_timestamp", "timestamp", "string", [
        ("'0001-01-01 00:00:00'", "0001-01-01 00:00:00.000000"),
        ("'1969-12-31 23:59:59.999999'", "1969-12-31 23:59:59.999999"),
        ("'9999-12-31 23:59:59.999999'", "9999-12-31 23:59:59.999999"),
    ], note="as `cast(c as timestamp)` reads it; the years 1 to 9999"),
    Column("c_timestamptz", "timestamptz", "string", [("'2026-03-29 02:30:00 Europe/Berlin'", "2026-03-29 01:30:00.000000")],
           note="in UTC; the years 1 to 9999"),
    Column("c_time", "time", "string", [("'23:59:59.999999'", "23:59:59.999999")]),
    Column("c_uuid", "uuid", "string", [
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ]),
    Column("c_double", "double precision", "double", [("'NaN'", "nan"), ("'-0'", "8000000000000000")]),
    Column("c_bytea", "bytea", "binary", [("'\\x00ff0a'", "00ff0a")]),
]

# With `columns` in the manifest; NULL is written \N.
CSV = [
    Column("c_boolean", "boolean", "boolean", [("true", True), ("FALSE", False)]),
    Column("c_smallint", "smallint", "int", [("-32768", -32768), ("32767", 32767)]),
    Column("c_integer", "integer", "int", [("-2147483648", -2**31), ("2147483647", 2**31 - 1)]),
    Column("c_bigint", "bigint", "long", [("-9223372036854775808", -2**63), ("9223372036854775807", 2**63 - 1)]),
    Column("c_real", "real", "float", [("0.1", "3dcccccd"), ("-1.5", "bfc00000")]),
    Column("c_double", "double precision", "double", [
        ("0.1", "3fb999999999999a"), ("1.7976931348623157e308", "7fefffffffffffff"),
    ]),
    Column("c_decimal", "decimal(38,10)", "decimal(38,10)", [
        ("9" * 28 + ".9999999999", "9" * 28 + ".9999999999"), ("-0.0000000001", "-0.0000000001"), ("7", "7.0000000000"),
    ]),
    Column("c_text", "text", "string", [
        ("", ""), ("\"a,\"\"b\"\"\nc\"", "a,\"b\"\nc"), ("0123", "0123"), ("漢字 😀", "漢字 😀"), ("NULL", "NULL"),
    ]),
    Column("c_date", "date", "date", [("0001-01-01", days(1, 1, 1)), ("9999-12-31", days(9999, 12, 31))]),
    Column("c_timestamp", "timestamp", "timestamp", [
        ("1969-12-31T23:59:59.999999", -1), ("9999-12-31 23:59:59", instant(9999, 12, 31, 23, 59, 59)),
    ]),
    Column("c_timestamptz", "timestamptz", "timestamptz", [
        ("1970-01-01T08:59:59.999999+09:00", -1), ("2026-11-24 00:00:00Z", instant(2026, 11, 24)),
    ]),
    Column("Order ID", "text", "string", [("a", "a")], lake_name="order_id", note="a name made safe"),
]

# Without `columns`: found in the file.
CSV_FOUND = [
    Column("whole", "whole numbers", "long", [("-9223372036854775808", -2**63), ("9223372036854775807", 2**63 - 1)]),
    Column("too_large", "a whole number above 64 bits", "string", [("9223372036854775808", "9223372036854775808"), ("1", "1")]),
    Column("zeros", "numbers with leading zeros", "string", [("0123", "0123"), ("7", "7")]),
    Column("fractions", "fractions of up to 15 digits", "double", [("0.1", "3fb999999999999a"), ("3", "4008000000000000")]),
    Column("too_exact", "a fraction that no double holds", "string", [
        ("0.12345678901234567890", "0.12345678901234567890"), ("1.5", "1.5"),
    ]),
    Column("yes_no", "true and false", "boolean", [("true", True), ("False", False)]),
    Column("day", "dates", "date", [("2026-11-24", days(2026, 11, 24)), ("0001-01-01", days(1, 1, 1))]),
    Column("moment", "timestamps without a zone", "timestamp", [("2026-11-24 12:00:00.5", instant(2026, 11, 24, 12, 0, 0, 500000))]),
    Column("instant", "timestamps with a zone", "timestamptz", [("2026-11-24T12:00:00+09:00", instant(2026, 11, 24, 3, 0, 0))]),
    Column("mixed", "dates beside other text", "string", [("2026-11-24", "2026-11-24"), ("soon", "soon")]),
]

CSV_REFUSALS = [
    Refusal("integer_text", "integer", "x", ("integer",), "text in a column declared as a number", "declare the column as text"),
    Refusal("integer_large", "integer", "2147483648", ("integer",), "a number out of the declared range",
            "declare a wider type"),
    Refusal("decimal_digits", "decimal(5,2)", "1.001", ("decimal",), "more digits than were declared",
            "declare a wider decimal"),
    Refusal("no_such_day", "date", "2026-02-30", ("date",), "a day that does not exist", "declare the column as text"),
]

JSON = [
    Column("whole", "whole numbers", "long", [("-9223372036854775808", -2**63), ("9223372036854775807", 2**63 - 1)]),
    Column("too_large", "a whole number above 64 bits", "string", [("18446744073709551615", "18446744073709551615"), ("1", "1")]),
    Column("fractions", "fractions of up to 15 digits", "double", [("0.1", "3fb999999999999a"), ("-1e300", "fe37e43c8800759c")]),
    Column("too_exact", "a fraction that no double holds", "string", [("0.12345678901234567890", "0.12345678901234567890")]),
    Column("yes_no", "true and false", "boolean", [("true", True), ("false", False)]),
    Column("text", "strings", "string", [
        ("\"\"", ""), ("\"0123\"", "0123"), ("\"2026-11-24\"", "2026-11-24"), ("\"\\u6f22\\n\\\"\"", "漢\n\""),
    ], note="a string stays one, whatever it looks like"),
    Column("list", "lists", "list<long>", [("[1,null,-3]", [1, None, -3]), ("[]", [])]),
    Column("object", "objects", "struct<a: long, b: string>", [
        ("{\"a\":1,\"b\":\"x\"}", {"a": 1, "b": "x"}), ("{\"b\":\"y\"}", {"a": None, "b": "y"}),
    ]),
    Column("list_of_lists", "lists of lists", "list<list<long>>", [("[[1],[],[2,3]]", [[1], [], [2, 3]])]),
    Column("either", "a number or a string", "string", [("1.50", "1.50"), ("\"x\"", "x")], note="numbers as they are written"),
]
