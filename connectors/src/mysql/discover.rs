//! What is on the server, from information_schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use lakegate_crds::{DiscoverySpec, ZeroDates};

use super::pool::Connection;
use super::render::quoted;
use super::settings::Settings;
use super::types::{ColumnFacts, RemoteColumn};
use super::wire::{Client, WireError};
use crate::{ColumnDetails, TableDescription, TableKind};

/// The server's own databases.
const SYSTEM: &str = "'mysql', 'information_schema', 'performance_schema', 'sys'";

/// One value a column of the answer, in its order.
type Row = Vec<Option<String>>;

/// The tables that the filter admits, by schema and name. A view of something
/// that is gone has no columns and is not offered.
pub(super) async fn tables(
    connection: &mut Connection,
    settings: &Settings,
    filter: &DiscoverySpec,
) -> Result<Vec<TableDescription>, WireError> {
    let swapped = connection.version.swaps_axes();
    let client = &mut connection.client;
    let which = match &settings.database {
        // As the server spells it: some ignore case.
        Some(_) => {
            let answer = client.query("SELECT DATABASE()").await?;
            let database = answer.into_iter().flatten().next().flatten();
            format!("TABLE_SCHEMA = {}", quoted(&database.unwrap_or_default()))
        }
        None => format!("TABLE_SCHEMA NOT IN ({SYSTEM})"),
    };
    let mut columns = columns(client, &which, swapped).await?;
    let mut keys = primary_keys(client, &which).await?;
    let rows = client
        .query(&format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_ROWS, TABLE_COMMENT, CREATE_OPTIONS \
             FROM information_schema.TABLES WHERE {which} ORDER BY TABLE_SCHEMA, TABLE_NAME"
        ))
        .await?;
    let mut tables = Vec::new();
    for row in rows {
        let mut row = Fields::of(row);
        let (schema, name, table_type) = (row.text(), row.text(), row.text());
        let (estimate, comment, options) = (row.optional(), row.optional(), row.text());
        let kind = match table_type.as_str() {
            "BASE TABLE" if options.contains("partitioned") => TableKind::PartitionedTable,
            "BASE TABLE" | "SYSTEM VERSIONED" => TableKind::Table,
            "VIEW" => TableKind::View,
            // A sequence, or the server's own.
            _ => continue,
        };
        if !filter.offers(&schema, &name) {
            continue;
        }
        let identity = (schema, name);
        let Some(described) = columns.remove(&identity) else {
            tracing::warn!(
                catalog = settings.catalog,
                schema = identity.0,
                table = identity.1,
                "the server cannot say its columns; it is not offered"
            );
            continue;
        };
        let primary_key = keys.remove(&identity).unwrap_or_default();
        let (fields, details) = readable(described)
            .map(|column| column.describe(settings.zero_dates))
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let (schema, name) = identity;
        tables.push(TableDescription {
            schema,
            name,
            kind,
            columns: Arc::new(Schema::new(fields)),
            details,
            // Of a view it is the word VIEW, or what is wrong with it.
            comment: comment.filter(|comment| kind != TableKind::View && !comment.is_empty()),
            rows: estimate
                .filter(|_| kind != TableKind::View)
                .and_then(|rows| rows.parse().ok()),
            primary_key,
            facts: std::collections::BTreeMap::new(),
        });
    }
    tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    Ok(tables)
}

/// Takes an answer's values in order; what is missing is empty.
struct Fields(std::vec::IntoIter<Option<String>>);

impl Fields {
    fn of(row: Row) -> Self {
        Self(row.into_iter())
    }

    fn optional(&mut self) -> Option<String> {
        self.0.next().flatten()
    }

    fn text(&mut self) -> String {
        self.optional().unwrap_or_default()
    }
}

#[derive(Debug)]
struct ColumnRow {
    name: String,
    declared_type: String,
    nullable: bool,
    comment: String,
    granted: bool,
    facts: ColumnFacts,
}

/// Schema and name of a table.
type Identity = (String, String);

/// The columns of every table, in their order. What `SELECT *` leaves out is
/// left out here.
async fn columns(
    client: &mut Client,
    which: &str,
    swapped: bool,
) -> Result<HashMap<Identity, Vec<ColumnRow>>, WireError> {
    let rows = client
        .query(&format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, \
                    NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, CHARACTER_SET_NAME, \
                    COLLATION_NAME, COLUMN_COMMENT, PRIVILEGES, EXTRA \
             FROM information_schema.COLUMNS WHERE {which} \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
        ))
        .await?;
    let mut tables: HashMap<Identity, Vec<ColumnRow>> = HashMap::new();
    for row in rows {
        let mut row = Fields::of(row);
        let identity = (row.text(), row.text());
        let name = row.text();
        let data_type = row.text().to_ascii_lowercase();
        let declared_type = row.text();
        let nullable = row.text() != "NO";
        let mut number = || row.optional().and_then(|number| number.parse().ok());
        let (precision, scale, fraction) = (number(), number(), number());
        let (charset, collation) = (row.optional(), row.optional());
        let (comment, privileges, extra) = (row.text(), row.text(), row.text());
        if extra.to_ascii_uppercase().contains("INVISIBLE") {
            continue;
        }
        let lower = declared_type.to_ascii_lowercase();
        tables.entry(identity).or_default().push(ColumnRow {
            facts: ColumnFacts {
                unsigned: lower.contains("unsigned"),
                rounded: matches!(data_type.as_str(), "float" | "double") && lower.contains('('),
                swapped,
                data_type,
                precision,
                scale,
                fraction,
                charset,
                collation,
            },
            name,
            declared_type,
            nullable,
            comment,
            granted: privileges.contains("select"),
        });
    }
    Ok(tables)
}

/// Where a table's columns are granted one by one, only those; a table of which
/// nothing may be read keeps all, so that the refusal comes from the server and
/// names it.
fn readable(columns: Vec<ColumnRow>) -> impl Iterator<Item = ColumnRow> {
    let some = columns.iter().any(|column| column.granted);
    columns.into_iter().filter(move |column| column.granted || !some)
}

async fn primary_keys(client: &mut Client, which: &str) -> Result<HashMap<Identity, Vec<String>>, WireError> {
    let rows = client
        .query(&format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS \
             WHERE {which} AND INDEX_NAME = 'PRIMARY' \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, SEQ_IN_INDEX"
        ))
        .await?;
    let mut keys: HashMap<Identity, Vec<String>> = HashMap::new();
    for row in rows {
        let mut row = Fields::of(row);
        keys.entry((row.text(), row.text())).or_default().push(row.text());
    }
    Ok(keys)
}

impl ColumnRow {
    fn describe(self, zero_dates: ZeroDates) -> (Field, ColumnDetails) {
        let column = RemoteColumn::new(self.name.clone(), &self.facts);
        // A column that is NOT NULL can have a zero date.
        let nullable = self.nullable || zero_dates == ZeroDates::AsNull && column.wire.has_zero_dates();
        (
            Field::new(self.name, column.wire.data_type(), nullable),
            ColumnDetails {
                declared_type: self.declared_type,
                comment: Some(self.comment).filter(|comment| !comment.is_empty()),
                facts: self.facts.to_map(),
            },
        )
    }
}
