//! A call of a function, and the columns that it reads and makes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, BooleanBuilder, PrimitiveArray, PrimitiveBuilder,
    StringArray, StringBuilder,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, i256};

use super::Outcome;
use crate::cast::{self, Context};
use crate::error::FederationError;
use crate::spatial::Geometry;
use crate::values::read::value_error;

/// One argument of a call.
pub(crate) struct Argument {
    pub(crate) field: FieldRef,
    pub(crate) array: ArrayRef,
    pub(super) scalar: bool,
}

impl Argument {
    /// Where a row's value is.
    pub(crate) fn at(&self, row: usize) -> usize {
        if self.scalar { 0 } else { row }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(self.at(row)) || self.array.data_type().is_null()
    }
}

/// A call over a batch of rows.
pub(crate) struct Call<'a> {
    pub(crate) arguments: Vec<Argument>,
    pub(crate) rows: usize,
    pub(super) strict: bool,
    pub(crate) returns: &'a FieldRef,
    pub(crate) context: &'a Context,
    /// The number in the function's name.
    pub(crate) number: i32,
}

/// The values of an argument of primitive type.
pub(crate) struct Values<'a, T: ArrowPrimitiveType> {
    argument: &'a Argument,
    array: &'a PrimitiveArray<T>,
}

impl<T: ArrowPrimitiveType> Values<'_, T> {
    /// The row's value; of NULL anything.
    pub(crate) fn get(&self, row: usize) -> T::Native {
        self.array.value(self.argument.at(row))
    }
}

/// The values of a text argument.
pub(crate) struct Texts<'a> {
    argument: &'a Argument,
    array: &'a StringArray,
}

impl<'a> Texts<'a> {
    /// The row's value; of NULL the empty text.
    pub(crate) fn get(&self, row: usize) -> &'a str {
        self.array.value(self.argument.at(row))
    }

    pub(crate) fn optional(&self, row: usize) -> Option<&'a str> {
        let at = self.argument.at(row);
        self.array.is_valid(at).then(|| self.array.value(at))
    }
}

/// The values of a decimal argument.
pub(crate) struct Decimals<'a> {
    argument: &'a Argument,
    pub(crate) scale: i32,
}

impl Decimals<'_> {
    /// The row's digits; of NULL anything.
    pub(crate) fn get(&self, row: usize) -> i256 {
        let at = self.argument.at(row);
        match self.argument.array.data_type() {
            DataType::Decimal128(..) => i256::from_i128(
                self.argument
                    .array
                    .as_primitive::<arrow::datatypes::Decimal128Type>()
                    .value(at),
            ),
            _ => self
                .argument
                .array
                .as_primitive::<arrow::datatypes::Decimal256Type>()
                .value(at),
        }
    }
}

impl Call<'_> {
    pub(crate) fn count(&self) -> usize {
        self.arguments.len()
    }

    pub(crate) fn texts(&self, index: usize) -> Texts<'_> {
        let argument = &self.arguments[index];
        Texts {
            argument,
            array: argument.array.as_string(),
        }
    }

    /// A geometry argument in a row without NULL.
    ///
    /// # Errors
    /// Those of reading its EWKB, which a source may have sent.
    pub(crate) fn geometry(&self, index: usize, row: usize) -> Result<Geometry, FederationError> {
        let argument = &self.arguments[index];
        Geometry::from_ewkb(argument.array.as_binary::<i32>().value(argument.at(row)))
    }

    /// A column of bytes.
    pub(crate) fn bytes(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<Vec<u8>>, FederationError>,
    ) -> Outcome {
        let mut out = BinaryBuilder::new();
        for row in 0..self.rows {
            let value = if self.skips(row) { None } else { value(row)? };
            // a batch's bytes are one buffer, whose places are counted in 31 bits
            let length = value.as_ref().map_or(0, Vec::len);
            if out.values_slice().len() + length > i32::MAX as usize {
                return Err(value_error("54000", "the geometries of one batch are too long"));
            }
            out.append_option(value);
        }
        Ok(Arc::new(out.finish()))
    }

    /// An optional text argument.
    pub(crate) fn texts_if(&self, index: usize) -> Option<Texts<'_>> {
        (index < self.count()).then(|| self.texts(index))
    }

    pub(crate) fn values<T: ArrowPrimitiveType>(&self, index: usize) -> Values<'_, T> {
        let argument = &self.arguments[index];
        Values {
            argument,
            array: argument.array.as_primitive(),
        }
    }

    pub(crate) fn values_if<T: ArrowPrimitiveType>(&self, index: usize) -> Option<Values<'_, T>> {
        (index < self.count()).then(|| self.values(index))
    }

    pub(crate) fn booleans(&self, index: usize) -> (&Argument, &BooleanArray) {
        let argument = &self.arguments[index];
        (argument, argument.array.as_boolean())
    }

    pub(crate) fn decimals(&self, index: usize) -> Decimals<'_> {
        let argument = &self.arguments[index];
        let scale = match argument.array.data_type() {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => i32::from(*scale),
            _ => 0,
        };
        Decimals { argument, scale }
    }

    /// The elements of a list argument in a row; None of NULL.
    pub(crate) fn list(&self, index: usize, row: usize) -> Option<ArrayRef> {
        let argument = &self.arguments[index];
        if argument.is_null(row) {
            return None;
        }
        argument
            .array
            .as_list_opt::<i32>()
            .map(|list| list.value(argument.at(row)))
    }

    /// The elements of a list of texts in a row.
    pub(crate) fn text_list(&self, index: usize, row: usize) -> Vec<Option<String>> {
        let Some(list) = self.list(index, row) else {
            return Vec::new();
        };
        match list.as_string_opt::<i32>() {
            Some(texts) => texts.iter().map(|text| text.map(str::to_owned)).collect(),
            None => Vec::new(),
        }
    }

    /// Whether the row is NULL because an argument is.
    pub(crate) fn skips(&self, row: usize) -> bool {
        self.strict && self.arguments.iter().any(|argument| argument.is_null(row))
    }

    /// A column of text; `write` returns false for NULL.
    pub(crate) fn text(
        &self,
        mut write: impl FnMut(usize, &mut String) -> Result<bool, FederationError>,
    ) -> Outcome {
        let mut out = StringBuilder::with_capacity(self.rows, self.rows * 16);
        let mut scratch = String::new();
        for row in 0..self.rows {
            scratch.clear();
            if !self.skips(row) && write(row, &mut scratch)? {
                // a batch's texts are one buffer, whose places are counted in 31 bits
                if out.values_slice().len() + scratch.len() > i32::MAX as usize {
                    return Err(value_error("54000", "the texts of one batch are too long"));
                }
                out.append_value(&scratch);
            } else {
                out.append_null();
            }
        }
        Ok(Arc::new(out.finish()))
    }

    /// A column of a primitive type, of the Arrow type that the call returns.
    pub(crate) fn each<T: ArrowPrimitiveType>(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<T::Native>, FederationError>,
    ) -> Outcome {
        let mut out =
            PrimitiveBuilder::<T>::with_capacity(self.rows).with_data_type(self.returns.data_type().clone());
        for row in 0..self.rows {
            if self.skips(row) {
                out.append_null();
            } else {
                out.append_option(value(row)?);
            }
        }
        Ok(Arc::new(out.finish()))
    }

    pub(crate) fn truth(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<bool>, FederationError>,
    ) -> Outcome {
        let mut out = BooleanBuilder::with_capacity(self.rows);
        for row in 0..self.rows {
            if self.skips(row) {
                out.append_null();
            } else {
                out.append_option(value(row)?);
            }
        }
        Ok(Arc::new(out.finish()))
    }

    /// A decimal column of the type that the call returns; the digits given have `scale` places.
    pub(crate) fn decimal(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<(i256, i32)>, FederationError>,
    ) -> Outcome {
        use arrow::array::{Decimal128Builder, Decimal256Builder};
        let wanted = self.returns.data_type();
        match wanted {
            DataType::Decimal128(precision, scale) => {
                let mut out = Decimal128Builder::with_capacity(self.rows).with_data_type(wanted.clone());
                for row in 0..self.rows {
                    let digits = if self.skips(row) { None } else { value(row)? };
                    out.append_option(match digits {
                        Some((digits, from)) => Some(
                            cast::fit(digits, from, *precision, *scale)?
                                .to_i128()
                                .ok_or_else(cast::overflow)?,
                        ),
                        None => None,
                    });
                }
                Ok(Arc::new(out.finish()))
            }
            DataType::Decimal256(precision, scale) => {
                let mut out = Decimal256Builder::with_capacity(self.rows).with_data_type(wanted.clone());
                for row in 0..self.rows {
                    let digits = if self.skips(row) { None } else { value(row)? };
                    out.append_option(match digits {
                        Some((digits, from)) => Some(cast::fit(digits, from, *precision, *scale)?),
                        None => None,
                    });
                }
                Ok(Arc::new(out.finish()))
            }
            other => Err(FederationError::internal(format!("{other} is no decimal"))),
        }
    }

    /// A column of lists of texts.
    pub(crate) fn text_lists(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<Vec<Option<String>>>, FederationError>,
    ) -> Outcome {
        use arrow::array::ListBuilder;
        let mut out = ListBuilder::new(StringBuilder::new());
        if let DataType::List(item) = self.returns.data_type() {
            out = out.with_field(Arc::clone(item));
        }
        for row in 0..self.rows {
            let elements = if self.skips(row) { None } else { value(row)? };
            match elements {
                Some(elements) => {
                    for element in elements {
                        out.values().append_option(element);
                    }
                    out.append(true);
                }
                None => out.append(false),
            }
        }
        Ok(Arc::new(out.finish()))
    }
}
