//! PostGIS's functions over geometries of the plane.

mod build;
mod measure;
mod relate;
mod write;

use geo::{Coord, CoordsIter};

use super::scaffold::{Call, Function, Outcome};
use crate::error::FederationError;
use crate::spatial::Geometry;
use crate::values::read::value_error;

/// What computes a function's result.
type Body = fn(&Call<'_>) -> Outcome;

/// Two geometries of one reference system.
///
/// # Errors
/// 22023 where the systems differ, for coordinates of two are not comparable, and where a coordinate is not finite.
fn pair(call: &Call<'_>, row: usize, name: &str) -> Result<(Geometry, Geometry), FederationError> {
    let (left, right) = (call.geometry(0, row)?, call.geometry(1, row)?);
    same_srid(name, &left, &right)?;
    for geometry in [&left, &right] {
        // the algorithms order coordinates, which NaN and infinity upset
        let finite = |coord: Coord<f64>| coord.x.is_finite() && coord.y.is_finite();
        if !geometry.is_empty() && !geometry.shape.coords_iter().all(finite) {
            return Err(value_error(
                "22023",
                format!(
                    "{name}: a {} has coordinates that are not finite",
                    geometry.kind()
                ),
            ));
        }
    }
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
