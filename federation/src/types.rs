//! The one mapping from Arrow types to Postgres types.
//!
//! RowDescription, `pg_attribute` and `information_schema` all ask here, so that a driver that compares
//! them finds the same type everywhere. The rules:
//!
//! * an integer widens to the next signed Postgres type that holds every value (`UInt64` is `numeric`);
//! * a timestamp keeps Postgres' microseconds, digits below are cut off;
//! * a list of scalars is an array, every other nested type is `json`;
//! * a field may name its Postgres type in its metadata under [`PG_TYPE_METADATA`] (`oid`, `name`,
//!   `uuid`, `varchar(20)`, …), and the canonical Arrow extensions `arrow.uuid` and `arrow.json` are honoured.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
pub use lakegate_connectors::PG_TYPE_METADATA;

/// A Postgres base type as `pg_type` describes it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BaseType {
    /// `pg_type.oid`.
    pub oid: u32,
    /// `pg_type.typname`.
    pub name: &'static str,
    /// What `format_type` prints without a type modifier.
    pub sql_name: &'static str,
    /// `pg_type.typlen`: bytes, or -1 for a variable length.
    pub length: i16,
    /// `pg_type.typarray`: the type of arrays of this type, 0 where there is none.
    pub array_oid: u32,
}

macro_rules! base_types {
    ($($constant:ident = $oid:literal $name:literal $sql:literal $length:literal $array:literal;)*) => {
        $(#[doc = concat!("`", $name, "`, oid ", stringify!($oid), ".")]
        pub const $constant: BaseType = BaseType { oid: $oid, name: $name, sql_name: $sql, length: $length, array_oid: $array };)*
        /// Every base type that Lakegate puts on the wire, accepts as a parameter or lists in `pg_type`.
        pub const BASE_TYPES: &[BaseType] = &[$($constant),*];
    };
}

base_types! {
    BOOL = 16 "bool" "boolean" 1 1000;
    BYTEA = 17 "bytea" "bytea" -1 1001;
    CHAR = 18 "char" "\"char\"" 1 1002;
    NAME = 19 "name" "name" 64 1003;
    INT8 = 20 "int8" "bigint" 8 1016;
    INT2 = 21 "int2" "smallint" 2 1005;
    INT2VECTOR = 22 "int2vector" "int2vector" -1 1006;
    INT4 = 23 "int4" "integer" 4 1007;
    REGPROC = 24 "regproc" "regproc" 4 1008;
    TEXT = 25 "text" "text" -1 1009;
    OID = 26 "oid" "oid" 4 1028;
    XID = 28 "xid" "xid" 4 1011;
    OIDVECTOR = 30 "oidvector" "oidvector" -1 1013;
    JSON = 114 "json" "json" -1 199;
    PG_NODE_TREE = 194 "pg_node_tree" "pg_node_tree" -1 0;
    FLOAT4 = 700 "float4" "real" 4 1021;
    FLOAT8 = 701 "float8" "double precision" 8 1022;
    UNKNOWN = 705 "unknown" "unknown" -2 0;
    ACLITEM = 1033 "aclitem" "aclitem" 12 1034;
    BPCHAR = 1042 "bpchar" "character" -1 1014;
    VARCHAR = 1043 "varchar" "character varying" -1 1015;
    DATE = 1082 "date" "date" 4 1182;
    TIME = 1083 "time" "time without time zone" 8 1183;
    TIMESTAMP = 1114 "timestamp" "timestamp without time zone" 8 1115;
    TIMESTAMPTZ = 1184 "timestamptz" "timestamp with time zone" 8 1185;
    INTERVAL = 1186 "interval" "interval" 16 1187;
    NUMERIC = 1700 "numeric" "numeric" -1 1231;
    REGPROCEDURE = 2202 "regprocedure" "regprocedure" 4 2207;
    REGOPER = 2203 "regoper" "regoper" 4 2208;
    REGCLASS = 2205 "regclass" "regclass" 4 2210;
    REGTYPE = 2206 "regtype" "regtype" 4 2211;
    UUID = 2950 "uuid" "uuid" 16 2951;
    JSONB = 3802 "jsonb" "jsonb" -1 3807;
    REGNAMESPACE = 4089 "regnamespace" "regnamespace" 4 4090;
    REGROLE = 4096 "regrole" "regrole" 4 4097;
    // PostGIS's has the oid that CREATE EXTENSION finds free. This one is of those that no database gives away
    // itself: above what initdb takes and below the first of users.
    GEOMETRY = 16380 "geometry" "geometry" -1 16381;
}

/// A column's Postgres type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PgType {
    /// The type, or the element type of an array.
    pub base: &'static BaseType,
    /// Whether the column is an array of `base`.
    pub array: bool,
    /// `pg_attribute.atttypmod`: -1, or precision and scale of a `numeric`, the length of a `varchar`.
    pub typmod: i32,
}

impl PgType {
    /// A type without a modifier.
    pub const fn scalar(base: &'static BaseType) -> Self {
        PgType {
            base,
            array: false,
            typmod: -1,
        }
    }

    /// The type's oid: `pg_type.oid`, RowDescription's data type.
    pub const fn oid(&self) -> u32 {
        if self.array {
            self.base.array_oid
        } else {
            self.base.oid
        }
    }

    /// `pg_type.typname`: `int4`, `_int4`.
    pub fn name(&self) -> String {
        if self.array {
            format!("_{}", self.base.name)
        } else {
            self.base.name.to_owned()
        }
    }

    /// `pg_type.typlen`: bytes, or -1 for a variable length.
    pub const fn length(&self) -> i16 {
        if self.array { -1 } else { self.base.length }
    }

    /// What `format_type(oid, typmod)` prints: `numeric(12,2)`, `character varying(20)[]`.
    pub fn sql_name(&self) -> String {
        let mut name = self.base.sql_name.to_owned();
        if self.typmod >= 4 {
            let modifier = self.typmod - 4;
            match self.base.oid {
                1700 => {
                    let (precision, scale) = numeric_typmod(self.typmod);
                    name = format!("numeric({precision},{scale})");
                }
                1042 | 1043 => name = format!("{name}({modifier})"),
                _ => {}
            }
        }
        if self.array {
            name.push_str("[]");
        }
        name
    }

    /// As [`PgType::sql_name`] without a modifier, which errors name types by.
    pub fn plain_name(&self) -> String {
        PgType { typmod: -1, ..*self }.sql_name()
    }

    /// `information_schema.columns.data_type`: as [`PgType::sql_name`] without modifiers, `ARRAY` for arrays.
    pub const fn information_schema_name(&self) -> &'static str {
        if self.array { "ARRAY" } else { self.base.sql_name }
    }
}

/// Precision and scale of a numeric's type modifier.
pub const fn numeric_typmod(typmod: i32) -> (i32, i32) {
    let modifier = typmod - 4;
    // the scale is an 11-bit two's complement number (numeric.c, PostgreSQL 15)
    (modifier >> 16 & 0xffff, ((modifier & 0x7ff) ^ 1024) - 1024)
}

const fn numeric(precision: i32, scale: i32) -> PgType {
    PgType {
        base: &NUMERIC,
        array: false,
        typmod: ((precision << 16) | (scale & 0x7ff)) + 4,
    }
}

/// A numeric of any digits: what `::numeric` makes of a value whose digits no type says.
///
/// Half of the digits stand behind the point. Zeros at the end are not shown, for nobody wrote them, and the type
/// has no modifier.
pub const FREE_NUMERIC: DataType = DataType::Decimal256(76, 38);

/// The Arrow type in which values of a Postgres type are computed with; a `numeric` without a modifier has none.
pub fn arrow_type(pg_type: PgType) -> Option<DataType> {
    let scalar = match pg_type.base.oid {
        16 => DataType::Boolean,
        17 | 16380 => DataType::Binary,
        21 => DataType::Int16,
        23 => DataType::Int32,
        20 | 24 | 26 | 28 | 2202..=2206 | 4089 | 4096 => DataType::Int64,
        700 => DataType::Float32,
        701 => DataType::Float64,
        1082 => DataType::Date32,
        1083 => DataType::Time64(TimeUnit::Microsecond),
        1114 => DataType::Timestamp(TimeUnit::Microsecond, None),
        1184 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        1186 => DataType::Interval(IntervalUnit::MonthDayNano),
        1700 if pg_type.typmod < 4 => return None,
        1700 => {
            let (precision, scale) = numeric_typmod(pg_type.typmod);
            decimal_type(precision, scale)?
        }
        705 => return None,
        _ => DataType::Utf8,
    };
    Some(if pg_type.array {
        DataType::List(Arc::new(Field::new("item", scalar, true)))
    } else {
        scalar
    })
}

/// The narrowest decimal with so many digits; None where none has.
pub fn decimal_type(precision: i32, scale: i32) -> Option<DataType> {
    // Arrow counts every digit above the scale
    let (precision, scale) = if scale < 0 {
        (precision - scale, 0)
    } else {
        (precision.max(scale), scale)
    };
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    match precision {
        1..=38 => Some(DataType::Decimal128(precision, scale)),
        39..=76 => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

/// A column of this Postgres type, in the Arrow type `data_type`.
pub fn field(name: &str, pg_type: PgType, data_type: DataType, nullable: bool) -> Field {
    let mut field = Field::new(name, data_type, nullable);
    let implied = of_data_type(field.data_type());
    if implied.base.oid != pg_type.base.oid
        || (pg_type.typmod != implied.typmod && matches!(pg_type.base.oid, 1042 | 1043))
    {
        let mut named = pg_type.name();
        if pg_type.typmod >= 4 && matches!(pg_type.base.oid, 1042 | 1043) {
            named = format!("{named}({})", pg_type.typmod - 4);
        }
        field.set_metadata([(PG_TYPE_METADATA.to_owned(), named)].into());
    }
    field
}

/// A base type by `pg_type.typname`.
pub fn base_by_name(name: &str) -> Option<&'static BaseType> {
    BASE_TYPES.iter().find(|base| base.name == name)
}

/// The type with this oid, arrays included.
pub fn by_oid(oid: u32) -> Option<PgType> {
    if oid == 0 {
        return None;
    }
    BASE_TYPES.iter().find_map(|base| {
        if base.oid == oid {
            Some(PgType::scalar(base))
        } else if base.array_oid == oid {
            Some(PgType {
                base,
                array: true,
                typmod: -1,
            })
        } else {
            None
        }
    })
}

/// The Postgres type of a column.
pub fn of_field(field: &Field) -> PgType {
    let from_type = of_data_type(field.data_type());
    let named = field
        .metadata()
        .get(PG_TYPE_METADATA)
        .map(String::as_str)
        .or_else(
            || match field.metadata().get("ARROW:extension:name").map(String::as_str) {
                Some("arrow.uuid") => Some("uuid"),
                Some("arrow.json") => Some("json"),
                _ => None,
            },
        );
    let Some(named) = named else { return from_type };
    match parse_override(named) {
        Some(chosen) if readable_as(field.data_type(), chosen) => chosen,
        _ => from_type,
    }
}

fn parse_override(text: &str) -> Option<PgType> {
    let (name, modifier) = match text.split_once('(') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(')')?)),
        None => (text, None),
    };
    let (name, array) = match name.strip_prefix('_') {
        Some(element) => (element, true),
        None => (name, false),
    };
    let base = base_by_name(name)?;
    let typmod = match (modifier, base.oid) {
        (None, _) => -1,
        (Some(length), 1042 | 1043) => length.trim().parse::<i32>().ok()?.checked_add(4)?,
        (Some(both), 1700) => {
            let (precision, scale) = both.split_once(',').unwrap_or((both, "0"));
            numeric(precision.trim().parse().ok()?, scale.trim().parse().ok()?).typmod
        }
        (Some(_), _) => return None,
    };
    Some(PgType { base, array, typmod })
}

/// Whether the encoder of `chosen` reads a column of this Arrow type.
fn readable_as(data_type: &DataType, chosen: PgType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => return readable_as(value, chosen),
        DataType::RunEndEncoded(_, value) => return readable_as(value.data_type(), chosen),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            let vector = chosen.base.oid == INT2VECTOR.oid || chosen.base.oid == OIDVECTOR.oid;
            if vector && !chosen.array {
                return item.data_type().is_integer();
            }
            return chosen.array && readable_as(item.data_type(), PgType::scalar(chosen.base));
        }
        _ => {}
    }
    if chosen.array {
        return false;
    }
    let text = matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    match chosen.base.oid {
        // four-byte identifiers
        24 | 26 | 28 | 2202 | 2203 | 2205 | 2206 | 4089 | 4096 => data_type.is_integer(),
        // these have a binary format of their own; their text is stored as it is printed
        22 | 30 => text,
        2950 => text || matches!(data_type, DataType::FixedSizeBinary(16)),
        16380 => matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView
        ),
        18 | 19 | 25 | 114 | 194 | 705 | 1033 | 1042 | 1043 | 3802 => text,
        _ => of_data_type(data_type).base.oid == chosen.base.oid,
    }
}

/// The Postgres type of an Arrow type on its own.
pub fn of_data_type(data_type: &DataType) -> PgType {
    if *data_type == FREE_NUMERIC {
        return PgType::scalar(&NUMERIC);
    }
    match data_type {
        DataType::Boolean => PgType::scalar(&BOOL),
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => PgType::scalar(&INT2),
        DataType::UInt16 | DataType::Int32 => PgType::scalar(&INT4),
        DataType::UInt32 | DataType::Int64 => PgType::scalar(&INT8),
        DataType::UInt64 => numeric(20, 0),
        DataType::Float16 | DataType::Float32 => PgType::scalar(&FLOAT4),
        DataType::Float64 => PgType::scalar(&FLOAT8),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => numeric(i32::from(*precision), i32::from(*scale)),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            PgType::scalar(&BYTEA)
        }
        DataType::Date32 | DataType::Date64 => PgType::scalar(&DATE),
        DataType::Time32(_) | DataType::Time64(_) => PgType::scalar(&TIME),
        DataType::Timestamp(_, None) => PgType::scalar(&TIMESTAMP),
        DataType::Timestamp(_, Some(_)) => PgType::scalar(&TIMESTAMPTZ),
        DataType::Interval(_) | DataType::Duration(_) => PgType::scalar(&INTERVAL),
        DataType::Dictionary(_, value) => of_data_type(value),
        DataType::RunEndEncoded(_, value) => of_field(value),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            let element = of_field(item);
            // Postgres has no arrays of differing lengths within an array, and an array of structs would
            // be read by few clients: both are json
            if element.array || element.base.oid == JSON.oid || element.base.array_oid == 0 {
                PgType::scalar(&JSON)
            } else {
                PgType {
                    array: true,
                    ..element
                }
            }
        }
        DataType::Struct(_) | DataType::Map(_, _) | DataType::Union(_, _) => PgType::scalar(&JSON),
        // a column of NULLs is `unknown` inside Postgres and `text` to its clients
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PgType::scalar(&TEXT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn arrow_types_have_one_postgres_type() {
        let list = |inner: DataType| DataType::List(Arc::new(Field::new("item", inner, true)));
        let cases: Vec<(DataType, u32, i32, &str)> = vec![
            (DataType::Boolean, 16, -1, "boolean"),
            (DataType::Int8, 21, -1, "smallint"),
            (DataType::UInt8, 21, -1, "smallint"),
            (DataType::UInt16, 23, -1, "integer"),
            (DataType::UInt32, 20, -1, "bigint"),
            (DataType::UInt64, 1700, (20 << 16) + 4, "numeric(20,0)"),
            (
                DataType::Decimal128(12, 2),
                1700,
                ((12 << 16) | 2) + 4,
                "numeric(12,2)",
            ),
            (
                DataType::Decimal128(5, -2),
                1700,
                ((5 << 16) | 0x7fe) + 4,
                "numeric(5,-2)",
            ),
            (
                DataType::Decimal256(76, 10),
                1700,
                ((76 << 16) | 0x0a) + 4,
                "numeric(76,10)",
            ),
            (DataType::Utf8View, 25, -1, "text"),
            (
                DataType::Timestamp(TimeUnit::Nanosecond, None),
                1114,
                -1,
                "timestamp without time zone",
            ),
            (
                DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
                1184,
                -1,
                "timestamp with time zone",
            ),
            (
                DataType::Interval(IntervalUnit::MonthDayNano),
                1186,
                -1,
                "interval",
            ),
            (list(DataType::Int32), 1007, -1, "integer[]"),
            (
                list(DataType::Decimal128(12, 2)),
                1231,
                ((12 << 16) | 2) + 4,
                "numeric(12,2)[]",
            ),
            (list(list(DataType::Int32)), 114, -1, "json"),
            (
                DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
                25,
                -1,
                "text",
            ),
            (DataType::Null, 25, -1, "text"),
        ];
        for (data_type, oid, typmod, name) in cases {
            let actual = of_data_type(&data_type);
            assert_eq!(
                (actual.oid(), actual.typmod, actual.sql_name().as_str()),
                (oid, typmod, name),
                "{data_type}"
            );
        }
    }

    #[test]
    fn metadata_overrides_only_where_the_encoder_can_follow() {
        let field = |data_type: DataType, name: &str| {
            Field::new("c", data_type, true)
                .with_metadata(HashMap::from([(PG_TYPE_METADATA.to_owned(), name.to_owned())]))
        };
        let cases = [
            (DataType::UInt32, "oid", "oid"),
            (DataType::Int64, "oid", "oid"),
            (DataType::Utf8, "varchar(20)", "character varying(20)"),
            (DataType::Utf8, "name", "name"),
            (DataType::FixedSizeBinary(16), "uuid", "uuid"),
            (DataType::FixedSizeBinary(15), "uuid", "bytea"),
            (DataType::Int32, "text", "integer"),
            (DataType::Utf8, "nonsense", "text"),
            (DataType::Utf8, "varchar(", "text"),
            (DataType::BinaryView, "geometry", "geometry"),
            (DataType::Utf8, "geometry", "text"),
        ];
        for (data_type, name, expected) in cases {
            assert_eq!(of_field(&field(data_type, name)).sql_name(), expected, "{name}");
        }
    }

    #[test]
    fn oids_are_unique_and_found() {
        for base in BASE_TYPES {
            assert_eq!(by_oid(base.oid).map(|found| found.base.name), Some(base.name));
            if base.array_oid != 0 {
                assert_eq!(
                    by_oid(base.array_oid).map(|found| found.name()),
                    Some(format!("_{}", base.name))
                );
            }
        }
        assert_eq!(by_oid(0), None);
    }
}
