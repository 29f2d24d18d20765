//! The cause of an error that DataFusion, Arrow or the SQL parser gives.

use std::borrow::Cow;
use std::error::Error as _;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::error::{Cause, FederationError, Location};

impl From<ParserError> for FederationError {
    fn from(error: ParserError) -> Self {
        match error {
            ParserError::RecursionLimitExceeded => Cause::TooComplex {
                message: "nesting is too deep".into(),
            }
            .into(),
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
                let (message, location) = split_location(&message);
                let error = syntax_error(message);
                match location {
                    Some(location) => error.at(location),
                    None => error,
                }
            }
        }
    }
}

/// PostgreSQL's wording where the parser says what it found, with what it expected as
/// detail.
fn syntax_error(message: &str) -> FederationError {
    let split = message
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.rsplit_once(", found: "));
    match split {
        Some((expected, found)) => {
            let message = match found {
                "EOF" => "syntax error at end of input".to_owned(),
                found => format!("syntax error at or near \"{found}\""),
            };
            FederationError::from(Cause::Syntax { message }).with_detail(format!("Expected: {expected}."))
        }
        None => Cause::Syntax {
            message: format!("syntax error: {message}"),
        }
        .into(),
    }
}

/// The parser ends its messages with ` at Line: 1, Column: 8`.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let parsed = message.rsplit_once(" at Line: ").and_then(|(head, tail)| {
        let (line, column) = tail.split_once(", Column: ")?;
        let location = Location {
            line: line.parse().ok()?,
            column: column.parse().ok()?,
        };
        Some((head, location))
    });
    match parsed {
        // line 0 is the parser's "nowhere", as at the end of the text
        Some((head, location)) => (head.trim_end(), (location.line > 0).then_some(location)),
        None => (message, None),
    }
}

impl From<DataFusionError> for FederationError {
    fn from(error: DataFusionError) -> Self {
        classify(&error)
    }
}

impl From<ArrowError> for FederationError {
    fn from(error: ArrowError) -> Self {
        classify_arrow(&error)
    }
}

/// Gives a DataFusion error its cause. Kinds come first; messages are looked at only
/// where DataFusion has no kind of its own (the tests pin these texts).
fn classify(error: &DataFusionError) -> FederationError {
    match error {
        DataFusionError::Shared(inner) => classify(inner),
        DataFusionError::Context(_, inner) => classify(inner),
        DataFusionError::Collection(errors) => errors
            .first()
            .map_or_else(|| FederationError::internal("an empty list of errors"), classify),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let error = classify(inner);
            match diagnostic.span {
                Some(span) if span.start.line > 0 => error.at(Location {
                    line: span.start.line,
                    column: span.start.column,
                }),
                _ => error,
            }
        }
        DataFusionError::External(inner) => classify_external(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => classify_arrow(inner),
        DataFusionError::SQL(inner, _) => (**inner).clone().into(),
        DataFusionError::SchemaError(inner, _) => classify_schema(inner),
        DataFusionError::NotImplemented(message) => Cause::NotSupported {
            message: tidy(message).into_owned(),
        }
        .into(),
        DataFusionError::Plan(message) => classify_plan(message),
        DataFusionError::Execution(message) => classify_execution(message),
        DataFusionError::ResourcesExhausted(message) => {
            let message = tidy(message).into_owned();
            if message.contains("disk") {
                Cause::DiskFull { message }.into()
            } else {
                FederationError::from(Cause::OutOfMemory { message })
                    .with_hint("Read fewer rows or columns, or give the process or the run more memory.")
            }
        }
        DataFusionError::IoError(inner) => {
            if inner.kind() == std::io::ErrorKind::StorageFull {
                Cause::DiskFull {
                    message: inner.to_string(),
                }
                .into()
            } else {
                Cause::SourceFailed {
                    message: inner.to_string(),
                }
                .into()
            }
        }
        DataFusionError::ObjectStore(inner) => Cause::SourceFailed {
            message: inner.to_string(),
        }
        .into(),
        DataFusionError::ParquetError(inner) => Cause::SourceFailed {
            message: inner.to_string(),
        }
        .into(),
        DataFusionError::Configuration(message) => Cause::InvalidParameter {
            message: tidy(message).into_owned(),
        }
        .into(),
        other => FederationError::internal(tidy(&other.strip_backtrace()).into_owned()),
    }
}

fn classify_external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> FederationError {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(error) = current.downcast_ref::<FederationError>() {
            return error.clone();
        }
        if let Some(error) = current.downcast_ref::<DataFusionError>() {
            return classify(error);
        }
        if let Some(error) = current.downcast_ref::<ArrowError>() {
            return classify_arrow(error);
        }
        next = current.source();
    }
    Cause::SourceFailed {
        message: error.to_string(),
    }
    .into()
}

fn classify_arrow(error: &ArrowError) -> FederationError {
    match error {
        ArrowError::DivideByZero => Cause::DivisionByZero.into(),
        ArrowError::ArithmeticOverflow(message) => Cause::OutOfRange {
            message: format!("value out of range: {message}"),
        }
        .into(),
        ArrowError::CastError(message) | ArrowError::ParseError(message) => classify_cast(message),
        ArrowError::NotYetImplemented(message) => Cause::NotSupported {
            message: message.clone(),
        }
        .into(),
        ArrowError::MemoryError(message) => Cause::OutOfMemory {
            message: message.clone(),
        }
        .into(),
        ArrowError::ExternalError(inner) => classify_external(inner.as_ref()),
        ArrowError::InvalidArgumentError(message) if message.contains("too large to store in a Decimal") => {
            Cause::OutOfRange {
                message: format!("numeric field overflow: {message}"),
            }
            .into()
        }
        ArrowError::ComputeError(message) | ArrowError::InvalidArgumentError(message) => {
            classify_execution(message)
        }
        other => match other.source() {
            Some(_) | None => FederationError::internal(other.to_string()),
        },
    }
}

fn classify_cast(message: &str) -> FederationError {
    let message = tidy(message).into_owned();
    if message.contains("Can't cast value") || message.contains("out of range") {
        Cause::OutOfRange { message }.into()
    } else {
        Cause::InvalidText { message }.into()
    }
}

fn classify_schema(error: &SchemaError) -> FederationError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let error = FederationError::from(Cause::UnknownColumn {
                column: match &field.relation {
                    Some(relation) => format!("{relation}.{}", field.name),
                    None => format!("\"{}\"", field.name),
                },
            });
            let folded = field.name.to_lowercase();
            let same = valid_fields
                .iter()
                .find(|valid| valid.name.to_lowercase() == folded);
            match same {
                Some(valid) => error.with_hint(format!(
                    "Perhaps you meant to reference the column \"{}\" (names in double quotes keep their case).",
                    valid.name
                )),
                None if valid_fields.is_empty() => error,
                None => {
                    let mut names: Vec<String> = valid_fields
                        .iter()
                        .take(40)
                        .map(|valid| format!("\"{}\"", valid.name))
                        .collect();
                    if valid_fields.len() > names.len() {
                        names.push("…".into());
                    }
                    error.with_hint(format!("Columns here: {}.", names.join(", ")))
                }
            }
        }
        SchemaError::AmbiguousReference { field } => Cause::AmbiguousColumn {
            column: format!("\"{}\"", field.name),
        }
        .into(),
        duplicate => Cause::DuplicateColumn {
            message: duplicate.to_string(),
        }
        .into(),
    }
}

fn classify_plan(message: &str) -> FederationError {
    let text = tidy(message);
    let first = text.lines().next().unwrap_or_default();
    if let Some(rest) = first.strip_prefix("Invalid function '") {
        let function = rest.trim_end_matches('.').trim_end_matches('\'');
        return unknown_function(function, &text);
    }
    if let Some(rest) = first.strip_prefix("table function '") {
        let function = rest.split('\'').next().unwrap_or(rest);
        return unknown_function(function, &text);
    }
    if first.starts_with("LIMIT must be >= 0") || first.starts_with("OFFSET must be >=0") {
        let (sqlstate, word) = if first.starts_with("LIMIT") {
            ("2201W", "LIMIT")
        } else {
            ("2201X", "OFFSET")
        };
        return Cause::Value {
            sqlstate,
            message: format!("{word} must not be negative"),
        }
        .into();
    }
    if first.contains("column out of bounds")
        || first.contains("position") && first.contains("is not in select list")
    {
        return Cause::Value {
            sqlstate: "42P10",
            message: text.into_owned(),
        }
        .into();
    }
    if first.contains("must be in GROUP BY")
        || first.contains("not allowed in the GROUP BY")
        || first.starts_with("Aggregate function calls cannot be nested")
        || first.starts_with("Aggregate functions are not allowed in")
    {
        return Cause::Grouping {
            message: text.into_owned(),
        }
        .into();
    }
    if first.contains("No function matches")
        || first.contains("Failed to coerce")
        || first.contains("does not support")
        || first.contains("Cannot infer common argument type")
        || first.contains("Cannot coerce arithmetic expression")
        || first.contains("Cannot get result type for")
    {
        return FederationError::from(Cause::NoSuchOverload {
            message: text.into_owned(),
        })
        .with_hint("You might need to add explicit type casts.");
    }
    if first.contains("Cannot automatically convert")
        || first.contains("Incompatible inputs for Union")
        || first.contains("coerc")
        || first.contains("Cannot create filter with non-boolean predicate")
    {
        return Cause::TypeMismatch {
            message: text.into_owned(),
        }
        .into();
    }
    if first.contains("have a unique name") || first.contains("duplicate") {
        return Cause::DuplicateColumn {
            message: text.into_owned(),
        }
        .into();
    }
    if first.contains("laceholder") {
        return Cause::UnknownParameter {
            number: first.to_owned(),
        }
        .into();
    }
    if first.contains("nested too deeply") || first.contains("recursion limit") {
        return Cause::TooComplex {
            message: text.into_owned(),
        }
        .into();
    }
    if first.starts_with("Unsupported") || first.contains("not supported") {
        return Cause::NotSupported {
            message: text.into_owned(),
        }
        .into();
    }
    Cause::Syntax {
        message: text.into_owned(),
    }
    .into()
}

fn unknown_function(function: &str, text: &str) -> FederationError {
    let error = FederationError::from(Cause::UnknownFunction {
        function: function.to_owned(),
    });
    match text
        .split_once("Did you mean '")
        .and_then(|(_, rest)| rest.split_once('\''))
    {
        Some((near, _)) => error.with_hint(format!("Perhaps you meant {near}.")),
        None => error,
    }
}

fn classify_execution(message: &str) -> FederationError {
    let text = tidy(message);
    let folded = text.to_lowercase();
    if folded.contains("scalar subquery returned more than one row") {
        Cause::Value {
            sqlstate: "21000",
            message: "more than one row returned by a subquery used as an expression".to_owned(),
        }
        .into()
    } else if folded.contains("divide by zero") || folded.contains("division by zero") {
        Cause::DivisionByZero.into()
    } else if folded.contains("overflow") || folded.contains("out of range") {
        Cause::OutOfRange {
            message: text.into_owned(),
        }
        .into()
    } else if folded.contains("placeholder") {
        Cause::UnknownParameter {
            number: text.into_owned(),
        }
        .into()
    } else if folded.contains("error parsing") || folded.contains("cannot cast") {
        Cause::InvalidText {
            message: text.into_owned(),
        }
        .into()
    } else {
        Cause::InvalidParameter {
            message: text.into_owned(),
        }
        .into()
    }
}

/// DataFusion asks users to report bugs to its own tracker and may append a backtrace:
/// neither is for our users.
fn tidy(message: &str) -> Cow<'_, str> {
    let message = message.split("\n\nbacktrace:").next().unwrap_or(message);
    match message.split_once("This issue was likely caused by a bug") {
        Some((head, _)) => Cow::Owned(head.trim_end().trim_end_matches('.').to_owned()),
        None => Cow::Borrowed(message.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_says_where() {
        let error = FederationError::from(ParserError::ParserError(
            "Expected: an expression, found: FROM at Line: 1, Column: 8".into(),
        ));
        assert_eq!(error.sqlstate(), "42601");
        assert_eq!(error.location(), Some(Location { line: 1, column: 8 }));
        assert_eq!(error.to_string(), "syntax error at or near \"FROM\"");
    }

    #[test]
    fn wrapped_errors_keep_their_cause() {
        let inner = DataFusionError::from(FederationError::from(Cause::Timeout));
        let shared = DataFusionError::Shared(std::sync::Arc::new(inner));
        let error = FederationError::from(DataFusionError::Context("while".into(), Box::new(shared)));
        assert_eq!(error.cause(), &Cause::Timeout);
    }
}
