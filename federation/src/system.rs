//! The system tables, in the schema `lakegate` of every database.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;

use crate::metadata::{RelationKind, TableMetadata, columns_of};
use crate::query_log::QueryLog;

/// A moment, as `timestamptz`.
fn time(name: &str) -> Field {
    Field::new(
        name,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        true,
    )
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

/// Name, comment and columns of each system table.
static TABLES: LazyLock<Vec<(&'static str, &'static str, SchemaRef)>> = LazyLock::new(|| {
    let table = |name, comment, columns: Vec<Field>| (name, comment, Arc::new(Schema::new(columns)));
    vec![table(
        "queries",
        "Running and recent queries.",
        vec![
            number("id"),
            number("session_id"),
            text("user"),
            text("database"),
            text("sql"),
            text("state"),
            time("started"),
            time("ended"),
            Field::new("duration_ms", DataType::Float64, true),
            number("rows"),
            text("error"),
            text("sqlstate"),
        ],
    )]
});

pub(crate) fn metadata() -> Arc<Vec<Arc<TableMetadata>>> {
    static METADATA: LazyLock<Arc<Vec<Arc<TableMetadata>>>> = LazyLock::new(|| {
        let tables = TABLES.iter().map(|(name, comment, schema)| {
            Arc::new(TableMetadata {
                name: (*name).to_owned(),
                kind: RelationKind::View,
                comment: Some((*comment).to_owned()),
                rows: None,
                columns: columns_of(schema),
                primary_key: Vec::new(),
                definition: None,
            })
        });
        Arc::new(tables.collect())
    });
    Arc::clone(&METADATA)
}

/// Where the system tables read from.
#[derive(Clone)]
pub(crate) struct SystemTables {
    pub(crate) log: Arc<QueryLog>,
}

impl SystemTables {
    pub(crate) fn provider(&self, _table: &str) -> Option<Arc<dyn TableProvider>> {
        None
    }
}
