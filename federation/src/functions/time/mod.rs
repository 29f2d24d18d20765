//! Dates, times and intervals.

mod arithmetic;
mod clock;
mod extract;
mod format;
mod make;
mod parse;
mod template;
mod truncate;

use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};

use super::scaffold::{Call, Function};
use crate::cast;
use crate::error::FederationError;
use crate::values::datetime::Interval;

pub(crate) use arithmetic::interval_key;
pub(in crate::functions) use arithmetic::{add, add_zoned, divided};
pub(crate) use clock::{at_start, clocks};
pub(crate) use extract::by_name as extract;

/// An interval of Arrow as PostgreSQL's.
pub(in crate::functions) fn interval(value: IntervalMonthDayNano) -> Interval {
    Interval {
        months: value.months,
        days: value.days,
        micros: value.nanoseconds.div_euclid(1_000),
    }
}

fn interval_at(call: &Call<'_>, index: usize, row: usize) -> Interval {
    interval(call.values::<IntervalMonthDayNanoType>(index).get(row))
}

fn arrow(interval: Interval) -> Result<Option<IntervalMonthDayNano>, FederationError> {
    cast::arrow_interval(interval).map(Some)
}

pub(super) fn functions() -> Vec<Function> {
    let mut functions = arithmetic::functions();
    functions.extend(truncate::functions());
    functions.extend(extract::functions());
    functions.extend(make::functions());
    functions.extend(format::functions());
    functions.extend(parse::functions());
    functions
}
