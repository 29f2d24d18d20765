//! What there is to query, without asking any store: the last discovered schemas,
//! tables and columns of every catalog, as pg_catalog and information_schema show them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use crate::types::PgType;

/// The virtual database that shows every catalog's schemas as `catalog__schema`.
pub const VIRTUAL_DATABASE: &str = "lakegate";
/// The schema of the system tables, in every database.
pub const SYSTEM_SCHEMA: &str = "lakegate";
/// The schema of the saved queries, in every database.
pub const VIEWS_SCHEMA: &str = "views";

/// Everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// Grows with every change: two snapshots of one process with the same revision are equal.
    pub revision: u64,
    /// By name; the virtual database included.
    pub databases: Vec<Arc<DatabaseMetadata>>,
    /// The Views with parameters, by name: each is also a [`RelationKind::TableFunction`] of the schema `views`.
    pub functions: Arc<Vec<FunctionMetadata>>,
}

impl Metadata {
    /// The database of that exact name.
    pub fn database(&self, name: &str) -> Option<&Arc<DatabaseMetadata>> {
        self.databases.iter().find(|database| database.name == name)
    }

    /// The View with parameters of that exact name.
    pub fn function(&self, name: &str) -> Option<&FunctionMetadata> {
        self.functions.iter().find(|function| function.name == name)
    }
}

/// One database: a catalog, or the virtual one.
#[derive(Debug, Clone)]
pub struct DatabaseMetadata {
    /// Its name, which is the catalog's.
    pub name: String,
    /// The DataSource's description.
    pub comment: Option<String>,
    /// By name; `lakegate` and `views` included.
    pub schemas: Vec<Arc<SchemaMetadata>>,
}

impl DatabaseMetadata {
    /// The schema of that exact name.
    pub fn schema(&self, name: &str) -> Option<&Arc<SchemaMetadata>> {
        self.schemas.iter().find(|schema| schema.name == name)
    }
}

/// What a schema holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaKind {
    /// Tables of a store or of a lake.
    Source,
    /// Lakegate's own tables.
    System,
    /// Saved queries.
    Views,
}

/// One schema of a database.
#[derive(Debug, Clone)]
pub struct SchemaMetadata {
    /// Its name in this database (`shop__public` in the virtual one).
    pub name: String,
    pub kind: SchemaKind,
    /// The catalog and the schema it stands for, when `kind` is `Source`.
    pub origin: Option<(String, String)>,
    /// By name.
    pub tables: Arc<Vec<Arc<TableMetadata>>>,
}

impl SchemaMetadata {
    /// The table of that exact name.
    pub fn table(&self, name: &str) -> Option<&Arc<TableMetadata>> {
        self.tables.iter().find(|table| table.name == name)
    }
}

/// What a relation is, as its store says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    View,
    MaterializedView,
    ForeignTable,
    PartitionedTable,
    /// A View with parameters: it is called, and is no relation of pg_class. See [`Metadata::functions`].
    TableFunction,
}

/// What a View with parameters takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionMetadata {
    /// Its name in the schema `views`.
    pub name: String,
    /// In the order of positional arguments.
    pub parameters: Vec<FunctionParameter>,
}

/// A parameter of a View.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionParameter {
    pub name: String,
    pub pg_type: PgType,
    /// The SQL of its default; None where it must be given.
    pub default: Option<String>,
}

impl FunctionMetadata {
    /// `day date, least integer DEFAULT 10`
    pub fn signature(&self) -> String {
        let one = |parameter: &FunctionParameter| {
            let named = format!("{} {}", parameter.name, parameter.pg_type.sql_name());
            match &parameter.default {
                Some(default) => format!("{named} DEFAULT {default}"),
                None => named,
            }
        };
        self.parameters.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// One relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMetadata {
    pub name: String,
    pub kind: RelationKind,
    pub comment: Option<String>,
    /// The store's own estimate, when it has one.
    pub rows: Option<u64>,
    /// In the table's order.
    pub columns: Vec<ColumnMetadata>,
    /// The names of the key's columns in key order; empty without one.
    pub primary_key: Vec<String>,
    /// The SQL of a view.
    pub definition: Option<String>,
}

impl TableMetadata {
    /// Writes what the table is: its place, kind, columns and key. Two of one shape write the same, two of different
    /// shapes do not.
    pub(crate) fn describe_shape(&self, schema: &str, text: &mut String) {
        // Quoted, so that no name can look like what stands round it. Writing to a String cannot fail.
        let _ = write!(
            text,
            "{schema:?}.{:?} {:?} {:?} (",
            self.name, self.kind, self.definition
        );
        for column in &self.columns {
            let _ = write!(
                text,
                "{:?} {} {},",
                column.name, column.data_type, column.nullable
            );
        }
        let _ = writeln!(text, ") {:?}", self.primary_key);
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMetadata {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    pub comment: Option<String>,
    /// The field's own metadata, such as the store's type name.
    pub properties: Vec<(String, String)>,
}

/// The columns of an Arrow schema.
pub(crate) fn columns_of(schema: &SchemaRef) -> Vec<ColumnMetadata> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let mut properties: Vec<(String, String)> = field
            .metadata()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        properties.sort();
        columns.push(ColumnMetadata {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            comment: None,
            properties,
        });
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, data_type: DataType) -> TableMetadata {
        TableMetadata {
            name: name.to_owned(),
            kind: RelationKind::Table,
            comment: None,
            rows: Some(1),
            columns: vec![ColumnMetadata {
                name: "id".to_owned(),
                data_type,
                nullable: false,
                comment: None,
                properties: Vec::new(),
            }],
            primary_key: vec!["id".to_owned()],
            definition: None,
        }
    }

    #[test]
    fn the_shape_of_a_table_is_not_its_size() {
        let shape = |table: &TableMetadata| {
            let mut text = String::new();
            table.describe_shape("public", &mut text);
            text
        };
        let orders = table("orders", DataType::Int64);
        assert_eq!(
            shape(&orders),
            "\"public\".\"orders\" Table None (\"id\" Int64 false,) [\"id\"]\n"
        );
        let grown = TableMetadata {
            rows: Some(2),
            comment: Some("of the shop".to_owned()),
            ..orders.clone()
        };
        assert_eq!(shape(&grown), shape(&orders));
        assert_ne!(shape(&table("orders", DataType::Int32)), shape(&orders));
        assert_ne!(shape(&table("order", DataType::Int64)), shape(&orders));
    }
}
