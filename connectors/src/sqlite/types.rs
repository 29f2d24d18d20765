//! What a declared SQLite type means here.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};

/// How the values of a column are read. SQLite stores anything anywhere, so this
/// says what is expected, and [`super::decode`] refuses what does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Integer,
    Real,
    /// `affine`: declared so that SQLite itself turns numbers into text.
    Text {
        affine: bool,
    },
    Blob,
    Boolean,
    Decimal {
        precision: u8,
        scale: i8,
    },
}

impl ColumnKind {
    /// The kind of a declared type. SQLite's own affinity rule looks for parts of
    /// words and calls `POINT` an integer; here only whole names count, and a type
    /// with no known name is text, which holds every number exactly.
    ///
    /// Dates and times are text, too: SQLite has no such storage class, and one
    /// column may hold text, Julian days and Unix seconds.
    pub fn of(declared: &str) -> Self {
        let upper = declared.to_ascii_uppercase();
        let (name, arguments) = match upper.split_once('(') {
            Some((name, rest)) => (name, rest.split_once(')').map(|(inside, _)| inside)),
            None => (upper.as_str(), None),
        };
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        match name.as_str() {
            "INT" | "INTEGER" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "BIGINT" | "INT2" | "INT4"
            | "INT8" | "BIG INT" | "UNSIGNED BIG INT" | "INT UNSIGNED" | "INTEGER UNSIGNED"
            | "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "BIGINT UNSIGNED"
            | "UNSIGNED INT" | "UNSIGNED INTEGER" | "UNSIGNED BIGINT" => Self::Integer,
            "REAL" | "DOUBLE" | "DOUBLE PRECISION" | "FLOAT" | "FLOAT4" | "FLOAT8" => Self::Real,
            "BLOB" | "TINYBLOB" | "MEDIUMBLOB" | "LONGBLOB" => Self::Blob,
            "BOOLEAN" | "BOOL" => Self::Boolean,
            // Stored as a 64-bit integer or float, whatever the declaration says.
            "DECIMAL" | "NUMERIC" | "DEC" | "NUMBER" => match arguments {
                None => Self::Real,
                Some(arguments) => precision_and_scale(arguments).map_or(
                    Self::Text { affine: false },
                    |(precision, scale)| Self::Decimal { precision, scale },
                ),
            },
            name => Self::Text {
                // SQLite's rule, in its order: INT wins over CHAR.
                affine: !name.contains("INT")
                    && ["CHAR", "CLOB", "TEXT"].iter().any(|part| name.contains(part)),
            },
        }
    }

    pub fn data_type(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Real => DataType::Float64,
            Self::Text { .. } => DataType::Utf8,
            Self::Blob => DataType::Binary,
            Self::Boolean => DataType::Boolean,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        }
    }

    /// The name of the kind for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "64-bit integer",
            Self::Real => "floating-point number",
            Self::Text { .. } => "text",
            Self::Blob => "blob",
            Self::Boolean => "boolean",
            Self::Decimal { .. } => "decimal of the declared size",
        }
    }
}

fn precision_and_scale(arguments: &str) -> Option<(u8, i8)> {
    let mut parts = arguments.split(',').map(str::trim);
    let precision: u8 = parts.next()?.parse().ok()?;
    let scale: i8 = parts.next().map_or(Ok(0), str::parse).ok()?;
    let fits = (1..=DECIMAL128_MAX_PRECISION).contains(&precision)
        && scale >= 0
        && scale.unsigned_abs() <= precision;
    (fits && parts.next().is_none()).then_some((precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types() {
        let text = ColumnKind::Text { affine: false };
        let cases = [
            ("INTEGER", ColumnKind::Integer),
            ("int", ColumnKind::Integer),
            ("unsigned  big int", ColumnKind::Integer),
            ("POINT", text),
            ("CHARINT", text),
            ("", text),
            ("ANY", text),
            ("DATE", text),
            ("TIMESTAMP", text),
            ("JSON", text),
            ("VARCHAR(20)", ColumnKind::Text { affine: true }),
            ("TEXT", ColumnKind::Text { affine: true }),
            ("double precision", ColumnKind::Real),
            ("NUMERIC", ColumnKind::Real),
            (
                "DECIMAL(10, 2)",
                ColumnKind::Decimal {
                    precision: 10,
                    scale: 2,
                },
            ),
            (
                "NUMERIC(5)",
                ColumnKind::Decimal {
                    precision: 5,
                    scale: 0,
                },
            ),
            ("DECIMAL(50,2)", text),
            ("DECIMAL(2,5)", text),
            ("BLOB", ColumnKind::Blob),
            ("BOOLEAN", ColumnKind::Boolean),
        ];
        for (declared, expected) in cases {
            assert_eq!(ColumnKind::of(declared), expected, "{declared}");
        }
    }
}
