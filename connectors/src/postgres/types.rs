//! What each PostgreSQL type becomes, and how its column is asked for.

use std::collections::BTreeMap;

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, IntervalUnit, TimeUnit,
};
use lakegate_crds::UnconstrainedNumeric;

use crate::server::Named;

/// Type oids of pg_type.dat, fixed since PostgreSQL's beginning.
pub(super) mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const JSON: u32 = 114;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const MONEY: u32 = 790;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const INTERVAL: u32 = 1186;
    pub const NUMERIC: u32 = 1700;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
}

/// The form in which one column's values arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric128 {
        precision: u8,
        scale: i8,
    },
    Numeric256 {
        precision: u8,
        scale: i8,
    },
    /// UTF-8 bytes of a value of this type.
    Text(TextForm),
    Bytea,
    /// PostGIS's EWKB, cast to bytea by the server.
    Geometry,
    Date,
    Timestamp,
    TimestampTz,
    Time,
    Interval,
    List(Box<Wire>),
}

/// How text is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextForm {
    /// The type, by oid, is text in all but name.
    Native(u32),
    /// Cast to text by the server.
    Cast,
    /// A uuid, cast to text by the server.
    Uuid,
    /// `money` prints in the server's locale: through numeric it does not.
    Money,
}

impl Wire {
    /// A numeric whose digits differ by value: half of those that a decimal has stand behind the point, as in a
    /// `numeric` without a precision everywhere in Lakegate.
    const UNCONSTRAINED: Self = Self::Numeric256 {
        precision: DECIMAL256_MAX_PRECISION,
        scale: 38,
    };

    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 | Self::Oid => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric128 { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Numeric256 { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Text(_) => DataType::Utf8,
            Self::Bytea | Self::Geometry => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::List(element) => DataType::List(Field::new_list_field(element.data_type(), true).into()),
        }
    }

    /// The type oid the answer must have; another means that the column was
    /// altered since it was discovered.
    pub(super) fn oid(&self) -> u32 {
        match self {
            Self::Bool => oid::BOOL,
            Self::Int2 => oid::INT2,
            Self::Int4 => oid::INT4,
            Self::Int8 => oid::INT8,
            Self::Oid => oid::OID,
            Self::Float4 => oid::FLOAT4,
            Self::Float8 => oid::FLOAT8,
            Self::Numeric128 { .. } | Self::Numeric256 { .. } => oid::NUMERIC,
            Self::Text(TextForm::Native(native)) => *native,
            Self::Text(TextForm::Cast | TextForm::Uuid | TextForm::Money) => oid::TEXT,
            Self::Bytea | Self::Geometry => oid::BYTEA,
            Self::Date => oid::DATE,
            Self::Timestamp => oid::TIMESTAMP,
            Self::TimestampTz => oid::TIMESTAMPTZ,
            Self::Time => oid::TIME,
            Self::Interval => oid::INTERVAL,
            Self::List(element) => array_oid(element.oid()),
        }
    }

    /// The type's name in pg_catalog.
    fn sql_name(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Oid => "oid",
            Self::Float4 => "float4",
            Self::Float8 => "float8",
            Self::Numeric128 { .. } | Self::Numeric256 { .. } => "numeric",
            Self::Text(TextForm::Native(oid::VARCHAR)) => "varchar",
            Self::Text(TextForm::Native(oid::BPCHAR)) => "bpchar",
            Self::Text(TextForm::Native(oid::NAME)) => "name",
            Self::Text(_) => "text",
            Self::Bytea | Self::Geometry => "bytea",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Time => "time",
            Self::Interval => "interval",
            Self::List(element) => element.sql_name(),
        }
    }

    /// The form of a scalar type. `modifier` is pg_attribute.atttypmod.
    fn scalar(type_oid: u32, modifier: i32) -> Self {
        match type_oid {
            oid::BOOL => Self::Bool,
            oid::INT2 => Self::Int2,
            oid::INT4 => Self::Int4,
            oid::INT8 => Self::Int8,
            oid::OID => Self::Oid,
            oid::FLOAT4 => Self::Float4,
            oid::FLOAT8 => Self::Float8,
            oid::NUMERIC => Self::numeric(modifier),
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME => Self::Text(TextForm::Native(type_oid)),
            oid::MONEY => Self::Text(TextForm::Money),
            oid::UUID => Self::Text(TextForm::Uuid),
            oid::BYTEA => Self::Bytea,
            oid::DATE => Self::Date,
            oid::TIMESTAMP => Self::Timestamp,
            oid::TIMESTAMPTZ => Self::TimestampTz,
            oid::TIME => Self::Time,
            oid::INTERVAL => Self::Interval,
            _ => Self::Text(TextForm::Cast),
        }
    }

    /// The modifier holds precision and an 11-bit signed scale (numeric.c,
    /// `make_numeric_typmod`; before PostgreSQL 15 the scale was never
    /// negative). Arrow's precision counts every digit above the scale, so a
    /// scale outside 0..=precision widens it. Exact text where no decimal fits.
    fn numeric(modifier: i32) -> Self {
        if modifier < 4 {
            return Self::UNCONSTRAINED;
        }
        let packed = modifier - 4;
        let precision = (packed >> 16) & 0xFFFF;
        let scale = ((packed & 0x7FF) ^ 1024) - 1024;
        let (precision, scale) = if scale < 0 {
            (precision - scale, 0)
        } else {
            (precision.max(scale), scale)
        };
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(precision), Ok(scale)) if precision <= DECIMAL128_MAX_PRECISION => {
                Self::Numeric128 { precision, scale }
            }
            (Ok(precision), Ok(scale)) if precision <= DECIMAL256_MAX_PRECISION => {
                Self::Numeric256 { precision, scale }
            }
            _ => Self::Text(TextForm::Cast),
        }
    }
}

/// The array type of a built-in type this connector reads in binary.
fn array_oid(element: u32) -> u32 {
    match element {
        oid::BOOL => 1000,
        oid::BYTEA => 1001,
        oid::NAME => 1003,
        oid::INT2 => 1005,
        oid::INT4 => 1007,
        oid::BPCHAR => 1014,
        oid::VARCHAR => 1015,
        oid::INT8 => 1016,
        oid::FLOAT4 => 1021,
        oid::FLOAT8 => 1022,
        oid::OID => 1028,
        oid::TIMESTAMP => 1115,
        oid::DATE => 1182,
        oid::TIME => 1183,
        oid::TIMESTAMPTZ => 1185,
        oid::INTERVAL => 1187,
        oid::NUMERIC => 1231,
        // Text, and what is cast to it. An array of arrays is never asked for.
        _ => 1009,
    }
}

/// What the catalog says about a column's type, domains resolved. Kept in
/// `ColumnDetails::facts`, so that a description alone is enough to read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ColumnFacts {
    /// Below all domains.
    pub type_oid: u32,
    pub modifier: i32,
    /// Of a true array: its element type.
    pub element: Option<ElementFacts>,
    /// A row type: PostgreSQL calls a row of NULLs itself NULL.
    pub composite: bool,
    /// PostGIS's `geometry`, whose oid differs by database.
    pub geometry: bool,
    pub unconstrained_numeric: UnconstrainedNumeric,
    /// Equality of this text is equality of its bytes here and there.
    pub bytewise: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ElementFacts {
    /// Below all domains.
    pub type_oid: u32,
    /// The element type is a domain, so the array type is not a built-in one.
    pub domain: bool,
}

const TYPE: &str = "typeOid";
const MODIFIER: &str = "typeModifier";
const ELEMENT: &str = "elementOid";
const ELEMENT_DOMAIN: &str = "elementIsDomain";
const COMPOSITE: &str = "composite";
const GEOMETRY: &str = "geometry";
const NUMERIC_AS_TEXT: &str = "numericAsText";
const BYTEWISE: &str = "bytewiseEquality";

impl ColumnFacts {
    pub(super) fn to_map(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::from([
            (TYPE.to_owned(), self.type_oid.to_string()),
            (MODIFIER.to_owned(), self.modifier.to_string()),
            (COMPOSITE.to_owned(), self.composite.to_string()),
            (GEOMETRY.to_owned(), self.geometry.to_string()),
            (
                NUMERIC_AS_TEXT.to_owned(),
                (self.unconstrained_numeric == UnconstrainedNumeric::Text).to_string(),
            ),
            (BYTEWISE.to_owned(), self.bytewise.to_string()),
        ]);
        if let Some(element) = self.element {
            facts.insert(ELEMENT.to_owned(), element.type_oid.to_string());
            facts.insert(ELEMENT_DOMAIN.to_owned(), element.domain.to_string());
        }
        facts
    }

    /// None if the facts were not written by [`Self::to_map`].
    pub(super) fn from_map(facts: &BTreeMap<String, String>) -> Option<Self> {
        let flag = |key: &str| facts.get(key)?.parse::<bool>().ok();
        let element = match facts.get(ELEMENT) {
            Some(element) => Some(ElementFacts {
                type_oid: element.parse().ok()?,
                domain: flag(ELEMENT_DOMAIN)?,
            }),
            None => None,
        };
        Some(Self {
            type_oid: facts.get(TYPE)?.parse().ok()?,
            modifier: facts.get(MODIFIER)?.parse().ok()?,
            element,
            composite: flag(COMPOSITE)?,
            geometry: flag(GEOMETRY)?,
            unconstrained_numeric: if flag(NUMERIC_AS_TEXT)? {
                UnconstrainedNumeric::Text
            } else {
                UnconstrainedNumeric::Decimal
            },
            bytewise: flag(BYTEWISE)?,
        })
    }
}

/// One column of a remote table, ready to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteColumn {
    pub name: String,
    pub wire: Wire,
    /// Appended to the column's name in the select list.
    pub cast: String,
    pub composite: bool,
    pub bytewise: bool,
    /// Of `character(n)`, how many characters each value is padded to.
    pub characters: Option<usize>,
}

impl RemoteColumn {
    pub(super) fn new(name: String, facts: &ColumnFacts) -> Self {
        let scalar = |type_oid| {
            let as_text = facts.unconstrained_numeric == UnconstrainedNumeric::Text;
            if type_oid == oid::NUMERIC && facts.modifier < 4 && as_text {
                Wire::Text(TextForm::Cast)
            } else {
                Wire::scalar(type_oid, facts.modifier)
            }
        };
        let (wire, direct) = if let Some(element) = facts.element {
            let wire = scalar(element.type_oid);
            let direct = !element.domain && wire.oid() == element.type_oid;
            (Wire::List(Box::new(wire)), direct)
        } else if facts.geometry {
            (Wire::Geometry, false)
        } else {
            let wire = scalar(facts.type_oid);
            let direct = wire.oid() == facts.type_oid;
            (wire, direct)
        };
        let brackets = if matches!(wire, Wire::List(_)) { "[]" } else { "" };
        let is_money = match &wire {
            Wire::List(element) => **element == Wire::Text(TextForm::Money),
            scalar => *scalar == Wire::Text(TextForm::Money),
        };
        let cast = if is_money {
            format!("::pg_catalog.numeric{brackets}::pg_catalog.text{brackets}")
        } else if direct {
            String::new()
        } else {
            // Without a modifier, so that nothing is rounded or cut.
            format!("::pg_catalog.{}{brackets}", wire.sql_name())
        };
        Self {
            name,
            wire,
            cast,
            composite: facts.composite,
            bytewise: facts.bytewise,
            characters: match (facts.type_oid, facts.element) {
                // The modifier counts its own four bytes.
                (oid::BPCHAR, None) => usize::try_from(facts.modifier - 4)
                    .ok()
                    .filter(|length| *length > 0),
                _ => None,
            },
        }
    }
}

impl Named for RemoteColumn {
    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(type_oid: u32, modifier: i32) -> ColumnFacts {
        ColumnFacts {
            type_oid,
            modifier,
            element: None,
            composite: false,
            geometry: false,
            unconstrained_numeric: UnconstrainedNumeric::Decimal,
            bytewise: false,
        }
    }

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7FF)) + 4
    }

    #[test]
    fn numeric_types() {
        let cases = [
            (modifier(10, 2), DataType::Decimal128(10, 2)),
            (modifier(38, 38), DataType::Decimal128(38, 38)),
            (modifier(39, 0), DataType::Decimal256(39, 0)),
            (modifier(76, 10), DataType::Decimal256(76, 10)),
            (modifier(77, 0), DataType::Utf8),
            (modifier(1000, 500), DataType::Utf8),
            (modifier(5, -3), DataType::Decimal128(8, 0)),
            (modifier(3, 5), DataType::Decimal128(5, 5)),
            (-1, DataType::Decimal256(76, 38)),
        ];
        for (modifier, expected) in cases {
            let column = RemoteColumn::new("n".into(), &facts(oid::NUMERIC, modifier));
            assert_eq!(column.wire.data_type(), expected);
            let cast = if expected == DataType::Utf8 {
                "::pg_catalog.text"
            } else {
                ""
            };
            assert_eq!(column.cast, cast);
        }
    }

    #[test]
    fn casts() {
        let array = |type_oid, domain| ColumnFacts {
            element: Some(ElementFacts { type_oid, domain }),
            ..facts(1, -1)
        };
        let uuid = 2950;
        let cases = [
            (facts(oid::INT4, -1), ""),
            (facts(oid::BPCHAR, 14), ""),
            (facts(uuid, -1), "::pg_catalog.text"),
            (facts(oid::MONEY, -1), "::pg_catalog.numeric::pg_catalog.text"),
            (array(oid::INT4, false), ""),
            (array(oid::INT4, true), "::pg_catalog.int4[]"),
            (array(oid::VARCHAR, true), "::pg_catalog.varchar[]"),
            (array(uuid, false), "::pg_catalog.text[]"),
            (array(oid::NUMERIC, false), ""),
            (array(oid::NUMERIC, true), "::pg_catalog.numeric[]"),
            (
                ColumnFacts {
                    unconstrained_numeric: UnconstrainedNumeric::Text,
                    ..array(oid::NUMERIC, false)
                },
                "::pg_catalog.text[]",
            ),
            (
                ColumnFacts {
                    unconstrained_numeric: UnconstrainedNumeric::Text,
                    ..facts(oid::NUMERIC, -1)
                },
                "::pg_catalog.text",
            ),
            (
                ColumnFacts {
                    unconstrained_numeric: UnconstrainedNumeric::Text,
                    ..facts(oid::NUMERIC, modifier(76, 38))
                },
                "",
            ),
            (
                array(oid::MONEY, false),
                "::pg_catalog.numeric[]::pg_catalog.text[]",
            ),
        ];
        for (facts, expected) in cases {
            assert_eq!(RemoteColumn::new("c".into(), &facts).cast, expected, "{facts:?}");
            assert_eq!(ColumnFacts::from_map(&facts.to_map()), Some(facts));
        }
        assert_eq!(ColumnFacts::from_map(&BTreeMap::new()), None);
    }
}
