//! Pieces of syntax trees.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, DateTimeField, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, IntervalFields, ObjectName,
    ObjectNamePart, TimezoneInfo, UnaryOperator, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::cast::Target;
use crate::functions::cast;
use crate::types::{self, BaseType, PgType};
use crate::values::read::interval::{Range, Unit};
use crate::values::read::number;

/// A call of a function by name.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments
                .into_iter()
                .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
                .collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub(super) fn text(value: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.into()).with_span(Span::empty()))
}

pub(super) fn number(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).with_span(Span::empty()))
}

pub(super) fn null() -> Expr {
    Expr::Value(Value::Null.with_span(Span::empty()))
}

pub(super) fn cast_to(target: &Target, expression: Expr) -> Expr {
    call(&cast::name(target), vec![expression])
}

/// The target and the argument of a call that [`cast_to`] makes.
pub(super) fn cast_of(expression: &Expr) -> Option<(Target, &Expr)> {
    let Expr::Function(function) = bare(expression) else {
        return None;
    };
    let target = cast::target_of(&builtin_name(&function.name)?)?;
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => Some((target, argument)),
        _ => None,
    }
}

/// An expression without the parentheses around it.
pub(crate) fn bare(mut expression: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    expression
}

/// The text of a string literal.
pub(crate) fn literal_text(expression: &Expr) -> Option<&str> {
    match bare(expression) {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text) => Some(text),
            Value::DollarQuotedString(text) => Some(&text.value),
            _ => None,
        },
        _ => None,
    }
}

/// The digits of a number literal, with its sign.
pub(super) fn literal_number(expression: &Expr) -> Option<String> {
    match bare(expression) {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(digits.replace('_', "")),
            _ => None,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => literal_number(expr)
            .filter(|digits| !digits.starts_with('-'))
            .map(|digits| format!("-{digits}")),
        _ => None,
    }
}

/// The value of a whole number literal.
pub(crate) fn literal_integer(expression: &Expr) -> Option<i64> {
    literal_number(expression)?.parse().ok()
}

pub(super) fn is_placeholder(expression: &Expr) -> bool {
    matches!(bare(expression), Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

/// The last part of a function's or type's name, in lower case.
pub(super) fn last_name(name: &ObjectName) -> Option<String> {
    match name.0.last()? {
        ObjectNamePart::Identifier(identifier) => Some(if identifier.quote_style.is_some() {
            identifier.value.clone()
        } else {
            identifier.value.to_lowercase()
        }),
        ObjectNamePart::Function(_) => None,
    }
}

/// A function's name when it is a builtin's: alone, or in pg_catalog.
pub(super) fn builtin_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [_] => last_name(name),
        [ObjectNamePart::Identifier(schema), _] if schema.value.eq_ignore_ascii_case("pg_catalog") => {
            last_name(name)
        }
        _ => None,
    }
}

/// The positional arguments of a call; None where it has anything else.
pub(super) fn arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return matches!(function.args, FunctionArguments::None).then(Vec::new);
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    positional(&list.args)
}

pub(super) fn positional(arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    arguments
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
            _ => None,
        })
        .collect()
}

fn plain(base: &'static BaseType) -> Target {
    Target::of(PgType::scalar(base))
}

fn with_typmod(base: &'static BaseType, typmod: i32) -> Target {
    Target::of(PgType {
        typmod,
        ..PgType::scalar(base)
    })
}

fn characters(base: &'static BaseType, length: Option<&CharacterLength>) -> Option<Target> {
    Some(match length {
        None | Some(CharacterLength::Max) => plain(base),
        Some(CharacterLength::IntegerLength { length, .. }) => {
            with_typmod(base, i32::try_from(*length).ok()?.checked_add(4)?)
        }
    })
}

fn numeric(info: ExactNumberInfo) -> Option<Target> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Some(plain(&types::NUMERIC)),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let (precision, scale) = (i32::try_from(precision).ok()?, i32::try_from(scale).ok()?);
    if !(1..=1000).contains(&precision) || !(-1000..=1000).contains(&scale) {
        return None;
    }
    Some(with_typmod(
        &types::NUMERIC,
        ((precision << 16) | (scale & 0x7ff)) + 4,
    ))
}

fn seconds(base: &'static BaseType, digits: Option<u64>) -> Target {
    Target {
        seconds: digits.map(|digits| digits.min(6) as u8),
        ..plain(base)
    }
}

fn interval_range(fields: IntervalFields) -> Range {
    let text = fields.to_string().to_lowercase();
    let mut units = text.split(" to ").map(|word| {
        let word = word.split('(').next().unwrap_or_default();
        Unit::by_name(word.trim())
    });
    let leading = units.next().flatten();
    Range {
        leading,
        last: units.next().flatten().or(leading),
    }
}

pub(super) fn unit_of(field: &DateTimeField) -> Option<Unit> {
    Unit::by_name(&field.to_string())
}

/// What a SQL type is as the target of a cast; None for types that exist in no form here.
pub(crate) fn target(data_type: &DataType) -> Option<Target> {
    let zoned = |zone: &TimezoneInfo| matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
    Some(match data_type {
        DataType::Bool | DataType::Boolean => plain(&types::BOOL),
        DataType::SmallInt(_) | DataType::Int2(_) => plain(&types::INT2),
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => plain(&types::INT4),
        DataType::BigInt(_) | DataType::Int8(_) => plain(&types::INT8),
        DataType::Real | DataType::Float4 => plain(&types::FLOAT4),
        DataType::Float(ExactNumberInfo::Precision(..=24)) => plain(&types::FLOAT4),
        DataType::Float(_)
        | DataType::Float8
        | DataType::DoublePrecision
        | DataType::Double(ExactNumberInfo::None) => plain(&types::FLOAT8),
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => return numeric(*info),
        DataType::Text | DataType::String(None) => plain(&types::TEXT),
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            return characters(&types::VARCHAR, length.as_ref());
        }
        // `char` is `char(1)`
        DataType::Char(None) | DataType::Character(None) => with_typmod(&types::BPCHAR, 5),
        DataType::Char(length) | DataType::Character(length) => {
            return characters(&types::BPCHAR, length.as_ref());
        }
        DataType::Bytea => plain(&types::BYTEA),
        DataType::Date => plain(&types::DATE),
        DataType::Time(_, zone) if zoned(zone) => return None,
        DataType::Time(digits, _) => seconds(&types::TIME, *digits),
        DataType::Timestamp(digits, zone) if zoned(zone) => seconds(&types::TIMESTAMPTZ, *digits),
        DataType::Timestamp(digits, _) => seconds(&types::TIMESTAMP, *digits),
        DataType::Interval { fields, precision } => Target {
            seconds: precision.map(|digits| digits.min(6) as u8),
            range: fields.map(interval_range).unwrap_or_default(),
            ..plain(&types::INTERVAL)
        },
        DataType::Uuid => plain(&types::UUID),
        DataType::JSON => plain(&types::JSON),
        DataType::JSONB => plain(&types::JSONB),
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(inner, _) | ArrayElemTypeDef::AngleBracket(inner),
        ) => {
            // `int[][]` is `int[]`
            let mut element = target(inner)?;
            element.pg_type.array = true;
            element
        }
        DataType::Custom(name, modifiers) => {
            let name = match name.0.as_slice() {
                [_] => last_name(name)?,
                [ObjectNamePart::Identifier(schema), _]
                    if schema.value.eq_ignore_ascii_case("pg_catalog") =>
                {
                    last_name(name)?
                }
                _ => return None,
            };
            let base = types::base_by_name(&name.to_lowercase())?;
            // names of objects are resolved by the catalog
            if matches!(base.oid, 24 | 194 | 1033 | 2202..=2206 | 4089 | 4096 | 22 | 30) {
                return None;
            }
            match (base.oid, modifiers.as_slice()) {
                (_, []) => plain(base),
                (1042 | 1043, [length]) => with_typmod(base, length.parse::<i32>().ok()?.checked_add(4)?),
                (1114 | 1184 | 1083, [digits]) => seconds(base, digits.parse().ok()),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// The target of `literal::numeric`: a numeric without a modifier has the digits that are written.
pub(super) fn with_digits_of(mut target: Target, expression: &Expr) -> Target {
    if target.pg_type.base.oid == types::NUMERIC.oid && target.pg_type.typmod < 4 && !target.pg_type.array {
        let written = literal_number(expression).or_else(|| literal_text(expression).map(str::to_owned));
        if let Some(written) = written
            && let Ok(value) = number::numeric(&written)
            && let (Ok(precision), Ok(scale)) = (u8::try_from(value.precision), i8::try_from(value.scale))
        {
            target.digits = Some((precision, scale));
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn types_are_known_by_their_names() {
        for (sql, expected) in [
            ("int", Some("integer")),
            ("float", Some("double precision")),
            ("float(10)", Some("real")),
            ("numeric(10,2)", Some("numeric(10,2)")),
            ("decimal", Some("numeric")),
            ("varchar(5)", Some("character varying(5)")),
            ("char", Some("character(1)")),
            ("\"char\"", Some("\"char\"")),
            ("timestamp(0) with time zone", Some("timestamp with time zone(0)")),
            ("int[][]", Some("integer[]")),
            ("text[]", Some("text[]")),
            ("jsonb", Some("jsonb")),
            ("pg_catalog.int4", Some("integer")),
            ("regclass", None),
            ("money", None),
        ] {
            let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap();
            let data_type = parser.parse_data_type().unwrap();
            assert_eq!(
                target(&data_type).map(|target| target.sql()).as_deref(),
                expected,
                "{sql}"
            );
        }
    }
}
