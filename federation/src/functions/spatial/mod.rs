//! PostGIS's functions over geometries of the plane.

mod build;
mod measure;
mod relate;
mod write;

use super::scaffold::{Call, Function};
use crate::error::FederationError;
use crate::spatial::Geometry;
use crate::values::read::value_error;

/// Two geometries of one reference system.
///
/// # Errors
/// 22023 where the systems differ: coordinates of two are not comparable.
fn pair(call: &Call<'_>, row: usize, name: &str) -> Result<(Geometry, Geometry), FederationError> {
    let (left, right) = (call.geometry(0, row)?, call.geometry(1, row)?);
    same_srid(name, &left, &right)?;
    Ok((left, right))
}

fn same_srid(name: &str, left: &Geometry, right: &Geometry) -> Result<(), FederationError> {
    if left.srid == right.srid {
        return Ok(());
    }
    Err(value_error(
        "22023",
        format!(
            "{name}: Operation on mixed SRID geometries ({}, {}) != ({}, {})",
            left.kind(),
            left.srid,
            right.kind(),
            right.srid
        ),
    ))
}

pub(super) fn functions() -> Vec<Function> {
    let mut all = build::functions();
    all.extend(measure::functions());
    all.extend(relate::functions());
    all.extend(write::functions());
    all
}
