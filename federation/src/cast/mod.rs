//! Casts with PostgreSQL's meaning: rounding, spelling, range and errors.
//!
//! DataFusion's own casts cut fractions off, read other spellings and know no session zone; they remain where the
//! two mean the same ([`is_plain`]), for the optimizer sees through them.

mod numeric;
mod reading;
mod text;
mod time;

pub(crate) use numeric::{decimal_to_f64, fit, float_digits, overflow};
pub(crate) use reading::arrow_interval;
pub(crate) use text::{output, print};
pub(crate) use time::{day_start, timestamp_out_of_range, to_local};

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::config::ConfigOptions;
use jiff::tz::TimeZone;

use crate::error::{Cause, FederationError};
use crate::types::{self, FREE_NUMERIC, PgType};
use crate::values::read;
use crate::values::read::interval::Range;

/// What the session contributes to a cast.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) zone: TimeZone,
}

impl Context {
    pub(crate) fn of(options: &ConfigOptions) -> Self {
        let name = options.execution.time_zone.as_deref().unwrap_or("UTC");
        Self {
            zone: read::zone::by_name(name).unwrap_or(TimeZone::UTC),
        }
    }
}

/// What is cast to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) pg_type: PgType,
    /// A numeric without a modifier whose digits are known: those of a literal.
    pub(crate) digits: Option<(u8, i8)>,
    /// Digits of a second kept: `timestamp(0)`.
    pub(crate) seconds: Option<u8>,
    /// The fields of an interval literal.
    pub(crate) range: Range,
}

impl Target {
    pub(crate) const fn of(pg_type: PgType) -> Self {
        Self {
            pg_type,
            digits: None,
            seconds: None,
            range: Range {
                leading: None,
                last: None,
            },
        }
    }

    fn element(self) -> Self {
        Self {
            pg_type: PgType {
                array: false,
                ..self.pg_type
            },
            ..self
        }
    }

    /// The Arrow type of the result. It follows from the type of what is cast alone, never from its value: a
    /// column may turn into a constant while a plan is optimized.
    pub(crate) fn data_type(&self, from: &DataType) -> Result<DataType, FederationError> {
        if self.pg_type.array {
            let inner = match from {
                DataType::List(item)
                | DataType::LargeList(item)
                | DataType::ListView(item)
                | DataType::LargeListView(item)
                | DataType::FixedSizeList(item, _) => item.data_type(),
                other => other,
            };
            let element = self.element();
            let field = types::field("item", element.pg_type, element.data_type(inner)?, true);
            return Ok(DataType::List(Arc::new(field)));
        }
        if self.pg_type.base.oid != types::NUMERIC.oid {
            return Ok(types::arrow_type(self.pg_type).unwrap_or(DataType::Utf8));
        }
        if let Some((precision, scale)) = self.digits {
            return decimal(i32::from(precision), i32::from(scale));
        }
        if self.pg_type.typmod >= 4 {
            let (precision, scale) = types::numeric_typmod(self.pg_type.typmod);
            return decimal(precision, scale);
        }
        Ok(match from {
            DataType::Int8 | DataType::UInt8 => DataType::Decimal128(3, 0),
            DataType::Int16 | DataType::UInt16 => DataType::Decimal128(5, 0),
            DataType::Int32 | DataType::UInt32 => DataType::Decimal128(10, 0),
            DataType::Int64 | DataType::UInt64 => DataType::Decimal128(20, 0),
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                DataType::Decimal128(*precision, *scale)
            }
            DataType::Decimal128(..) | DataType::Decimal256(..) => from.clone(),
            _ => FREE_NUMERIC,
        })
    }

    /// The field of the result.
    pub(crate) fn field(&self, name: &str, from: &Field) -> Result<Field, FederationError> {
        let data_type = self.data_type(from.data_type())?;
        Ok(types::field(name, self.pg_type, data_type, from.is_nullable()))
    }

    /// As SQL spells it.
    pub(crate) fn sql(&self) -> String {
        match self.seconds {
            Some(digits) => format!("{}({digits})", self.pg_type.sql_name()),
            None => self.pg_type.sql_name(),
        }
    }
}

fn decimal(precision: i32, scale: i32) -> Result<DataType, FederationError> {
    types::decimal_type(precision, scale).ok_or_else(|| {
        Cause::NotSupported {
            message: format!("numeric({precision},{scale}) has more than 76 digits"),
        }
        .into()
    })
}

/// The types of one class are cast alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Bool,
    Integer,
    Float,
    Numeric,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Uuid,
    Json,
    Geometry,
    Other,
}

fn class(pg_type: PgType) -> Class {
    match pg_type.base.oid {
        16 => Class::Bool,
        // identifiers of objects are numbers
        20 | 21 | 23 | 24 | 26 | 28 | 2202..=2206 | 4089 | 4096 => Class::Integer,
        700 | 701 => Class::Float,
        1700 => Class::Numeric,
        18 | 19 | 25 | 705 | 1042 | 1043 => Class::Text,
        17 => Class::Bytes,
        1082 => Class::Date,
        1083 => Class::Time,
        1114 => Class::Timestamp,
        1184 => Class::Timestamptz,
        1186 => Class::Interval,
        2950 => Class::Uuid,
        114 | 3802 => Class::Json,
        16380 => Class::Geometry,
        _ => Class::Other,
    }
}

/// Whether PostgreSQL has an explicit cast between the two.
fn exists(from: PgType, to: PgType) -> bool {
    use Class::{
        Bool, Bytes, Date, Float, Geometry, Integer, Interval, Json, Numeric, Text, Time, Timestamp,
        Timestamptz,
    };
    if from.array || to.array {
        // of one that is none, only text has the form of an array
        return (from.array || class(from) == Text) && (to.array || class(to) == Text);
    }
    match (class(from), class(to)) {
        (same, other) if same == other => true,
        (Text, _) | (_, Text) => true,
        (Bool, Integer) => to.base.oid == 23,
        (Integer, Bool) => from.base.oid == 23,
        (Integer | Float | Numeric, Integer | Float | Numeric) => true,
        (Date, Timestamp | Timestamptz) => true,
        (Timestamp | Timestamptz, Date | Time | Timestamp | Timestamptz) => true,
        (Time, Interval) | (Interval, Time) => true,
        (Json, Bool | Integer | Float | Numeric) => from.base.oid == 3802,
        (Bytes, Geometry) | (Geometry, Bytes) => true,
        (Bytes, _) | (_, Bytes) => false,
        _ => false,
    }
}

/// Why a column cannot be cast, or None.
pub(crate) fn refusal(from: &Field, target: &Target) -> Option<FederationError> {
    if from.data_type().is_null() {
        return None;
    }
    let from_type = types::of_field(from);
    // what has no Postgres type but json is printed as such
    let nested = from.data_type().is_nested() && !from_type.array;
    if exists(from_type, target.pg_type) || (nested && class(target.pg_type) == Class::Text) {
        return None;
    }
    let (from, to) = (plain_name(from_type), plain_name(target.pg_type));
    Some(
        Cause::Value {
            sqlstate: "42846",
            message: format!("cannot cast type {from} to {to}"),
        }
        .into(),
    )
}

fn plain_name(pg_type: PgType) -> String {
    PgType {
        typmod: -1,
        ..pg_type
    }
    .sql_name()
}

/// Whether DataFusion's cast of the same types has the same results.
pub(crate) fn is_plain(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Timestamp, UInt8, UInt16, UInt32,
    };
    if from == to {
        return true;
    }
    match (from, to) {
        (Int8 | UInt8, Int16 | Int32 | Int64)
        | (Int16 | UInt16, Int32 | Int64)
        | (Int32 | UInt32, Int64)
        | (Int8 | Int16 | Int32 | Float32, Float64) => true,
        (Int8 | Int16 | Int32 | Int64, Decimal128(precision, scale)) => {
            let digits = match from {
                Int8 => 3,
                Int16 => 5,
                Int32 => 10,
                _ => 19,
            };
            *scale >= 0 && i16::from(*precision) - i16::from(*scale) >= digits
        }
        (Decimal128(precision, scale), Decimal128(to_precision, to_scale)) => {
            to_scale >= scale
                && i16::from(*to_precision) - i16::from(*to_scale)
                    >= i16::from(*precision) - i16::from(*scale)
        }
        (Date32, Timestamp(TimeUnit::Microsecond, None)) => true,
        _ => false,
    }
}

/// The Arrow type in which a type is computed with: no views, no dictionaries, microseconds.
pub(crate) fn canonical(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => canonical(value),
        DataType::RunEndEncoded(_, value) => canonical(value.data_type()),
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            let inner = item
                .as_ref()
                .clone()
                .with_name("item")
                .with_nullable(true)
                .with_data_type(canonical(item.data_type()));
            DataType::List(Arc::new(inner))
        }
        other => other.clone(),
    }
}

/// The column in its canonical type.
pub(crate) fn normalize(array: &ArrayRef) -> Result<ArrayRef, FederationError> {
    let wanted = canonical(array.data_type());
    if wanted == *array.data_type() {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    Ok(cast_with_options(array, &wanted, &options)?)
}

/// Casts a column.
///
/// # Errors
/// The first value that has no form in the target, with PostgreSQL's code.
pub(crate) fn cast(
    array: &ArrayRef,
    from: &Field,
    target: &Target,
    context: &Context,
) -> Result<ArrayRef, FederationError> {
    let wanted = target.data_type(from.data_type())?;
    if array.data_type().is_null() || array.null_count() == array.len() {
        return Ok(new_null_array(&wanted, array.len()));
    }
    if let Some(refusal) = refusal(from, target) {
        return Err(refusal);
    }
    let from_type = types::of_field(from);
    let (source, destination) = (class(from_type), class(target.pg_type));
    if destination == Class::Text && !target.pg_type.array {
        if source == Class::Text && !from_type.array {
            let array = normalize(array)?;
            return text::fit(array.as_string(), from_type, target.pg_type);
        }
        let printed = text::print(array, from_type, context)?;
        return text::fit(&printed, types::PgType::scalar(&types::TEXT), target.pg_type);
    }
    let array = normalize(array)?;
    if from_type.array && target.pg_type.array {
        return elements(&array, from, target, &wanted, context);
    }
    if source == Class::Text {
        return reading::read(array.as_string(), target, &wanted, context);
    }
    match (source, destination) {
        (Class::Json, _) => {
            let texts = text::scalars_of_json(array.as_string(), target)?;
            if destination == Class::Json {
                reading::read(array.as_string(), target, &wanted, context)
            } else {
                reading::read(&texts, target, &wanted, context)
            }
        }
        (Class::Bool | Class::Integer | Class::Float | Class::Numeric, _) => {
            numeric::cast(&array, target, &wanted, from_type)
        }
        (Class::Date | Class::Time | Class::Timestamp | Class::Timestamptz | Class::Interval, _) => {
            time::cast(&array, target, &wanted, context)
        }
        (Class::Bytes, Class::Geometry) => reading::geometries(array.as_binary()),
        // one class, one form; the bytes of a geometry are its EWKB
        _ => Ok(array),
    }
}

fn elements(
    array: &ArrayRef,
    from: &Field,
    target: &Target,
    wanted: &DataType,
    context: &Context,
) -> Result<ArrayRef, FederationError> {
    let list: &GenericListArray<i32> = array.as_list();
    let (DataType::List(from_item), DataType::List(to_item)) = (array.data_type(), wanted) else {
        return Err(FederationError::internal(format!("{from} is no list")));
    };
    let values = cast(list.values(), from_item, &target.element(), context)?;
    let list = GenericListArray::<i32>::try_new(
        Arc::clone(to_item),
        list.offsets().clone(),
        values,
        list.nulls().cloned(),
    )?;
    Ok(Arc::new(list))
}
