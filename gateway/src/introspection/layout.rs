//! The relations of pg_catalog and information_schema, with PostgreSQL 15's columns, and how rows become Arrow.
//!
//! `data/relations.tsv` lists every relation that PostgreSQL 15 has there: a client that asks for a column gets it,
//! empty where Lakegate has nothing of the kind.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
        ListBuilder, RecordBatch, StringBuilder, new_null_array,
    },
    datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};

use crate::types::PG_TYPE_METADATA;

/// One value of a catalog row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Ints(Vec<i64>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Cell {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One relation's columns.
#[derive(Debug)]
pub struct Relation {
    pub name: &'static str,
    /// `r` or `v`, as in pg_class.
    pub kind: &'static str,
    pub columns: Vec<RelationColumn>,
    pub schema: SchemaRef,
}

#[derive(Debug)]
pub struct RelationColumn {
    pub name: &'static str,
    /// `pg_type.typname`; information_schema's domains are resolved to their base types.
    pub type_name: &'static str,
    pub not_null: bool,
}

/// All relations by schema, then name.
pub type Layout = BTreeMap<&'static str, BTreeMap<&'static str, Relation>>;

/// What PostgreSQL 15 has.
pub static LAYOUT: LazyLock<Layout> = LazyLock::new(|| {
    let mut columns: BTreeMap<(&str, &str), (&str, Vec<RelationColumn>)> = BTreeMap::new();
    for line in include_str!("data/relations.tsv").lines() {
        let mut fields = line.split('\t');
        let (Some(schema), Some(relation), Some(kind), Some(name), Some(type_name), Some(not_null)) = (
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
        ) else {
            continue;
        };
        columns
            .entry((schema, relation))
            .or_insert_with(|| (kind, Vec::new()))
            .1
            .push(RelationColumn {
                name,
                type_name: base_of_domain(type_name),
                not_null: not_null == "t",
            });
    }
    let mut layout = Layout::new();
    for ((schema, name), (kind, columns)) in columns {
        let fields: Vec<Field> = columns.iter().map(field).collect();
        let relation = Relation {
            name,
            kind,
            columns,
            schema: Arc::new(Schema::new(fields)),
        };
        layout.entry(schema).or_default().insert(name, relation);
    }
    layout
});

fn base_of_domain(type_name: &str) -> &str {
    match type_name {
        "sql_identifier" => "name",
        "character_data" | "yes_or_no" => "varchar",
        "cardinal_number" => "int4",
        "time_stamp" => "timestamptz",
        other => other,
    }
}

/// The Arrow type that holds a catalog column, and the Postgres type it is shown as.
pub fn arrow_type(type_name: &str) -> DataType {
    let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
    match type_name {
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" | "oid" | "xid" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" | "numeric" => DataType::Float64,
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        "bytea" => DataType::Binary,
        "int2vector" | "_int2" => list(DataType::Int16),
        "oidvector" | "_oid" => list(DataType::Int64),
        "_float4" | "_float8" => list(DataType::Float64),
        "_bool" => list(DataType::Boolean),
        other if other.starts_with('_') => list(DataType::Utf8),
        _ => DataType::Utf8,
    }
}

fn field(column: &RelationColumn) -> Field {
    Field::new(column.name, arrow_type(column.type_name), true).with_metadata(HashMap::from([(
        PG_TYPE_METADATA.to_owned(),
        column.type_name.to_owned(),
    )]))
}

/// Rows as one batch of the relation's schema. Columns that no row has are NULL.
///
/// # Errors
/// If a cell is not of its column's type, which is a mistake in the code that made it.
pub fn batch(relation: &Relation, rows: &[HashMap<&'static str, Cell>]) -> Result<RecordBatch, ArrowError> {
    let arrays: Vec<ArrayRef> = relation
        .columns
        .iter()
        .map(|column| array(column, rows))
        .collect::<Result<_, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::clone(&relation.schema), arrays, &options)
}

fn array(column: &RelationColumn, rows: &[HashMap<&'static str, Cell>]) -> Result<ArrayRef, ArrowError> {
    let data_type = arrow_type(column.type_name);
    let cells = rows.iter().map(|row| row.get(column.name).unwrap_or(&Cell::Null));
    let wrong = |cell: &Cell| {
        ArrowError::SchemaError(format!(
            "catalog column {} of type {} cannot hold {cell:?}",
            column.name, column.type_name
        ))
    };
    macro_rules! build {
        ($builder:expr, $($pattern:pat => $value:expr),+) => {{
            let mut builder = $builder;
            for cell in cells {
                match cell {
                    Cell::Null => builder.append_null(),
                    $($pattern => builder.append_value($value),)+
                    other => return Err(wrong(other)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }};
    }
    match &data_type {
        DataType::Boolean => build!(BooleanBuilder::new(), Cell::Bool(value) => *value),
        // Casts: catalog numbers are made for the column they stand in.
        DataType::Int16 => build!(Int16Builder::new(), Cell::Int(value) => *value as i16),
        DataType::Int32 => build!(Int32Builder::new(), Cell::Int(value) => *value as i32),
        DataType::Int64 => build!(Int64Builder::new(), Cell::Int(value) => *value),
        DataType::Float32 => {
            build!(Float32Builder::new(), Cell::Float(value) => *value as f32, Cell::Int(value) => *value as f32)
        }
        DataType::Float64 => {
            build!(Float64Builder::new(), Cell::Float(value) => *value, Cell::Int(value) => *value as f64)
        }
        DataType::Utf8 => build!(StringBuilder::new(), Cell::Text(value) => value),
        DataType::List(item) => {
            macro_rules! lists {
                ($values:expr, $cell:path, $convert:expr) => {{
                    let mut builder = ListBuilder::new($values).with_field(Arc::clone(item));
                    for cell in cells {
                        match cell {
                            Cell::Null => builder.append_null(),
                            $cell(items) => {
                                for item in items {
                                    builder.values().append_value($convert(item));
                                }
                                builder.append(true);
                            }
                            other => return Err(wrong(other)),
                        }
                    }
                    Ok(Arc::new(builder.finish()))
                }};
            }
            match item.data_type() {
                DataType::Int16 => lists!(Int16Builder::new(), Cell::Ints, |value: &i64| *value as i16),
                DataType::Int64 => lists!(Int64Builder::new(), Cell::Ints, |value: &i64| *value),
                _ => all_null(&data_type, rows, column, wrong),
            }
        }
        _ => all_null(&data_type, rows, column, wrong),
    }
}

/// Types that no catalog row of Lakegate has a value of.
fn all_null(
    data_type: &DataType,
    rows: &[HashMap<&'static str, Cell>],
    column: &RelationColumn,
    wrong: impl Fn(&Cell) -> ArrowError,
) -> Result<ArrayRef, ArrowError> {
    match rows
        .iter()
        .find_map(|row| row.get(column.name).filter(|cell| **cell != Cell::Null))
    {
        Some(cell) => Err(wrong(cell)),
        None => Ok(new_null_array(data_type, rows.len())),
    }
}

/// Rows of a table dumped from PostgreSQL in COPY's text format, by the relation's columns.
pub fn parse_rows(relation: &'static Relation, text: &str) -> Vec<HashMap<&'static str, Cell>> {
    text.lines()
        .map(|line| {
            relation
                .columns
                .iter()
                .zip(line.split('\t'))
                .map(|(column, field)| (column.name, parse_cell(&arrow_type(column.type_name), field)))
                .collect()
        })
        .collect()
}

fn parse_cell(data_type: &DataType, field: &str) -> Cell {
    match data_type {
        _ if field == "\\N" => Cell::Null,
        DataType::Boolean => Cell::Bool(field == "t"),
        DataType::Int16 | DataType::Int32 | DataType::Int64 => field.parse().map_or(Cell::Null, Cell::Int),
        DataType::Float32 | DataType::Float64 => field.parse().map_or(Cell::Null, Cell::Float),
        DataType::List(item) if item.data_type().is_integer() => Cell::Ints(
            field
                .trim_matches(['{', '}'])
                .split([',', ' '])
                .filter_map(|number| number.parse().ok())
                .collect(),
        ),
        DataType::Utf8 => Cell::Text(field.to_owned()),
        _ => Cell::Null,
    }
}
