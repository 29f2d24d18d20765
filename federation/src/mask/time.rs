//! `truncate` and `dateShift`: days made coarser or moved. Columns come in their canonical types.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Date32Type, TimestampMicrosecondType};
use lakegate_crds::{Duration, TruncateUnit};

use super::MaskRefusal;
use super::key::MaskKey;
use super::keyed::Hash;
use crate::error::FederationError;
use crate::values::datetime::{DAY_MICROS, civil_from_days, days_from_civil};
use crate::values::read::value_error;

const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_SECONDS: u64 = 86_400;

/// What a time is cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit(TruncateUnit);

impl From<TruncateUnit> for Unit {
    fn from(unit: TruncateUnit) -> Self {
        Self(unit)
    }
}

impl Unit {
    pub(super) fn is_longer_than_a_day(self) -> bool {
        !matches!(self.0, TruncateUnit::Day | TruncateUnit::Hour)
    }

    /// The first day of the unit that the day is in.
    fn first_day(self, days: i64) -> i64 {
        let (year, month, _) = civil_from_days(days);
        match self.0 {
            TruncateUnit::Year => days_from_civil(year, 1, 1),
            TruncateUnit::Quarter => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
            TruncateUnit::Month => days_from_civil(year, month, 1),
            // 1970-01-01 was a Thursday, and weeks begin on Mondays (ISO 8601)
            TruncateUnit::Week => days - (days + 3).rem_euclid(7),
            TruncateUnit::Day | TruncateUnit::Hour => days,
        }
    }

    fn first_micros(self, micros: i64) -> Option<i64> {
        if self.0 == TruncateUnit::Hour {
            return micros.div_euclid(HOUR_MICROS).checked_mul(HOUR_MICROS);
        }
        self.first_day(micros.div_euclid(DAY_MICROS))
            .checked_mul(DAY_MICROS)
    }
}

fn out_of_range(what: &str) -> FederationError {
    value_error("22008", format!("a masked {what} is out of range"))
}

/// Each value by `change`; a value that leaves the type's range is an error that does not name it.
fn each<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    what: &str,
    change: impl Fn(usize, T::Native) -> Option<Option<T::Native>>,
) -> Result<ArrayRef, FederationError> {
    let column = column.as_primitive::<T>();
    let changed: PrimitiveArray<T> = column
        .iter()
        .enumerate()
        .map(|(row, value)| match value {
            None => Ok(None),
            Some(value) => change(row, value).ok_or_else(|| out_of_range(what)),
        })
        .collect::<Result<_, FederationError>>()?;
    Ok(Arc::new(changed.with_data_type(column.data_type().clone())))
}

fn wrong(data_type: &DataType) -> FederationError {
    FederationError::internal(format!("a mask of dates was planned for {data_type}"))
}

/// Cuts to a unit; instants in UTC.
pub(super) fn truncate(column: &ArrayRef, unit: Unit) -> Result<ArrayRef, FederationError> {
    match column.data_type() {
        DataType::Date32 => each::<Date32Type>(column, "date", |_, days| {
            i32::try_from(unit.first_day(i64::from(days))).ok().map(Some)
        }),
        DataType::Timestamp(_, _) => each::<TimestampMicrosecondType>(column, "timestamp", |_, micros| {
            unit.first_micros(micros).map(Some)
        }),
        other => Err(wrong(other)),
    }
}

/// A number of days for each entity, drawn by a key.
pub(super) struct Shift {
    hash: Hash,
    /// The most in either direction, at least 1.
    within: u64,
}

impl Shift {
    pub(super) fn new(key: &MaskKey, within: &Duration) -> Result<Self, MaskRefusal> {
        let within = within.get();
        let days = within.as_secs() / DAY_SECONDS;
        if days == 0 || within != std::time::Duration::from_secs(days * DAY_SECONDS) {
            return Err(MaskRefusal::new(
                "dateShift.within",
                "must be whole days, at least 1d",
            ));
        }
        Ok(Self {
            hash: Hash::new(key, "lakegate dateShift"),
            within: days,
        })
    }

    /// From -within to within, never 0: a day that is not moved is a clear one.
    fn days(&self, entity: &str) -> i64 {
        let drawn = self.hash.number(entity) % (2 * self.within);
        if drawn < self.within {
            drawn as i64 - self.within as i64
        } else {
            (drawn - self.within) as i64 + 1
        }
    }

    pub(super) fn apply(
        &self,
        column: &ArrayRef,
        entities: &StringArray,
    ) -> Result<ArrayRef, FederationError> {
        // rows of one entity often follow one another
        let last = std::cell::Cell::new(None::<(&str, i64)>);
        let shift = |row: usize| {
            if entities.is_null(row) {
                return None;
            }
            let entity = entities.value(row);
            if let Some((known, days)) = last.get()
                && known == entity
            {
                return Some(days);
            }
            let days = self.days(entity);
            last.set(Some((entity, days)));
            Some(days)
        };
        match column.data_type() {
            DataType::Date32 => each::<Date32Type>(column, "date", |row, days| match shift(row) {
                None => Some(None),
                Some(shift) => i32::try_from(i64::from(days) + shift).ok().map(Some),
            }),
            DataType::Timestamp(_, _) => {
                each::<TimestampMicrosecondType>(column, "timestamp", |row, micros| match shift(row) {
                    None => Some(None),
                    Some(shift) => micros.checked_add(shift.checked_mul(DAY_MICROS)?).map(Some),
                })
            }
            other => Err(wrong(other)),
        }
    }
}
