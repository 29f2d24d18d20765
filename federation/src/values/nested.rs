//! Lists as Postgres arrays, and the old vector types of the system catalogs.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};

use super::{BoxedCells, Cells, EncodeContext, EncodeFailure, Format, Written, put_sized, resolve};
use crate::types::{OIDVECTOR, PgType};

/// A list column taken apart: the place of each row's elements in one column of elements.
pub(super) struct Lists<'a> {
    pub(super) array: &'a dyn Array,
    pub(super) values: &'a ArrayRef,
    pub(super) range: Box<dyn Fn(usize) -> std::ops::Range<usize> + 'a>,
}

/// The items of the list in a row.
type RangeOf<'a> = Box<dyn Fn(usize) -> std::ops::Range<usize> + 'a>;

pub(super) fn lists(array: &dyn Array) -> Option<Lists<'_>> {
    let (values, range): (&ArrayRef, RangeOf<'_>) = match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            (
                list.values(),
                Box::new(move |row| offsets[row] as usize..offsets[row + 1] as usize),
            )
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets = list.value_offsets();
            (
                list.values(),
                Box::new(move |row| offsets[row] as usize..offsets[row + 1] as usize),
            )
        }
        DataType::ListView(_) => {
            let list = array.as_list_view::<i32>();
            let (offsets, sizes) = (list.value_offsets(), list.value_sizes());
            (
                list.values(),
                Box::new(move |row| offsets[row] as usize..(offsets[row] + sizes[row]) as usize),
            )
        }
        DataType::LargeListView(_) => {
            let list = array.as_list_view::<i64>();
            let (offsets, sizes) = (list.value_offsets(), list.value_sizes());
            (
                list.values(),
                Box::new(move |row| offsets[row] as usize..(offsets[row] + sizes[row]) as usize),
            )
        }
        DataType::FixedSizeList(_, _) => {
            let list = array.as_fixed_size_list();
            let size = list.value_length() as usize;
            (list.values(), Box::new(move |row| row * size..(row + 1) * size))
        }
        _ => return None,
    };
    Some(Lists { array, values, range })
}

struct ArrayCells<'a> {
    lists: Lists<'a>,
    elements: BoxedCells<'a>,
    element_oid: u32,
    format: Format,
    /// `int2vector` and `oidvector`: separated by blanks, counted from 0.
    vector: bool,
}

impl Cells for ArrayCells<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.lists.array.is_null(row)
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        let range = (self.lists.range)(row);
        if self.format == Format::Binary {
            return self.write_binary(range, out);
        }
        if self.vector {
            for (index, element) in range.enumerate() {
                if index > 0 {
                    out.put_u8(b' ');
                }
                self.elements.write(element, out)?;
            }
            return Ok(());
        }
        let mut scratch = BytesMut::new();
        out.put_u8(b'{');
        for (index, element) in range.enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            if self.elements.is_null(element) {
                out.put_slice(b"NULL");
            } else {
                scratch.clear();
                self.elements.write(element, &mut scratch)?;
                put_element(&scratch, out);
            }
        }
        out.put_u8(b'}');
        Ok(())
    }
}

impl ArrayCells<'_> {
    /// `array_send`: dimensions, whether there are NULLs, element type, then length and lower bound of the
    /// one dimension, then the elements.
    fn write_binary(&self, range: std::ops::Range<usize>, out: &mut BytesMut) -> Written {
        let length = range.len();
        if length == 0 && !self.vector {
            out.put_i32(0);
            out.put_i32(0);
            out.put_u32(self.element_oid);
            return Ok(());
        }
        out.put_i32(1);
        out.put_i32(i32::from(
            range.clone().any(|element| self.elements.is_null(element)),
        ));
        out.put_u32(self.element_oid);
        out.put_i32(i32::try_from(length).map_err(|_| EncodeFailure::TooLarge(length))?);
        out.put_i32(i32::from(!self.vector));
        for element in range {
            if self.elements.is_null(element) {
                out.put_i32(-1);
            } else {
                put_sized(out, |out| self.elements.write(element, out))?;
            }
        }
        Ok(())
    }
}

/// An element of an array literal, quoted where `array_out` quotes.
fn put_element(text: &[u8], out: &mut BytesMut) {
    let quoted = text.is_empty()
        || text.eq_ignore_ascii_case(b"null")
        || text.iter().any(|byte| {
            matches!(
                byte,
                b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c
            )
        });
    if !quoted {
        out.put_slice(text);
        return;
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// A list column whose Postgres type is an array.
pub(super) fn array<'a>(
    array: &'a dyn Array,
    pg_type: PgType,
    format: Format,
    context: &'a EncodeContext,
) -> BoxedCells<'a> {
    list_cells(
        array,
        PgType {
            array: false,
            ..pg_type
        },
        pg_type.base.oid,
        false,
        format,
        context,
    )
}

/// A list column whose Postgres type is `int2vector` or `oidvector`.
pub(super) fn vector<'a>(
    array: &'a dyn Array,
    pg_type: PgType,
    format: Format,
    context: &'a EncodeContext,
) -> BoxedCells<'a> {
    let element = vector_element(pg_type.base.oid);
    let base = if pg_type.base.oid == OIDVECTOR.oid {
        &crate::types::OID
    } else {
        &crate::types::INT2
    };
    list_cells(
        array,
        PgType {
            base,
            array: false,
            typmod: -1,
        },
        element,
        true,
        format,
        context,
    )
}

fn list_cells<'a>(
    array: &'a dyn Array,
    element: PgType,
    element_oid: u32,
    vector: bool,
    format: Format,
    context: &'a EncodeContext,
) -> BoxedCells<'a> {
    match lists(array) {
        Some(lists) => {
            let elements = resolve(lists.values.as_ref(), element, format, context);
            Box::new(ArrayCells {
                lists,
                elements,
                element_oid,
                format,
                vector,
            })
        }
        // `types::of_field` gives an array type to lists only
        None => super::json::column(array, context),
    }
}

const fn vector_element(oid: u32) -> u32 {
    if oid == OIDVECTOR.oid { 26 } else { 21 }
}

/// The binary form of a vector that is stored as its text, `1 2 3`.
pub(super) fn put_vector_text(text: &str, oid: u32, out: &mut BytesMut) -> Written {
    let name = if oid == OIDVECTOR.oid {
        "oidvector"
    } else {
        "int2vector"
    };
    let numbers = text
        .split_ascii_whitespace()
        .map(|number| number.parse::<i64>().map_err(|_| EncodeFailure::Invalid(name)))
        .collect::<Result<Vec<_>, _>>()?;
    out.put_i32(1);
    out.put_i32(0);
    out.put_u32(vector_element(oid));
    out.put_i32(numbers.len() as i32);
    out.put_i32(0);
    for number in numbers {
        if oid == OIDVECTOR.oid {
            out.put_i32(4);
            out.put_u32(number as u32);
        } else {
            out.put_i32(2);
            out.put_i16(number as i16);
        }
    }
    Ok(())
}
