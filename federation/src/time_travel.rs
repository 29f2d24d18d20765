//! Names that say which state of a lake's table is meant, after Trino's: `"orders@4711"` is a snapshot by its id,
//! `"orders@2026-11-30T03:00:00Z"` the one that was current at a time, and `"orders$snapshots"` lists those there are.
//! No list of tables has these names. A table of a lake can have neither `@` nor `$` in its own.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use lakegate_lake::{AsOf, LakeError, LakeTable, TableSnapshot};

use crate::error::{Cause, FederationError};
use crate::json::Value;
use crate::settings::quote_identifier;
use crate::types::PG_TYPE_METADATA;

const SNAPSHOTS: &str = "snapshots";

/// What a name within a lake means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LakeRelation<'a> {
    /// A table as it is.
    Newest(&'a str),
    /// A table as it was.
    AsOf(&'a str, AsOf),
    /// What snapshots of a table there are.
    Snapshots(&'a str),
}

/// The table of a name that says more than a table, and the rest, which begins with `@` or `$`.
pub(crate) fn split(name: &str) -> Option<(&str, &str)> {
    let position = name.find(['@', '$'])?;
    Some(name.split_at(position))
}

impl<'a> LakeRelation<'a> {
    /// Reads a name.
    ///
    /// # Errors
    /// `UnknownTable` for what follows a table's name and means nothing.
    pub(crate) fn of(name: &'a str) -> Result<Self, FederationError> {
        let Some((table, rest)) = split(name) else {
            return Ok(LakeRelation::Newest(name));
        };
        if let Some(as_of) = rest.strip_prefix('@') {
            if let Some(as_of) = read_as_of(as_of) {
                return Ok(LakeRelation::AsOf(table, as_of));
            }
        } else if rest.strip_prefix('$') == Some(SNAPSHOTS) {
            return Ok(LakeRelation::Snapshots(table));
        }
        let hint = format!(
            "Beside {table} there are {}, {} (a time, UTC unless it names an offset) and {}.",
            quote_identifier(&format!("{table}@<snapshot id>")),
            quote_identifier(&format!("{table}@2026-11-30T03:00:00Z")),
            quote_identifier(&format!("{table}${SNAPSHOTS}")),
        );
        let unknown = Cause::UnknownTable {
            relation: name.to_owned(),
        };
        Err(FederationError::from(unknown).with_hint(hint))
    }
}

/// A snapshot's id, or a time in ISO 8601: with an offset, or UTC; a date alone is its first moment.
fn read_as_of(text: &str) -> Option<AsOf> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(AsOf::Snapshot);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(AsOf::Time(time));
    }
    // a name of a zone in brackets is no offset
    let local: DateTime = (!text.contains('[')).then(|| text.parse().ok())??;
    let utc = local.to_zoned(TimeZone::UTC).ok()?;
    Some(AsOf::Time(utc.timestamp()))
}

/// What a lake says of a state that is not there, as SQL says it.
pub(crate) fn no_snapshot(error: LakeError, name: &str) -> DataFusionError {
    let LakeError::NoSnapshot { table, oldest, .. } = &error else {
        return DataFusionError::External(Box::new(error));
    };
    let list = format!(
        "{}.{}",
        quote_identifier(&table.schema),
        quote_identifier(&format!("{}${SNAPSHOTS}", table.name)),
    );
    let hint = match oldest {
        Some((id, time)) => {
            format!("Its oldest snapshot is {id}, of {time}; {list} lists those that are kept.")
        }
        None => "It has no snapshot at all.".to_owned(),
    };
    let unknown = FederationError::from(Cause::UnknownTable {
        relation: format!("{}.{name}", table.schema),
    });
    unknown
        .with_detail(format!("{}.", capitalized(&error.to_string())))
        .with_hint(hint)
        .into()
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().chain(characters).collect())
        .unwrap_or_default()
}

/// The columns of a list of snapshots: Trino's, and the run.
pub(crate) fn snapshots_schema() -> Arc<Schema> {
    let json = Field::new("summary", DataType::Utf8, false)
        .with_metadata([(PG_TYPE_METADATA.to_owned(), "jsonb".to_owned())].into());
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("committed_at", time, false),
        Field::new("snapshot_id", DataType::Int64, false),
        Field::new("parent_id", DataType::Int64, true),
        Field::new("operation", DataType::Utf8, false),
        Field::new("manifest_list", DataType::Utf8, false),
        json,
        Field::new("run_id", DataType::Utf8, true),
    ]))
}

fn summary_json(snapshot: &TableSnapshot) -> Value {
    let members = snapshot.summary.iter();
    Value::Object(
        members
            .map(|(key, value)| (key.clone(), Value::String(value.clone())))
            .collect(),
    )
}

/// The snapshots of a table as a table.
pub(crate) fn snapshots_table(table: &LakeTable) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let snapshots = table.snapshots();
    let text = |value: fn(&TableSnapshot) -> Option<&str>| -> ArrayRef {
        Arc::new(snapshots.iter().map(value).collect::<StringArray>())
    };
    let times = snapshots
        .iter()
        .map(|snapshot| snapshot.committed_at.as_microsecond());
    let ids = snapshots.iter().map(|snapshot| snapshot.id);
    let parents = snapshots.iter().map(|snapshot| snapshot.parent_id);
    let summaries = snapshots
        .iter()
        .map(|snapshot| summary_json(snapshot).normal().to_jsonb());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(Int64Array::from_iter_values(ids)),
        Arc::new(parents.collect::<Int64Array>()),
        text(|snapshot| Some(&snapshot.operation)),
        text(|snapshot| Some(&snapshot.manifest_list)),
        Arc::new(StringArray::from_iter_values(summaries)),
        text(|snapshot| snapshot.run_id.as_deref()),
    ];
    let schema = snapshots_schema();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let time = |text: &str| AsOf::Time(text.parse().unwrap());
        for (name, expected) in [
            ("orders", LakeRelation::Newest("orders")),
            ("orders@4711", LakeRelation::AsOf("orders", AsOf::Snapshot(4711))),
            (
                "orders@2026-11-30T03:00:00Z",
                LakeRelation::AsOf("orders", time("2026-11-30T03:00:00Z")),
            ),
            (
                "o-1.x@2026-11-30T03:00:00.123456+09:00",
                LakeRelation::AsOf("o-1.x", time("2026-11-29T18:00:00.123456Z")),
            ),
            (
                "orders@2026-11-30 03:00",
                LakeRelation::AsOf("orders", time("2026-11-30T03:00:00Z")),
            ),
            (
                "orders@2026-11-30",
                LakeRelation::AsOf("orders", time("2026-11-30T00:00:00Z")),
            ),
            ("orders$snapshots", LakeRelation::Snapshots("orders")),
        ] {
            assert_eq!(LakeRelation::of(name).unwrap(), expected, "{name}");
        }
        for bad in [
            "orders@",
            "orders@yesterday",
            "orders@-1",
            "orders@99999999999999999999",
            "orders@2026-13-01",
            "orders@2026-11-30T03:00:00[Asia/Seoul]",
            "orders$",
            "orders$files",
            "orders$snapshots@1",
            "orders@1$snapshots",
            "orders@1@2",
        ] {
            let error = LakeRelation::of(bad).unwrap_err();
            assert_eq!(error.sqlstate(), "42P01", "{bad}");
            assert!(
                error
                    .hint()
                    .is_some_and(|hint| hint.contains("\"orders$snapshots\"")),
                "{bad}"
            );
        }
    }
}
