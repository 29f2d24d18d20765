//! Profiles: which Iceberg type each Arrow type becomes.
//!
//! Portable is chosen so that Trino, Spark, DuckDB, PyIceberg, Hive 4 and Athena read the same values. A value is kept
//! exactly or refused by name, never changed:
//!
//! | Arrow | lake |
//! |---|---|
//! | Int8, Int16, UInt8, UInt16, Int32 | int |
//! | UInt32, Int64 | long |
//! | UInt64 | decimal(20,0) |
//! | Float16, Float32 | float |
//! | Decimal(p ≤ 38, s) | decimal(p,s); a negative scale becomes decimal(p+\|s\|,0) |
//! | Decimal(p > 38) | string: no engine reads it alike |
//! | Utf8, LargeUtf8, Utf8View, Null | string |
//! | Binary, LargeBinary, BinaryView, FixedSizeBinary | binary |
//! | FixedSizeBinary(16) with the `arrow.uuid` extension, text that is a `uuid` to PostgreSQL | string of 36 characters |
//! | Date32, Date64 of whole days | date |
//! | Timestamp | timestamp in µs; finer values are refused |
//! | Timestamp with a zone | timestamptz in µs |
//! | Time | string `HH:MM:SS.ffffff` |
//! | Interval, Duration | string, ISO 8601 |
//! | List of any kind, Struct, Map | list, struct, map |
//! | Dictionary, RunEndEncoded | as their values |
//! | Union | refused |
//!
//! Hive3, for plain files alone, differs from Portable where Hive 3 reads otherwise or not at all: timestamps of either kind
//! become strings `YYYY-MM-DD HH:MM:SS.ffffff` in UTC, years 1 to 9999; dates before 1582-10-15 are refused, for Hive 3 counts
//! them by another calendar; and Parquet keeps decimals in bytes of a fixed length.
//!
//! The profile Iceberg differs where Iceberg v2 has a type of its own, which not every engine reads:
//!
//! | Arrow | lake |
//! |---|---|
//! | UUIDs, as above | uuid |
//! | Time | time in µs; finer values and 24:00:00 are refused |
//! | FixedSizeBinary(n) | fixed(n) |

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema as IcebergSchema, StructType,
    TableMetadata, Type,
};
use lakegate_crds::{PG_TYPE_METADATA, Profile};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::error::LakeError;
use crate::name::{LakeTableName, portable_column_names};

/// Zone label of every `timestamptz` column.
pub(crate) const UTC: &str = "UTC";

/// A column on its way into the table, without field id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PortableField {
    pub name: String,
    pub kind: PortableType,
    pub nullable: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PortableType {
    Primitive(PrimitiveType),
    Struct(Vec<PortableField>),
    List(Box<PortableField>),
    Map(Box<PortableField>, Box<PortableField>),
}

/// The columns that an Arrow schema becomes in a profile.
pub(crate) fn portable_fields(
    table: &LakeTableName,
    schema: &Schema,
    profile: Profile,
) -> Result<Vec<PortableField>, LakeError> {
    if schema.fields().is_empty() {
        return Err(LakeError::NoColumns { table: table.clone() });
    }
    Mapping { table, profile }.struct_fields(schema.fields(), "")
}

pub(crate) fn child_path(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// Where a field says of which of Arrow's extension types it is.
const EXTENSION_NAME: &str = "ARROW:extension:name";

/// Arrow's own type for UUIDs.
const ARROW_UUID: &str = "arrow.uuid";

/// True for a 16-byte column that says it holds UUIDs.
pub(crate) fn is_uuid(field: &Field) -> bool {
    field.data_type() == &DataType::FixedSizeBinary(16) && field.extension_type_name() == Some(ARROW_UUID)
}

/// True for text that says it holds UUIDs.
fn is_uuid_text(field: &Field) -> bool {
    matches!(
        field.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    ) && field.metadata().get(PG_TYPE_METADATA).map(String::as_str) == Some(PG_UUID)
}

/// PostgreSQL's name of the type.
const PG_UUID: &str = "uuid";

/// The types of one profile.
#[derive(Clone, Copy)]
struct Mapping<'a> {
    table: &'a LakeTableName,
    profile: Profile,
}

impl Mapping<'_> {
    fn struct_fields(self, fields: &Fields, parent: &str) -> Result<Vec<PortableField>, LakeError> {
        let names = portable_column_names(self.table, fields.iter().map(|field| field.name()))?;
        names
            .into_iter()
            .zip(fields)
            .map(|(name, field)| {
                let path = child_path(parent, field.name());
                Ok(PortableField {
                    name,
                    kind: self.portable_type(field, &path)?,
                    nullable: field.is_nullable(),
                })
            })
            .collect()
    }

    fn portable_type(self, field: &Field, path: &str) -> Result<PortableType, LakeError> {
        use PortableType::Primitive;
        let refuse = |remedy| LakeError::TypeRefused {
            table: self.table.clone(),
            column: path.to_owned(),
            data_type: field.data_type().to_string(),
            remedy,
        };
        let own_types = self.profile == Profile::Iceberg;
        Ok(match field.data_type() {
            _ if own_types && (is_uuid(field) || is_uuid_text(field)) => Primitive(PrimitiveType::Uuid),
            DataType::Timestamp(_, _) if self.profile == Profile::Hive3 => Primitive(PrimitiveType::String),
            DataType::Time32(_) | DataType::Time64(_) if own_types => Primitive(PrimitiveType::Time),
            DataType::FixedSizeBinary(length) if own_types => {
                Primitive(PrimitiveType::Fixed(u64::from(length.unsigned_abs())))
            }
            DataType::Boolean => Primitive(PrimitiveType::Boolean),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
                Primitive(PrimitiveType::Int)
            }
            DataType::UInt32 | DataType::Int64 => Primitive(PrimitiveType::Long),
            DataType::UInt64 => Primitive(PrimitiveType::Decimal {
                precision: 20,
                scale: 0,
            }),
            DataType::Float16 | DataType::Float32 => Primitive(PrimitiveType::Float),
            DataType::Float64 => Primitive(PrimitiveType::Double),
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => Primitive(portable_decimal(*precision, *scale)),
            DataType::Null
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Interval(_)
            | DataType::Duration(_) => Primitive(PrimitiveType::String),
            DataType::FixedSizeBinary(_) if is_uuid(field) => Primitive(PrimitiveType::String),
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Primitive(PrimitiveType::Binary),
            DataType::Date32 | DataType::Date64 => Primitive(PrimitiveType::Date),
            DataType::Timestamp(_, None) => Primitive(PrimitiveType::Timestamp),
            DataType::Timestamp(_, Some(_)) => Primitive(PrimitiveType::Timestamptz),
            DataType::List(child)
            | DataType::LargeList(child)
            | DataType::FixedSizeList(child, _)
            | DataType::ListView(child)
            | DataType::LargeListView(child) => PortableType::List(Box::new(PortableField {
                name: "element".to_owned(),
                kind: self.portable_type(child, &child_path(path, "element"))?,
                nullable: child.is_nullable(),
            })),
            DataType::Struct(fields) => {
                if fields.is_empty() {
                    return Err(refuse(
                        "a struct without fields has no form in Parquet; exclude the column",
                    ));
                }
                PortableType::Struct(self.struct_fields(fields, path)?)
            }
            DataType::Map(entries, _) => {
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(refuse("a map without key and value; exclude the column"));
                };
                let [key, value] = pair.as_ref() else {
                    return Err(refuse("a map without key and value; exclude the column"));
                };
                PortableType::Map(
                    Box::new(PortableField {
                        name: "key".to_owned(),
                        kind: self.portable_type(key, &child_path(path, "key"))?,
                        nullable: false,
                    }),
                    Box::new(PortableField {
                        name: "value".to_owned(),
                        kind: self.portable_type(value, &child_path(path, "value"))?,
                        nullable: value.is_nullable(),
                    }),
                )
            }
            DataType::Dictionary(_, values) => {
                self.portable_type(&Field::new(field.name(), values.as_ref().clone(), true), path)?
            }
            DataType::RunEndEncoded(_, values) => self.portable_type(values, path)?,
            DataType::Union(_, _) => return Err(refuse("cast it to text, or exclude the column")),
        })
    }
}

fn portable_decimal(precision: u8, scale: i8) -> PrimitiveType {
    // Iceberg has 0 <= scale <= precision; Arrow allows both other cases
    let (precision, scale) = if scale < 0 {
        (u32::from(precision) + u32::from(scale.unsigned_abs()), 0)
    } else {
        let scale = u32::from(scale.unsigned_abs());
        (u32::from(precision).max(scale), scale)
    };
    if precision > 38 {
        PrimitiveType::String
    } else {
        PrimitiveType::Decimal { precision, scale }
    }
}

/// The table's next schema, with field ids, and whether it differs from the current one.
///
/// Columns are matched with the current schema by name: a known one keeps its id and may widen (int to long, float
/// to double, more decimal digits), a new one gets an id never used before, and one that is absent from `fields`
/// leaves the schema (its id stays in older schemas, so a later column of that name is a new one).
///
/// The ids depend only on the current schema and `fields`, so that writing and committing agree on them.
pub(crate) fn next_schema(
    table: &LakeTableName,
    current: Option<&TableMetadata>,
    fields: &[PortableField],
) -> Result<IcebergSchema, LakeError> {
    let mut ids = Ids {
        next: current.map_or(1, |metadata| metadata.last_column_id() + 1),
        table,
    };
    let columns = match current {
        None => ids.fresh(fields),
        Some(metadata) => ids.evolve(metadata.current_schema().as_struct(), fields, "")?,
    };
    IcebergSchema::builder()
        .with_schema_id(current.map_or(0, TableMetadata::current_schema_id))
        .with_fields(columns)
        .build()
        .map_err(|error| LakeError::Encode {
            table: table.clone(),
            what: "the table's schema",
            source: error.into(),
        })
}

/// The columns of a planned schema, again without ids.
pub(crate) fn portable_of(schema: &IcebergSchema) -> Vec<PortableField> {
    schema
        .as_struct()
        .fields()
        .iter()
        .map(|field| field_of(field))
        .collect()
}

fn field_of(field: &NestedField) -> PortableField {
    let kind = match field.field_type.as_ref() {
        Type::Primitive(primitive) => PortableType::Primitive(primitive.clone()),
        Type::Struct(fields) => {
            PortableType::Struct(fields.fields().iter().map(|field| field_of(field)).collect())
        }
        Type::List(list) => PortableType::List(Box::new(field_of(&list.element_field))),
        Type::Map(map) => PortableType::Map(
            Box::new(field_of(&map.key_field)),
            Box::new(field_of(&map.value_field)),
        ),
    };
    PortableField {
        name: field.name.clone(),
        kind,
        nullable: !field.required,
    }
}

struct Ids<'a> {
    next: i32,
    table: &'a LakeTableName,
}

impl Ids<'_> {
    fn take(&mut self) -> i32 {
        self.next += 1;
        self.next - 1
    }

    /// Ids level by level, as `TableMetadataBuilder::new` assigns them.
    fn fresh(&mut self, fields: &[PortableField]) -> Vec<NestedFieldRef> {
        let ids: Vec<i32> = fields.iter().map(|_| self.take()).collect();
        fields
            .iter()
            .zip(ids)
            .map(|(field, id)| {
                let kind = self.fresh_type(&field.kind);
                Arc::new(NestedField::new(id, &field.name, kind, !field.nullable))
            })
            .collect()
    }

    fn fresh_type(&mut self, kind: &PortableType) -> Type {
        match kind {
            PortableType::Primitive(primitive) => Type::Primitive(primitive.clone()),
            PortableType::Struct(fields) => Type::Struct(StructType::new(self.fresh(fields))),
            PortableType::List(element) => {
                let id = self.take();
                let kind = self.fresh_type(&element.kind);
                Type::List(ListType::new(
                    NestedField::list_element(id, kind, !element.nullable).into(),
                ))
            }
            PortableType::Map(key, value) => {
                let key_id = self.take();
                let key_kind = self.fresh_type(&key.kind);
                let value_id = self.take();
                let value_kind = self.fresh_type(&value.kind);
                Type::Map(MapType::new(
                    NestedField::map_key_element(key_id, key_kind).into(),
                    NestedField::map_value_element(value_id, value_kind, !value.nullable).into(),
                ))
            }
        }
    }

    fn evolve(
        &mut self,
        current: &StructType,
        fields: &[PortableField],
        parent: &str,
    ) -> Result<Vec<NestedFieldRef>, LakeError> {
        fields
            .iter()
            .map(|field| {
                let path = child_path(parent, &field.name);
                let next = if let Some(known) = current.field_by_name(&field.name) {
                    let kind = self.evolve_type(&known.field_type, &field.kind, &path)?;
                    let required = known.required && !field.nullable;
                    let mut next = NestedField::new(known.id, &field.name, kind, required);
                    next.doc.clone_from(&known.doc);
                    next
                } else {
                    // optional whatever its values: rows of older snapshots have none
                    let id = self.take();
                    NestedField::optional(id, &field.name, self.fresh_type(&field.kind))
                };
                Ok(Arc::new(next))
            })
            .collect()
    }

    fn evolve_type(&mut self, current: &Type, new: &PortableType, path: &str) -> Result<Type, LakeError> {
        let changed = || LakeError::SchemaChanged {
            table: self.table.clone(),
            column: path.to_owned(),
            old: current.to_string(),
            new: new.to_string(),
        };
        Ok(match (current, new) {
            (Type::Primitive(old), PortableType::Primitive(new)) => {
                Type::Primitive(widen(old, new).ok_or_else(changed)?)
            }
            (Type::Struct(old), PortableType::Struct(new)) => {
                Type::Struct(StructType::new(self.evolve(old, new, path)?))
            }
            (Type::List(old), PortableType::List(new)) => {
                let old = &old.element_field;
                let kind = self.evolve_type(&old.field_type, &new.kind, &child_path(path, "element"))?;
                Type::List(ListType::new(
                    NestedField::list_element(old.id, kind, old.required && !new.nullable).into(),
                ))
            }
            (Type::Map(old), PortableType::Map(key, value)) => {
                // keys may not change: they decide which entries are the same
                let key_kind =
                    self.evolve_type(&old.key_field.field_type, &key.kind, &child_path(path, "key"))?;
                let value_kind = self.evolve_type(
                    &old.value_field.field_type,
                    &value.kind,
                    &child_path(path, "value"),
                )?;
                Type::Map(MapType::new(
                    NestedField::map_key_element(old.key_field.id, key_kind).into(),
                    NestedField::map_value_element(
                        old.value_field.id,
                        value_kind,
                        old.value_field.required && !value.nullable,
                    )
                    .into(),
                ))
            }
            _ => return Err(changed()),
        })
    }
}

/// The type that holds the values of both exactly, when Iceberg lets `old` become it.
fn widen(old: &PrimitiveType, new: &PrimitiveType) -> Option<PrimitiveType> {
    use PrimitiveType::{Decimal, Double, Float, Int, Long};
    Some(match (old, new) {
        (Int | Long, Long) | (Long, Int) => Long,
        (Float | Double, Double) | (Double, Float) => Double,
        (
            Decimal {
                precision: old,
                scale,
            },
            Decimal {
                precision: new,
                scale: new_scale,
            },
        ) if scale == new_scale => Decimal {
            precision: *old.max(new),
            scale: *scale,
        },
        _ if old == new => old.clone(),
        _ => return None,
    })
}

impl std::fmt::Display for PortableType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Primitive(primitive) => write!(formatter, "{primitive}"),
            Self::Struct(_) => formatter.write_str("struct"),
            Self::List(_) => formatter.write_str("list"),
            Self::Map(_, _) => formatter.write_str("map"),
        }
    }
}

/// How a schema is to be used by Arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArrowForm {
    /// For the Parquet writer: field ids as metadata on every level.
    Write,
    /// For queries: no field ids; top-level strings and bytes as views, which DataFusion reads and groups fastest.
    Read,
}

/// The Arrow schema of an Iceberg schema.
pub(crate) fn arrow_schema(schema: &IcebergSchema, form: ArrowForm) -> SchemaRef {
    let fields: Vec<FieldRef> = schema
        .as_struct()
        .fields()
        .iter()
        .map(|field| {
            let arrow = arrow_field(field, &field.name, form);
            if form == ArrowForm::Write {
                return arrow;
            }
            match arrow.data_type() {
                DataType::Utf8 => Arc::new(arrow.as_ref().clone().with_data_type(DataType::Utf8View)),
                DataType::Binary => Arc::new(arrow.as_ref().clone().with_data_type(DataType::BinaryView)),
                _ => arrow,
            }
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn arrow_field(field: &NestedField, name: &str, form: ArrowForm) -> FieldRef {
    let arrow = Field::new(name, arrow_type(&field.field_type, form), !field.required);
    let is_uuid = matches!(field.field_type.as_ref(), Type::Primitive(PrimitiveType::Uuid));
    let metadata = match form {
        ArrowForm::Read => is_uuid.then_some((PG_TYPE_METADATA, PG_UUID.to_owned())),
        ArrowForm::Write => Some((PARQUET_FIELD_ID_META_KEY, field.id.to_string())),
    };
    let uuid = (is_uuid && form == ArrowForm::Write).then(|| (EXTENSION_NAME, ARROW_UUID.to_owned()));
    let metadata = metadata.into_iter().chain(uuid);
    let metadata: HashMap<_, _> = metadata.map(|(key, value)| (key.to_owned(), value)).collect();
    Arc::new(arrow.with_metadata(metadata))
}

fn arrow_type(kind: &Type, form: ArrowForm) -> DataType {
    match kind {
        Type::Primitive(primitive) => match primitive {
            PrimitiveType::Boolean => DataType::Boolean,
            PrimitiveType::Int => DataType::Int32,
            PrimitiveType::Long => DataType::Int64,
            PrimitiveType::Float => DataType::Float32,
            PrimitiveType::Double => DataType::Float64,
            // precision <= 38 and scale <= precision by the Iceberg specification
            PrimitiveType::Decimal { precision, scale } => {
                DataType::Decimal128(*precision as u8, *scale as i8)
            }
            PrimitiveType::Date => DataType::Date32,
            PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
            PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            PrimitiveType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
            PrimitiveType::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
            PrimitiveType::String => DataType::Utf8,
            // as text for queries, whose functions know no other form
            PrimitiveType::Uuid if form == ArrowForm::Read => DataType::Utf8,
            PrimitiveType::Uuid => DataType::FixedSizeBinary(16),
            PrimitiveType::Fixed(length) => {
                i32::try_from(*length).map_or(DataType::Binary, DataType::FixedSizeBinary)
            }
            PrimitiveType::Binary => DataType::Binary,
        },
        Type::Struct(fields) => DataType::Struct(
            fields
                .fields()
                .iter()
                .map(|field| arrow_field(field, &field.name, form))
                .collect(),
        ),
        // names by the Parquet specification, whatever Iceberg calls them
        Type::List(list) => DataType::List(arrow_field(&list.element_field, "element", form)),
        Type::Map(map) => DataType::Map(
            Arc::new(Field::new(
                "key_value",
                DataType::Struct(
                    [
                        arrow_field(&map.key_field, "key", form),
                        arrow_field(&map.value_field, "value", form),
                    ]
                    .into_iter()
                    .collect(),
                ),
                false,
            )),
            false,
        ),
    }
}

/// The first column whose id or type in `written` is not what `wanted` says; names match by position.
pub(crate) fn first_difference(written: &IcebergSchema, wanted: &IcebergSchema) -> Option<String> {
    if written.as_struct() == wanted.as_struct() {
        return None;
    }
    let wanted_fields = wanted.as_struct().fields();
    written
        .as_struct()
        .fields()
        .iter()
        .enumerate()
        .find(|(position, field)| {
            wanted_fields.get(*position).is_none_or(|wanted| {
                // a column that has become optional meanwhile holds what was written all the same
                wanted.id != field.id || wanted.name != field.name || wanted.field_type != field.field_type
            })
        })
        .map(|(_, field)| field.name.clone())
}
