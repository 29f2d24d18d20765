//! Nested columns as JSON, in the form of Postgres' `to_json`.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field};
use bytes::{BufMut, BytesMut};

use super::datetime::{ZoneCache, put_json_timestamp};
use super::nested::lists;
use super::{BoxedCells, Cells, EncodeContext, Format, Written, resolve};
use crate::types;

/// The values of any column as JSON; of NULL `null` is written. A field that is `json` is not quoted.
pub fn cells<'a>(array: &'a dyn Array, field: &Field, context: &'a EncodeContext) -> BoxedCells<'a> {
    value(array, Some(field), context)
}

/// Whether the field's text is JSON already.
fn is_json(field: Option<&Field>) -> bool {
    field.is_some_and(|field| matches!(types::of_field(field).base.oid, 114 | 3802))
}

/// A nested column whose Postgres type is `json`; text and binary form are the same.
pub(super) fn column<'a>(array: &'a dyn Array, context: &'a EncodeContext) -> BoxedCells<'a> {
    Box::new(JsonColumn {
        array,
        value: value(array, None, context),
    })
}

struct JsonColumn<'a> {
    array: &'a dyn Array,
    value: BoxedCells<'a>,
}

impl Cells for JsonColumn<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        self.value.write(row, out)
    }
}

/// The JSON values of a column; unlike elsewhere the writers take NULL and write `null`.
fn value<'a>(array: &'a dyn Array, field: Option<&Field>, context: &'a EncodeContext) -> BoxedCells<'a> {
    match array.data_type() {
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let members = fields
                .iter()
                .zip(columns)
                .map(|(field, column)| {
                    let name = quoted(crate::values::shown_name(field.name()));
                    (name, value(column.as_ref(), Some(field), context))
                })
                .collect();
            Box::new(Object { array, members })
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            Box::new(MapObject {
                array,
                offsets: map.value_offsets(),
                keys: text_cells(map.keys(), context),
                values: value(map.values().as_ref(), None, context),
            })
        }
        DataType::Union(_, _) => {
            let union = array.as_union();
            let rows = (0..array.len()).map(|row| union.value(row)).collect();
            Box::new(UnionValues { rows, context })
        }
        _ => match lists(array) {
            Some(lists) => {
                let item = item_field(array.data_type());
                let values = value(lists.values.as_ref(), item, context);
                Box::new(List {
                    array,
                    range: lists.range,
                    values,
                })
            }
            None => leaf(array, is_json(field), context),
        },
    }
}

/// The field of a list's items.
fn item_field(data_type: &DataType) -> Option<&Field> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

fn text_cells<'a>(array: &'a ArrayRef, context: &'a EncodeContext) -> BoxedCells<'a> {
    resolve(
        array.as_ref(),
        types::of_data_type(array.data_type()),
        Format::Text,
        context,
    )
}

/// How a scalar stands in JSON.
#[derive(Clone, Copy)]
enum Style {
    /// As it is printed.
    Bare,
    /// A float: bare unless it is not finite.
    Float,
    /// `t` and `f` spelled out.
    Boolean,
    Quoted,
}

fn leaf<'a>(array: &'a dyn Array, json: bool, context: &'a EncodeContext) -> BoxedCells<'a> {
    let nulls = array.logical_nulls();
    if let DataType::Timestamp(_, zone) = array.data_type() {
        let zone = zone.as_ref().map(|_| ZoneCache::new(context.time_zone.clone()));
        if let Some(cells) = super::scalar::micros(array, move |micros, out| {
            put_json_timestamp(micros, zone.as_ref(), out);
            Ok(())
        }) {
            return Box::new(Leaf {
                nulls,
                style: Style::Quoted,
                cells,
            });
        }
    }
    let mut value_type = array.data_type();
    while let DataType::Dictionary(_, inner) = value_type {
        value_type = inner;
    }
    let style = match value_type {
        DataType::Boolean => Style::Boolean,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Style::Float,
        _ if json => Style::Bare,
        other if other.is_numeric() => Style::Bare,
        _ => Style::Quoted,
    };
    let cells = resolve(
        array,
        types::of_data_type(array.data_type()),
        Format::Text,
        context,
    );
    Box::new(Leaf { nulls, style, cells })
}

struct Leaf<'a> {
    nulls: Option<arrow::buffer::NullBuffer>,
    style: Style,
    cells: BoxedCells<'a>,
}

impl Cells for Leaf<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) || self.cells.is_null(row)
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        if self.is_null(row) {
            out.put_slice(b"null");
            return Ok(());
        }
        let mut scratch = BytesMut::new();
        self.cells.write(row, &mut scratch)?;
        match self.style {
            Style::Bare => out.put_slice(&scratch),
            Style::Boolean => out.put_slice(if &scratch[..] == b"t" { b"true" } else { b"false" }),
            Style::Float if scratch.last().is_some_and(u8::is_ascii_digit) => out.put_slice(&scratch),
            Style::Float | Style::Quoted => put_string(&scratch, out),
        }
        Ok(())
    }
}

struct Object<'a> {
    array: &'a dyn Array,
    members: Vec<(BytesMut, BoxedCells<'a>)>,
}

impl Cells for Object<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        if self.is_null(row) {
            out.put_slice(b"null");
            return Ok(());
        }
        out.put_u8(b'{');
        for (index, (name, value)) in self.members.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_slice(name);
            out.put_u8(b':');
            value.write(row, out)?;
        }
        out.put_u8(b'}');
        Ok(())
    }
}

struct MapObject<'a> {
    array: &'a dyn Array,
    offsets: &'a [i32],
    keys: BoxedCells<'a>,
    values: BoxedCells<'a>,
}

impl Cells for MapObject<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        if self.is_null(row) {
            out.put_slice(b"null");
            return Ok(());
        }
        let mut key = BytesMut::new();
        out.put_u8(b'{');
        for (index, entry) in (self.offsets[row] as usize..self.offsets[row + 1] as usize).enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            key.clear();
            self.keys.write(entry, &mut key)?;
            put_string(&key, out);
            out.put_u8(b':');
            self.values.write(entry, out)?;
        }
        out.put_u8(b'}');
        Ok(())
    }
}

struct List<'a> {
    array: &'a dyn Array,
    range: Box<dyn Fn(usize) -> std::ops::Range<usize> + 'a>,
    values: BoxedCells<'a>,
}

impl Cells for List<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        if self.is_null(row) {
            out.put_slice(b"null");
            return Ok(());
        }
        out.put_u8(b'[');
        for (index, element) in (self.range)(row).enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            self.values.write(element, out)?;
        }
        out.put_u8(b']');
        Ok(())
    }
}

/// Each row may have another type, so each has a one-value column of its own.
struct UnionValues<'a> {
    rows: Vec<ArrayRef>,
    context: &'a EncodeContext,
}

impl Cells for UnionValues<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.rows[row].is_null(0)
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        value(self.rows[row].as_ref(), None, self.context).write(0, out)
    }
}

fn quoted(text: &str) -> BytesMut {
    let mut out = BytesMut::new();
    put_string(text.as_bytes(), &mut out);
    out
}

/// A JSON string of UTF-8 text.
fn put_string(text: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    for byte in text {
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            0x08 => out.put_slice(b"\\b"),
            0x0c => out.put_slice(b"\\f"),
            control if *control < 0x20 => out.put_slice(format!("\\u{control:04x}").as_bytes()),
            other => out.put_u8(*other),
        }
    }
    out.put_u8(b'"');
}
