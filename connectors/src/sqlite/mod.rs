//! SQLite files, always opened read only.

mod decode;
mod dialect;
mod scan;
mod statement;
mod types;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use lakegate_crds::{DiscoverySpec, SqliteSpec};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};

use self::decode::Stored;
use self::dialect::{SqliteColumn, SqliteLayout};
use self::scan::SqliteTable;
use self::statement::identifier;
use self::types::ColumnKind;
use crate::scan::RemoteTableProvider;
use crate::server::Tables;
use crate::{
    ColumnDetails, ConnectContext, Connector, ConnectorError, Probe, SourceKind, TableDescription, TableKind,
};

/// The schema every table of a SQLite file is in.
pub const SCHEMA: &str = "main";

/// How long a reader waits for a writer's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Facts of a table, see [`TableDescription::facts`].
const FACT_ROWID: &str = "rowid";
const FACT_UTF8: &str = "utf8";
/// Fact of a column: SQLite enforces its declared type.
const FACT_ENFORCED: &str = "enforced";

/// A file and how it is opened: one connection a scan, none kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    catalog: String,
    path: PathBuf,
}

impl Database {
    /// # Errors
    /// The file is missing, unreadable or no database. It is never created.
    async fn connect(&self) -> Result<SqliteConnection, ConnectorError> {
        match tokio::fs::metadata(&self.path).await {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => {
                return Err(ConnectorError::NotADatabase {
                    catalog: self.catalog.clone(),
                    path: self.path.clone(),
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ConnectorError::FileMissing {
                    catalog: self.catalog.clone(),
                    path: self.path.clone(),
                });
            }
            Err(error) => {
                return Err(ConnectorError::FileUnreadable {
                    catalog: self.catalog.clone(),
                    path: self.path.clone(),
                    source: Box::new(error),
                });
            }
        }
        SqliteConnectOptions::new()
            .filename(&self.path)
            .read_only(true)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(256)
            .disable_statement_logging()
            .connect()
            .await
            .map_err(|error| self.failed(error))
    }

    async fn rows(
        &self,
        connection: &mut SqliteConnection,
        sql: String,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await
    }

    /// Whether text is stored, and so compared, as UTF-8.
    async fn is_utf8(&self, connection: &mut SqliteConnection) -> Result<bool, ConnectorError> {
        let rows = self
            .rows(connection, "PRAGMA encoding".to_owned())
            .await
            .map_err(|error| self.failed(error))?;
        Ok(rows.first().and_then(|row| text(row, 0)).as_deref() == Some("UTF-8"))
    }

    /// The error of SQLite with the file it is about.
    fn failed(&self, error: sqlx::Error) -> ConnectorError {
        const SQLITE_NOTADB: &str = "26";
        const SQLITE_CANTOPEN: &str = "14";
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        match code.as_deref() {
            Some(SQLITE_NOTADB) => ConnectorError::NotADatabase {
                catalog: self.catalog.clone(),
                path: self.path.clone(),
            },
            Some(SQLITE_CANTOPEN) => ConnectorError::FileUnreadable {
                catalog: self.catalog.clone(),
                path: self.path.clone(),
                source: Box::new(error),
            },
            _ => ConnectorError::Store {
                catalog: self.catalog.clone(),
                message: error
                    .as_database_error()
                    .map_or_else(|| error.to_string(), |error| error.message().to_owned()),
                source: Some(Box::new(error)),
            },
        }
    }
}

/// A SQLite file as a DataSource.
#[derive(Debug)]
pub struct SqliteConnector {
    database: Database,
    discovery: DiscoverySpec,
}

impl SqliteConnector {
    /// # Errors
    /// The path is empty.
    pub fn new(
        spec: &SqliteSpec,
        discovery: DiscoverySpec,
        context: &ConnectContext,
    ) -> Result<Self, ConnectorError> {
        // Absolute, so that no path is ever read as a `file:` URI or `:memory:`.
        let path = std::path::absolute(context.base_dir.join(Path::new(&spec.path))).map_err(|error| {
            ConnectorError::InvalidSpec {
                catalog: context.catalog.clone(),
                field: "spec.sqlite.path".to_owned(),
                message: error.to_string(),
            }
        })?;
        Ok(Self {
            database: Database {
                catalog: context.catalog.clone(),
                path,
            },
            discovery,
        })
    }

    /// One table's columns; None when SQLite itself cannot tell them.
    async fn describe(
        &self,
        connection: &mut SqliteConnection,
        found: Found,
        utf8: bool,
        bytes: u64,
    ) -> Result<Option<TableDescription>, sqlx::Error> {
        let rows = self
            .database
            .rows(
                connection,
                format!("PRAGMA main.table_xinfo({})", identifier(&found.name)),
            )
            .await?;
        let mut columns = Vec::new();
        let mut names = HashSet::new();
        for row in &rows {
            let column = DeclaredColumn {
                name: text(row, 1).unwrap_or_default(),
                declared: text(row, 2).unwrap_or_default(),
                key_position: row.try_get(5)?,
            };
            let hidden: i64 = row.try_get(6)?;
            names.insert(column.name.to_ascii_lowercase());
            // 1 is a hidden column of a virtual table; 2 and 3 are generated ones.
            if hidden != 1 {
                columns.push(column);
            }
        }
        if columns.is_empty() {
            return Ok(None);
        }
        let plain_table = found.kind == "table";
        let view = found.kind == "view";
        let rowid = ["rowid", "_rowid_", "oid"]
            .into_iter()
            .find(|name| plain_table && !found.without_rowid && !names.contains(*name));
        let mut key: Vec<&DeclaredColumn> = columns.iter().filter(|column| column.key_position > 0).collect();
        key.sort_by_key(|column| column.key_position);
        let primary_key: Vec<String> = key.iter().map(|column| column.name.clone()).collect();
        let alias = self.rowid_alias(connection, &found, &key).await?;
        let (mut fields, mut details) = (Vec::new(), Vec::new());
        for column in &columns {
            let kind = ColumnKind::of(&column.declared);
            // STRICT knows INT, INTEGER, REAL, TEXT, BLOB and ANY, and enforces all but ANY.
            let enforced = plain_table
                && ((found.strict && !column.declared.eq_ignore_ascii_case("any"))
                    || alias.as_deref() == Some(column.name.as_str()));
            let mut facts = BTreeMap::new();
            if enforced {
                facts.insert(FACT_ENFORCED.to_owned(), String::new());
            }
            fields.push(Field::new(&column.name, kind.data_type(), true));
            details.push(ColumnDetails {
                declared_type: column.declared.clone(),
                comment: None,
                facts: facts.into(),
            });
        }
        let mut facts = BTreeMap::new();
        if let Some(rowid) = rowid {
            facts.insert(FACT_ROWID.to_owned(), rowid.to_owned());
        }
        if utf8 {
            facts.insert(FACT_UTF8.to_owned(), String::new());
        }
        let rows = match rowid {
            Some(rowid) => self.estimate(connection, &found.name, rowid, bytes).await?,
            None => None,
        };
        Ok(Some(TableDescription {
            schema: SCHEMA.to_owned(),
            name: found.name,
            kind: if view { TableKind::View } else { TableKind::Table },
            columns: Arc::new(Schema::new(fields)),
            details,
            comment: None,
            rows,
            primary_key,
            facts,
        }))
    }

    /// The column that is the rowid under another name, so always an integer. A
    /// key with an index of its own is not one: `INTEGER PRIMARY KEY DESC`.
    async fn rowid_alias(
        &self,
        connection: &mut SqliteConnection,
        found: &Found,
        key: &[&DeclaredColumn],
    ) -> Result<Option<String>, sqlx::Error> {
        let [only] = key else { return Ok(None) };
        if found.kind != "table" || found.without_rowid || !only.declared.eq_ignore_ascii_case("integer") {
            return Ok(None);
        }
        let indexes = self
            .database
            .rows(
                connection,
                format!("PRAGMA main.index_list({})", identifier(&found.name)),
            )
            .await?;
        let own_index = indexes.iter().any(|row| text(row, 3).as_deref() == Some("pk"));
        Ok((!own_index).then(|| only.name.clone()))
    }

    /// The largest rowid, which is near the row count unless rows were deleted or
    /// numbered at random; a row takes at least 8 bytes of the file.
    async fn estimate(
        &self,
        connection: &mut SqliteConnection,
        table: &str,
        rowid: &str,
        bytes: u64,
    ) -> Result<Option<u64>, sqlx::Error> {
        let sql = format!("SELECT max(t.{rowid}) FROM main.{} AS t", identifier(table));
        let rows = self.database.rows(connection, sql).await?;
        let largest: Option<i64> = match rows.first() {
            Some(row) => row.try_get(0)?,
            None => None,
        };
        Ok(Some(
            u64::try_from(largest.unwrap_or(0)).unwrap_or(0).min(bytes / 8),
        ))
    }
}

struct Found {
    name: String,
    /// As `PRAGMA table_list` says: table, view, virtual or shadow.
    kind: String,
    without_rowid: bool,
    strict: bool,
}

struct DeclaredColumn {
    name: String,
    declared: String,
    /// 1 for the first column of the primary key; 0 outside of it.
    key_position: i64,
}

fn text(row: &SqliteRow, index: usize) -> Option<String> {
    match Stored::of(row.try_get_raw(index).ok()?).ok()? {
        Stored::Text(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    }
}

#[async_trait]
impl Connector for SqliteConnector {
    fn kind(&self) -> SourceKind {
        SourceKind::Sqlite
    }

    fn endpoint(&self) -> String {
        self.database.path.display().to_string()
    }

    async fn probe(&self) -> Result<Probe, ConnectorError> {
        let mut connection = self.database.connect().await?;
        // Reads the header, which is where a file that is no database shows.
        self.database
            .rows(&mut connection, "PRAGMA schema_version".to_owned())
            .await
            .map_err(|error| self.database.failed(error))?;
        let rows = self
            .database
            .rows(&mut connection, "SELECT sqlite_version()".to_owned())
            .await
            .map_err(|error| self.database.failed(error))?;
        Ok(Probe {
            server_version: rows.first().and_then(|row| text(row, 0)),
        })
    }

    async fn discover(&self) -> Result<Vec<TableDescription>, ConnectorError> {
        let mut connection = self.database.connect().await?;
        let utf8 = self.database.is_utf8(&mut connection).await?;
        let bytes = tokio::fs::metadata(&self.database.path)
            .await
            .map_or(0, |metadata| metadata.len());
        let rows = self
            .database
            .rows(&mut connection, "PRAGMA main.table_list".to_owned())
            .await
            .map_err(|error| self.database.failed(error))?;
        let mut tables = Vec::new();
        for row in &rows {
            let number = |index| row.try_get::<i64, _>(index).unwrap_or(0) != 0;
            let found = Found {
                name: text(row, 1).unwrap_or_default(),
                kind: text(row, 2).unwrap_or_default(),
                without_rowid: number(4),
                strict: number(5),
            };
            let own = text(row, 0).as_deref() == Some(SCHEMA);
            let internal = found.name.to_ascii_lowercase().starts_with("sqlite_") || found.kind == "shadow";
            if !own || internal || !self.discovery.offers(SCHEMA, &found.name) {
                continue;
            }
            let name = found.name.clone();
            match self.describe(&mut connection, found, utf8, bytes).await {
                Ok(Some(table)) => tables.push(table),
                Ok(None) => {}
                // A view of a table that is gone, a virtual table without its module.
                Err(error) => {
                    tracing::warn!(
                        catalog = %self.database.catalog,
                        table = %name,
                        error = %error,
                        "table cannot be described and is not offered"
                    );
                }
            }
        }
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }

    async fn open(&self, table: &TableDescription) -> Result<Arc<dyn TableProvider>, ConnectorError> {
        let columns = table
            .details
            .iter()
            .zip(table.columns.fields())
            .map(|(details, field)| SqliteColumn {
                name: field.name().clone(),
                kind: ColumnKind::of(&details.declared_type),
                enforced: details.facts.contains_key(FACT_ENFORCED),
            })
            .collect();
        let layout = SqliteLayout {
            tables: Tables::new(table.schema.clone(), table.name.clone(), columns),
            view: table.kind == TableKind::View,
            rowid: table.facts.get(FACT_ROWID).cloned(),
            utf8: table.facts.contains_key(FACT_UTF8),
        };
        let remote = SqliteTable::new(self.database.clone(), layout);
        Ok(Arc::new(RemoteTableProvider::new(
            Arc::new(table.clone()),
            Arc::new(remote),
        )))
    }
}
