//! Reading a data file's columns by field id.
//!
//! Iceberg names columns by id: a file may hold a column under an older name, may lack a column added since, and
//! may hold a dropped column under the name of a new one. DataFusion matches by name, so it is shown the file's
//! schema with the table's names, and what it makes of that is turned back into the file's own columns. UUIDs are
//! 16 bytes in a file and text to queries.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, MapArray, StructArray, cast::AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::convert::uuid_text;
use crate::portable::is_uuid;

/// Makes adapters for the files of one table version.
#[derive(Debug)]
pub(crate) struct ByFieldId {
    /// The table's columns with field ids on every level.
    pub table: SchemaRef,
    /// Columns, by name, whose bounds must not skip anything.
    pub opaque: Arc<HashSet<String>>,
}

impl PhysicalExprAdapterFactory for ByFieldId {
    fn create(&self, logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let named = Arc::new(Schema::new(named_fields(self.table.fields(), physical.fields())));
        let inner = DefaultPhysicalExprAdapterFactory.create(logical, Arc::clone(&named))?;
        Ok(Arc::new(Adapter {
            inner,
            named,
            physical,
            opaque: Arc::clone(&self.opaque),
        }))
    }
}

#[derive(Debug)]
struct Adapter {
    inner: Arc<dyn PhysicalExprAdapter>,
    /// The file's columns under the table's names.
    named: SchemaRef,
    /// The file's columns as they are.
    physical: SchemaRef,
    opaque: Arc<HashSet<String>>,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let adapted = self.inner.rewrite(expr)?;
        // downwards and then no further: what is put in has the very columns this looks for
        adapted
            .transform_down(|node| {
                let Some(column) = node.downcast_ref::<Column>() else {
                    return Ok(Transformed::no(node));
                };
                let position = column.index();
                let (Some(named), Some(physical)) = (
                    self.named.fields().get(position),
                    self.physical.fields().get(position),
                ) else {
                    return Ok(Transformed::no(node));
                };
                if named.name() != column.name() {
                    return Ok(Transformed::no(node));
                }
                let own: Arc<dyn PhysicalExpr> = Arc::new(Column::new(physical.name(), position));
                let renamed_within = !same_names(named.data_type(), physical.data_type());
                let rewritten = if renamed_within || self.opaque.contains(named.name()) {
                    Arc::new(FileColumn {
                        column: own,
                        field: Arc::clone(named),
                    })
                } else {
                    own
                };
                Ok(Transformed::new(
                    rewritten,
                    true,
                    datafusion::common::tree_node::TreeNodeRecursion::Jump,
                ))
            })
            .data()
    }
}

/// A column of the file, under the table's names for what is nested in it; also hides the column from pruning.
#[derive(Debug, Clone, Eq)]
struct FileColumn {
    column: Arc<dyn PhysicalExpr>,
    field: FieldRef,
}

impl PartialEq for FileColumn {
    fn eq(&self, other: &Self) -> bool {
        self.column.eq(&other.column) && self.field == other.field
    }
}

impl Hash for FileColumn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.column.hash(state);
        self.field.hash(state);
    }
}

impl fmt::Display for FileColumn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.column)
    }
}

impl PhysicalExpr for FileColumn {
    fn data_type(&self, _input: &Schema) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.column.nullable(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.column.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(with_names(&array, self.field.data_type())?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.column]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match (children.pop(), children.is_empty()) {
            (Some(column), true) => Ok(Arc::new(Self {
                column,
                field: Arc::clone(&self.field),
            })),
            _ => Err(DataFusionError::Internal(
                "a file column has one child".to_owned(),
            )),
        }
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.column.fmt_sql(formatter)
    }
}

fn field_id(field: &Field) -> Option<&str> {
    field
        .metadata()
        .get(PARQUET_FIELD_ID_META_KEY)
        .map(String::as_str)
}

/// The fields of a file under the names the table has for their ids. A field the table does not know gets a name
/// that no table column can have, so that it is never taken for one.
fn named_fields(table: &Fields, file: &Fields) -> Fields {
    // files without any id were not written for Iceberg: names are all there is
    if file.iter().all(|field| field_id(field).is_none()) {
        return file.clone();
    }
    file.iter()
        .enumerate()
        .map(|(position, field)| {
            let known =
                field_id(field).and_then(|id| table.iter().find(|column| field_id(column) == Some(id)));
            Arc::new(match known {
                Some(column) => field
                    .as_ref()
                    .clone()
                    .with_name(column.name())
                    .with_data_type(named_type(column, field.data_type())),
                None => field.as_ref().clone().with_name(format!("\u{0}{position}")),
            })
        })
        .collect()
}

fn named_type(table: &Field, file: &DataType) -> DataType {
    let child = |table: &FieldRef, file: &FieldRef| {
        Arc::new(
            file.as_ref()
                .clone()
                .with_name(table.name())
                .with_data_type(named_type(table, file.data_type())),
        )
    };
    if is_uuid(table) && file == table.data_type() {
        return DataType::Utf8;
    }
    match (table.data_type(), file) {
        (DataType::Struct(table), DataType::Struct(file)) => DataType::Struct(named_fields(table, file)),
        (DataType::List(table), DataType::List(file)) => DataType::List(child(table, file)),
        (DataType::Map(table, _), DataType::Map(file, sorted)) => {
            let (DataType::Struct(table_pair), DataType::Struct(file_pair)) =
                (table.data_type(), file.data_type())
            else {
                return DataType::Map(Arc::clone(file), *sorted);
            };
            // key and value, by position
            let pair: Fields = table_pair
                .iter()
                .zip(file_pair)
                .map(|(table, file)| child(table, file))
                .collect();
            let entries = file
                .as_ref()
                .clone()
                .with_name(table.name())
                .with_data_type(DataType::Struct(pair));
            DataType::Map(Arc::new(entries), *sorted)
        }
        _ => file.clone(),
    }
}

fn same_names(left: &DataType, right: &DataType) -> bool {
    let same = |left: &FieldRef, right: &FieldRef| {
        left.name() == right.name() && same_names(left.data_type(), right.data_type())
    };
    match (left, right) {
        (DataType::Struct(left), DataType::Struct(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (DataType::List(left), DataType::List(right)) | (DataType::Map(left, _), DataType::Map(right, _)) => {
            same(left, right)
        }
        (DataType::Utf8, DataType::FixedSizeBinary(_)) => false,
        _ => true,
    }
}

/// The same values under other names; UUIDs as text.
fn with_names(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    Ok(match (array.data_type(), target) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let array = array.as_struct();
            let children = array
                .columns()
                .iter()
                .zip(fields)
                .map(|(child, field)| with_names(child, field.data_type()))
                .collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(
                fields.clone(),
                children,
                array.nulls().cloned(),
            )?)
        }
        (DataType::List(_), DataType::List(element)) => {
            let array = array.as_list::<i32>();
            let values = with_names(array.values(), element.data_type())?;
            Arc::new(ListArray::try_new(
                Arc::clone(element),
                array.offsets().clone(),
                values,
                array.nulls().cloned(),
            )?)
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            let array = array.as_map();
            let pairs: ArrayRef = Arc::new(array.entries().clone());
            let pairs = with_names(&pairs, entries.data_type())?;
            Arc::new(MapArray::try_new(
                Arc::clone(entries),
                array.offsets().clone(),
                pairs.as_struct().clone(),
                array.nulls().cloned(),
                *sorted,
            )?)
        }
        (DataType::FixedSizeBinary(16), DataType::Utf8) => uuid_text(array),
        _ => Arc::clone(array),
    })
}
