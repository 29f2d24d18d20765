//! SQL type names, as manifests declare columns with.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, TimeUnit};

/// The Arrow type of a SQL type name; None for one that is not read from files.
pub fn sql_type(name: &str) -> Option<DataType> {
    let lower = name.trim().to_ascii_lowercase();
    let (base, arguments) = match lower.split_once('(') {
        Some((base, rest)) => (base.trim(), Some(rest.strip_suffix(')')?)),
        None => (lower.as_str(), None),
    };
    let base = base.split_whitespace().collect::<Vec<_>>().join(" ");
    let data_type = match base.as_str() {
        "boolean" | "bool" => DataType::Boolean,
        "smallint" | "int2" => DataType::Int16,
        "integer" | "int" | "int4" => DataType::Int32,
        "bigint" | "int8" => DataType::Int64,
        "real" | "float4" => DataType::Float32,
        "double" | "double precision" | "float8" | "float" => DataType::Float64,
        "text" | "string" | "uuid" | "json" | "jsonb" | "time" => DataType::Utf8,
        "varchar" | "character varying" | "char" | "character" => return Some(DataType::Utf8),
        "date" => DataType::Date32,
        "timestamp" | "timestamp without time zone" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" | "timestamp with time zone" => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        "decimal" | "numeric" => return decimal(arguments?),
        _ => return None,
    };
    arguments.is_none().then_some(data_type)
}

fn decimal(arguments: &str) -> Option<DataType> {
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    let precision: u8 = precision.trim().parse().ok()?;
    let scale: i8 = scale.trim().parse().ok()?;
    ((1..=DECIMAL128_MAX_PRECISION).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision)
        .then_some(DataType::Decimal128(precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("bigint", Some(DataType::Int64)),
            ("Double  Precision", Some(DataType::Float64)),
            ("decimal(18,2)", Some(DataType::Decimal128(18, 2))),
            ("numeric(5)", Some(DataType::Decimal128(5, 0))),
            ("numeric", None),
            ("decimal(50,2)", None),
            ("varchar(20)", Some(DataType::Utf8)),
            (
                "timestamptz",
                Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            ),
            ("bigint(20)", None),
            ("point", None),
        ] {
            assert_eq!(sql_type(name), expected, "{name}");
        }
    }
}
