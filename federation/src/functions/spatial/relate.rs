//! How two geometries lie to each other, by the nine intersections of their insides, boundaries and outsides.

use arrow::datatypes::Float64Type;
use geo::relate::IntersectionMatrix;
use geo::{Distance, Euclidean, Relate};

use super::{Body, pair};
use crate::functions::scaffold::{
    Call, FLOAT8, Function, GEOMETRY, Kind, Outcome, Returns, function, overload,
};
use crate::types;
use crate::values::read::value_error;

/// Nothing lies in an empty geometry and it lies in nothing.
fn relate(call: &Call<'_>, name: &str, holds: fn(&IntersectionMatrix) -> bool) -> Outcome {
    call.truth(|row| {
        let (left, right) = pair(call, row, name)?;
        if left.is_empty() || right.is_empty() {
            return Ok(Some(false));
        }
        Ok(Some(holds(&left.shape.relate(&right.shape))))
    })
}

fn contains(call: &Call<'_>) -> Outcome {
    relate(call, "ST_Contains", IntersectionMatrix::is_contains)
}

fn within(call: &Call<'_>) -> Outcome {
    relate(call, "ST_Within", IntersectionMatrix::is_within)
}

fn intersects(call: &Call<'_>) -> Outcome {
    relate(call, "ST_Intersects", IntersectionMatrix::is_intersects)
}

fn covers(call: &Call<'_>) -> Outcome {
    relate(call, "ST_Covers", IntersectionMatrix::is_covers)
}

fn covered_by(call: &Call<'_>) -> Outcome {
    relate(call, "ST_CoveredBy", IntersectionMatrix::is_coveredby)
}

fn touches(call: &Call<'_>) -> Outcome {
    relate(call, "ST_Touches", IntersectionMatrix::is_touches)
}

fn crosses(call: &Call<'_>) -> Outcome {
    relate(call, "ST_Crosses", IntersectionMatrix::is_crosses)
}

fn overlaps(call: &Call<'_>) -> Outcome {
    relate(call, "ST_Overlaps", IntersectionMatrix::is_overlaps)
}

fn disjoint(call: &Call<'_>) -> Outcome {
    call.truth(|row| {
        let (left, right) = pair(call, row, "ST_Disjoint")?;
        let apart = left.is_empty() || right.is_empty() || left.shape.relate(&right.shape).is_disjoint();
        Ok(Some(apart))
    })
}

fn equals(call: &Call<'_>) -> Outcome {
    call.truth(|row| {
        let (left, right) = pair(call, row, "ST_Equals")?;
        Ok(Some(match (left.is_empty(), right.is_empty()) {
            (true, true) => true,
            (false, false) => left.shape.relate(&right.shape).is_equal_topo(),
            _ => false,
        }))
    })
}

fn distance(call: &Call<'_>) -> Outcome {
    call.each::<Float64Type>(|row| {
        let (left, right) = pair(call, row, "ST_Distance")?;
        if left.is_empty() || right.is_empty() {
            return Ok(None);
        }
        Ok(Some(Euclidean.distance(&left.shape, &right.shape)))
    })
}

fn d_within(call: &Call<'_>) -> Outcome {
    let limits = call.values::<Float64Type>(2);
    call.truth(|row| {
        let (left, right) = pair(call, row, "ST_DWithin")?;
        let limit = limits.get(row);
        if limit < 0.0 {
            return Err(value_error(
                "22023",
                "ST_DWithin: Tolerance cannot be less than zero",
            ));
        }
        if left.is_empty() || right.is_empty() {
            return Ok(Some(false));
        }
        Ok(Some(Euclidean.distance(&left.shape, &right.shape) <= limit))
    })
}

pub(super) fn functions() -> Vec<Function> {
    const PAIR: &[Kind] = &[GEOMETRY, GEOMETRY];
    const BOOLEAN: Returns = Returns::Type(&types::BOOL);
    let predicates: [(&str, Body); 10] = [
        ("st_contains", contains),
        ("st_within", within),
        ("st_intersects", intersects),
        ("st_covers", covers),
        ("st_coveredby", covered_by),
        ("st_touches", touches),
        ("st_crosses", crosses),
        ("st_overlaps", overlaps),
        ("st_disjoint", disjoint),
        ("st_equals", equals),
    ];
    let mut all: Vec<Function> = predicates
        .into_iter()
        .map(|(name, body)| function(name, [overload(PAIR, BOOLEAN, body)]))
        .collect();
    all.push(function(
        "st_distance",
        [overload(PAIR, Returns::Type(&types::FLOAT8), distance)],
    ));
    all.push(function(
        "st_dwithin",
        [overload(&[GEOMETRY, GEOMETRY, FLOAT8], BOOLEAN, d_within)],
    ));
    all
}
