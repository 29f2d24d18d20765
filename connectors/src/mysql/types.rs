//! What each MySQL type becomes, and how its column is asked for.

use std::collections::BTreeMap;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, TimeUnit};

use super::wire::{ColumnDefinition, ColumnType};
use crate::server::Named;

/// The form in which one column's values arrive.
///
/// PostgreSQL has no unsigned integers, nor has Parquet as its readers
/// understand it: an unsigned column takes the next wider signed type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    /// BIT(1).
    Bool,
    /// BIT(n) as the number it is: n below 64.
    Bits,
    /// BIT(64).
    WideBits,
    Tiny {
        unsigned: bool,
    },
    Small {
        unsigned: bool,
    },
    /// A wire type of its own, though of four bytes.
    Medium {
        unsigned: bool,
    },
    Int {
        unsigned: bool,
    },
    Big {
        unsigned: bool,
    },
    Year,
    Float,
    Double,
    Decimal128 {
        precision: u8,
        scale: i8,
    },
    Decimal256 {
        precision: u8,
        scale: i8,
    },
    /// Text, turned into UTF-8 by the server.
    Text,
    /// Anything else, cast to text by the server.
    Cast,
    Binary,
    /// Well-known binary, longitude first.
    Geometry {
        /// The server has to be told.
        swapped: bool,
    },
    Date,
    DateTime,
    Timestamp,
    /// A span of up to 838 hours, so no time of day: its text.
    Time {
        /// Digits of the fraction.
        fraction: u8,
    },
}

/// Digits of 2^64 - 1.
const BIG_UNSIGNED: DataType = DataType::Decimal128(20, 0);

impl Wire {
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Tiny { .. } | Self::Small { unsigned: false } | Self::Year => DataType::Int16,
            Self::Small { unsigned: true } | Self::Medium { .. } | Self::Int { unsigned: false } => {
                DataType::Int32
            }
            Self::Int { unsigned: true } | Self::Big { unsigned: false } | Self::Bits => DataType::Int64,
            Self::Big { unsigned: true } | Self::WideBits => BIG_UNSIGNED,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal128 { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Decimal256 { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Text | Self::Cast | Self::Time { .. } => DataType::Utf8,
            Self::Binary | Self::Geometry { .. } => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// Whether an answer's column is of this form; another means that the table
    /// was altered since it was discovered.
    pub(super) fn matches(&self, column: &ColumnDefinition) -> bool {
        let integer = |kind, unsigned| column.kind == kind && column.unsigned == unsigned;
        match *self {
            Self::Bool | Self::Bits | Self::WideBits => column.kind == ColumnType::Bit,
            Self::Tiny { unsigned } => integer(ColumnType::Tiny, unsigned),
            Self::Small { unsigned } => integer(ColumnType::Short, unsigned),
            Self::Medium { unsigned } => integer(ColumnType::Int24, unsigned),
            Self::Int { unsigned } => integer(ColumnType::Long, unsigned),
            Self::Big { unsigned } => integer(ColumnType::LongLong, unsigned),
            Self::Year => column.kind == ColumnType::Year,
            Self::Float => column.kind == ColumnType::Float,
            Self::Double => column.kind == ColumnType::Double,
            Self::Decimal128 { scale, .. } | Self::Decimal256 { scale, .. } => {
                column.kind == ColumnType::NewDecimal && i16::from(column.decimals) == i16::from(scale)
            }
            Self::Text => {
                column.kind == ColumnType::Json || column.kind == ColumnType::Bytes && !column.binary
            }
            // Whatever the character set of a cast is called, UTF-8 is checked.
            Self::Cast => column.kind == ColumnType::Bytes,
            Self::Binary => column.kind == ColumnType::Bytes && column.binary,
            Self::Geometry { .. } => matches!(column.kind, ColumnType::Bytes | ColumnType::Geometry),
            Self::Date => column.kind == ColumnType::Date,
            Self::DateTime => column.kind == ColumnType::DateTime,
            Self::Timestamp => column.kind == ColumnType::Timestamp,
            Self::Time { .. } => column.kind == ColumnType::Time,
        }
    }

    /// Whether a value can be `0000-00-00`.
    pub(super) fn has_zero_dates(&self) -> bool {
        matches!(self, Self::Date | Self::DateTime | Self::Timestamp)
    }
}

/// What `information_schema.COLUMNS` says about a column's type. Kept in
/// `ColumnDetails::facts`, so that a description alone is enough to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ColumnFacts {
    /// `DATA_TYPE`: the type's name alone.
    pub data_type: String,
    pub unsigned: bool,
    /// Of numbers and BIT.
    pub precision: Option<u8>,
    pub scale: Option<u8>,
    /// Digits of the fraction of a second.
    pub fraction: Option<u8>,
    pub charset: Option<String>,
    pub collation: Option<String>,
    /// `FLOAT(M,D)`, which the server rounds by its own ideas.
    pub rounded: bool,
    /// The server puts latitude first.
    pub swapped: bool,
}

const DATA_TYPE: &str = "dataType";
const UNSIGNED: &str = "unsigned";
const PRECISION: &str = "precision";
const SCALE: &str = "scale";
const FRACTION: &str = "fraction";
const CHARSET: &str = "charset";
const COLLATION: &str = "collation";
const ROUNDED: &str = "rounded";
const SWAPPED: &str = "latitudeFirst";

impl ColumnFacts {
    pub(super) fn to_map(&self) -> BTreeMap<String, String> {
        let number = |number: Option<u8>| number.map(|number| number.to_string());
        let flag = |flag: bool| flag.then(|| flag.to_string());
        [
            (DATA_TYPE, Some(self.data_type.clone())),
            (UNSIGNED, flag(self.unsigned)),
            (PRECISION, number(self.precision)),
            (SCALE, number(self.scale)),
            (FRACTION, number(self.fraction)),
            (CHARSET, self.charset.clone()),
            (COLLATION, self.collation.clone()),
            (ROUNDED, flag(self.rounded)),
            (SWAPPED, flag(self.swapped)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }

    /// None if the facts were not written by [`Self::to_map`].
    pub(super) fn from_map(facts: &BTreeMap<String, String>) -> Option<Self> {
        let number = |key: &str| facts.get(key).map(|text| text.parse::<u8>()).transpose().ok();
        let flag = |key: &str| facts.contains_key(key);
        Some(Self {
            data_type: facts.get(DATA_TYPE)?.clone(),
            unsigned: flag(UNSIGNED),
            precision: number(PRECISION)?,
            scale: number(SCALE)?,
            fraction: number(FRACTION)?,
            charset: facts.get(CHARSET).cloned(),
            collation: facts.get(COLLATION).cloned(),
            rounded: flag(ROUNDED),
            swapped: flag(SWAPPED),
        })
    }

    fn wire(&self) -> Wire {
        let unsigned = self.unsigned;
        match self.data_type.as_str() {
            "bit" => match self.precision {
                Some(1) => Wire::Bool,
                Some(2..=63) => Wire::Bits,
                _ => Wire::WideBits,
            },
            "tinyint" => Wire::Tiny { unsigned },
            "smallint" => Wire::Small { unsigned },
            "mediumint" => Wire::Medium { unsigned },
            "int" => Wire::Int { unsigned },
            "bigint" => Wire::Big { unsigned },
            "year" => Wire::Year,
            "float" => Wire::Float,
            "double" => Wire::Double,
            "decimal" => self.decimal(),
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
            | "json" => Wire::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Wire::Binary,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Wire::Geometry {
                swapped: self.swapped,
            },
            "date" => Wire::Date,
            "datetime" => Wire::DateTime,
            "timestamp" => Wire::Timestamp,
            "time" => Wire::Time {
                fraction: self.fraction.unwrap_or(0),
            },
            _ => Wire::Cast,
        }
    }

    fn decimal(&self) -> Wire {
        let (Some(precision), Some(scale)) = (self.precision, self.scale) else {
            return Wire::Cast;
        };
        let Ok(signed_scale) = i8::try_from(scale) else {
            return Wire::Cast;
        };
        match precision {
            1..=DECIMAL128_MAX_PRECISION if scale <= precision => Wire::Decimal128 {
                precision,
                scale: signed_scale,
            },
            1..=DECIMAL256_MAX_PRECISION if scale <= precision => Wire::Decimal256 {
                precision,
                scale: signed_scale,
            },
            _ => Wire::Cast,
        }
    }

    /// How the server compares this text.
    fn text_rule(&self) -> TextRule {
        let charset = self.charset.as_deref().unwrap_or_default();
        let repertoire = match charset {
            "utf8mb4" => Repertoire::Unicode,
            "utf8" | "utf8mb3" => Repertoire::BasicPlane,
            "latin1" | "ascii" => Repertoire::Ascii,
            _ => return TextRule::Local,
        };
        // Neither folds, nor pads with blanks. CHAR has lost its blanks before
        // it is read, and an ENUM is looked up among its labels.
        let bytewise = matches!(
            self.collation.as_deref(),
            Some("utf8mb4_0900_bin" | "utf8mb4_nopad_bin" | "utf8mb3_nopad_bin" | "utf8_nopad_bin")
        );
        match self.data_type.as_str() {
            "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" if bytewise => {
                TextRule::Exact(repertoire)
            }
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" => {
                TextRule::Superset(repertoire)
            }
            _ => TextRule::Local,
        }
    }
}

/// What may be left to the server where text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextRule {
    Local,
    /// It calls equal what is equal here, and more.
    Superset(Repertoire),
    /// It compares code points, as it is done here.
    Exact(Repertoire),
}

/// The characters that a constant compared with a column may have: with others
/// the server would refuse the comparison, or convert one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repertoire {
    Unicode,
    BasicPlane,
    Ascii,
}

impl Repertoire {
    pub(super) fn holds(self, text: &str) -> bool {
        // A NUL could be sent, but nothing else has to be thought of without.
        text.chars().all(|character| {
            character != '\0'
                && match self {
                    Self::Unicode => true,
                    Self::BasicPlane => u32::from(character) < 0x1_0000,
                    Self::Ascii => character.is_ascii(),
                }
        })
    }
}

/// One column of a remote table, ready to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteColumn {
    pub name: String,
    pub wire: Wire,
    pub text: TextRule,
    pub rounded: bool,
}

impl RemoteColumn {
    pub(super) fn new(name: String, facts: &ColumnFacts) -> Self {
        Self {
            name,
            wire: facts.wire(),
            text: facts.text_rule(),
            rounded: facts.rounded,
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

    fn facts(data_type: &str) -> ColumnFacts {
        ColumnFacts {
            data_type: data_type.to_owned(),
            ..ColumnFacts::default()
        }
    }

    #[test]
    fn numbers() {
        let decimal = |precision, scale| ColumnFacts {
            precision: Some(precision),
            scale: Some(scale),
            ..facts("decimal")
        };
        let bit = |precision| ColumnFacts {
            precision: Some(precision),
            ..facts("bit")
        };
        let unsigned = |data_type| ColumnFacts {
            unsigned: true,
            ..facts(data_type)
        };
        let cases = [
            (facts("tinyint"), DataType::Int16),
            (unsigned("tinyint"), DataType::Int16),
            (facts("smallint"), DataType::Int16),
            (unsigned("smallint"), DataType::Int32),
            (unsigned("mediumint"), DataType::Int32),
            (unsigned("int"), DataType::Int64),
            (facts("bigint"), DataType::Int64),
            (unsigned("bigint"), DataType::Decimal128(20, 0)),
            (bit(1), DataType::Boolean),
            (bit(63), DataType::Int64),
            (bit(64), DataType::Decimal128(20, 0)),
            (decimal(38, 38), DataType::Decimal128(38, 38)),
            (decimal(39, 0), DataType::Decimal256(39, 0)),
            (decimal(65, 30), DataType::Decimal256(65, 30)),
            (facts("decimal"), DataType::Utf8),
            (facts("inet6"), DataType::Utf8),
        ];
        for (facts, expected) in cases {
            let column = RemoteColumn::new("c".to_owned(), &facts);
            assert_eq!(column.wire.data_type(), expected, "{facts:?}");
            assert_eq!(ColumnFacts::from_map(&facts.to_map()), Some(facts));
        }
        assert_eq!(ColumnFacts::from_map(&BTreeMap::new()), None);
    }

    #[test]
    fn collations() {
        let text = |data_type, charset: &str, collation: &str| ColumnFacts {
            charset: Some(charset.to_owned()),
            collation: Some(collation.to_owned()),
            ..facts(data_type)
        };
        let unicode = Repertoire::Unicode;
        for (facts, expected) in [
            (
                text("varchar", "utf8mb4", "utf8mb4_general_ci"),
                TextRule::Superset(unicode),
            ),
            // Pads with blanks, for all its name.
            (
                text("varchar", "utf8mb4", "utf8mb4_bin"),
                TextRule::Superset(unicode),
            ),
            (
                text("varchar", "utf8mb4", "utf8mb4_0900_bin"),
                TextRule::Exact(unicode),
            ),
            (
                text("longtext", "utf8mb4", "utf8mb4_nopad_bin"),
                TextRule::Exact(unicode),
            ),
            (
                text("char", "utf8mb4", "utf8mb4_nopad_bin"),
                TextRule::Superset(unicode),
            ),
            (
                text("enum", "utf8mb4", "utf8mb4_nopad_bin"),
                TextRule::Superset(unicode),
            ),
            (text("set", "utf8mb4", "utf8mb4_nopad_bin"), TextRule::Local),
            (
                text("varchar", "utf8mb3", "utf8mb3_general_ci"),
                TextRule::Superset(Repertoire::BasicPlane),
            ),
            (
                text("varchar", "latin1", "latin1_swedish_ci"),
                TextRule::Superset(Repertoire::Ascii),
            ),
            (text("varchar", "sjis", "sjis_japanese_ci"), TextRule::Local),
            (facts("json"), TextRule::Local),
        ] {
            assert_eq!(
                RemoteColumn::new("c".to_owned(), &facts).text,
                expected,
                "{facts:?}"
            );
        }
        assert!(Repertoire::Unicode.holds("😀"));
        assert!(!Repertoire::BasicPlane.holds("😀"));
        assert!(Repertoire::BasicPlane.holds("é"));
        assert!(!Repertoire::Ascii.holds("é"));
        assert!(!Repertoire::Unicode.holds("a\0"));
    }
}
