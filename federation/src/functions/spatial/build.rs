//! What makes geometries.

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type};
use geo::{BoundingRect, Centroid, Coord, Geometry as Shape, LineString, Point, Rect};

use super::same_srid;
use crate::error::FederationError;
use crate::functions::scaffold::{
    BYTEA, Call, FLOAT8, Function, GEOMETRY, INT4, Outcome, Returns, TEXT, function, overload,
};
use crate::spatial::{Geometry, is_nowhere, known_srid};
use crate::types;
use crate::values::read::value_error;

const RESULT: Returns = Returns::Type(&types::GEOMETRY);

/// The SRID that an optional argument gives.
fn srid(call: &Call<'_>, index: usize, row: usize) -> Option<i32> {
    call.values_if::<Int32Type>(index)
        .map(|srids| known_srid(srids.get(row)))
}

fn point(call: &Call<'_>) -> Outcome {
    let (x, y) = (call.values::<Float64Type>(0), call.values::<Float64Type>(1));
    call.bytes(|row| {
        let srid = srid(call, 2, row).unwrap_or_default();
        Ok(Some(
            Geometry::new(srid, Point::new(x.get(row), y.get(row))).ewkb(),
        ))
    })
}

fn make_envelope(call: &Call<'_>) -> Outcome {
    let sides = [0, 1, 2, 3].map(|index| call.values::<Float64Type>(index));
    call.bytes(|row| {
        let [x1, y1, x2, y2] = [0, 1, 2, 3].map(|index| sides[index].get(row));
        let srid = srid(call, 4, row).unwrap_or_default();
        Ok(Some(Geometry::new(srid, ring(x1, y1, x2, y2)).ewkb()))
    })
}

/// A rectangle, clockwise from its lower left as PostGIS makes it.
fn ring(x1: f64, y1: f64, x2: f64, y2: f64) -> geo::Polygon<f64> {
    let corners = vec![(x1, y1), (x1, y2), (x2, y2), (x2, y1), (x1, y1)];
    geo::Polygon::new(LineString::from(corners), Vec::new())
}

fn make_line(call: &Call<'_>) -> Outcome {
    call.bytes(|row| {
        let (left, right) = (call.geometry(0, row)?, call.geometry(1, row)?);
        same_srid("ST_MakeLine", &left, &right)?;
        let mut coords: Vec<Coord<f64>> = Vec::new();
        for shape in [&left.shape, &right.shape] {
            match shape {
                Shape::Point(point) => coords.push(point.0),
                Shape::LineString(line) => coords.extend(&line.0),
                _ => {
                    return Err(value_error(
                        "22023",
                        "ST_MakeLine: Input geometries must be points or lines",
                    ));
                }
            }
        }
        coords.retain(|coord| !is_nowhere(*coord));
        Ok(Some(Geometry::new(left.srid, LineString::new(coords)).ewkb()))
    })
}

fn from_text(call: &Call<'_>) -> Outcome {
    let texts = call.texts(0);
    call.bytes(|row| {
        let mut geometry = Geometry::from_wkt(texts.get(row))?;
        if let Some(srid) = srid(call, 1, row) {
            geometry.srid = srid;
        }
        Ok(Some(geometry.ewkb()))
    })
}

fn from_wkb(call: &Call<'_>) -> Outcome {
    let argument = &call.arguments[0];
    let values = argument.array.as_binary::<i32>();
    call.bytes(|row| {
        let mut geometry = Geometry::from_ewkb(values.value(argument.at(row)))?;
        if let Some(srid) = srid(call, 1, row) {
            geometry.srid = srid;
        }
        Ok(Some(geometry.ewkb()))
    })
}

fn set_srid(call: &Call<'_>) -> Outcome {
    let srids = call.values::<Int32Type>(1);
    call.bytes(|row| {
        let geometry = call.geometry(0, row)?;
        Ok(Some(
            Geometry::new(known_srid(srids.get(row)), geometry.shape).ewkb(),
        ))
    })
}

fn each(call: &Call<'_>, make: impl Fn(Geometry) -> Result<Geometry, FederationError>) -> Outcome {
    call.bytes(|row| Ok(Some(make(call.geometry(0, row)?)?.ewkb())))
}

fn envelope(call: &Call<'_>) -> Outcome {
    each(call, |geometry| {
        let Some(rect) = (!geometry.is_empty())
            .then(|| geometry.shape.bounding_rect())
            .flatten()
        else {
            return Ok(geometry);
        };
        let (least, most) = (rect.min(), rect.max());
        // what has no width or no height is a point or a line
        let shape: Shape<f64> = if least == most {
            Point(least).into()
        } else if rect.width() == 0.0 || rect.height() == 0.0 {
            LineString::new(vec![least, most]).into()
        } else {
            ring(least.x, least.y, most.x, most.y).into()
        };
        Ok(Geometry::new(geometry.srid, shape))
    })
}

fn centroid(call: &Call<'_>) -> Outcome {
    each(call, |geometry| {
        let center = (!geometry.is_empty())
            .then(|| geometry.shape.centroid())
            .flatten()
            .unwrap_or_else(|| Point::new(f64::NAN, f64::NAN));
        Ok(Geometry::new(geometry.srid, center))
    })
}

/// The box around a geometry; None around an empty one.
pub(super) fn bounds(geometry: &Geometry) -> Option<Rect<f64>> {
    if geometry.is_empty() {
        return None;
    }
    geometry.shape.bounding_rect()
}

pub(super) fn functions() -> Vec<Function> {
    let text = || overload(&[TEXT, INT4], RESULT, from_text).optional(1);
    let wkb = || overload(&[BYTEA, INT4], RESULT, from_wkb).optional(1);
    vec![
        function(
            "st_point",
            [overload(&[FLOAT8, FLOAT8, INT4], RESULT, point).optional(1)],
        ),
        function("st_makepoint", [overload(&[FLOAT8, FLOAT8], RESULT, point)]),
        function(
            "st_makeenvelope",
            [overload(&[FLOAT8, FLOAT8, FLOAT8, FLOAT8, INT4], RESULT, make_envelope).optional(1)],
        ),
        function(
            "st_makeline",
            [overload(&[GEOMETRY, GEOMETRY], RESULT, make_line)],
        ),
        function("st_geomfromtext", [text()]),
        function("st_geometryfromtext", [text()]),
        function("st_geomfromewkt", [overload(&[TEXT], RESULT, from_text)]),
        function("st_geomfromwkb", [wkb()]),
        function("st_geomfromewkb", [overload(&[BYTEA], RESULT, from_wkb)]),
        function("st_setsrid", [overload(&[GEOMETRY, INT4], RESULT, set_srid)]),
        function("st_envelope", [overload(&[GEOMETRY], RESULT, envelope)]),
        function("st_centroid", [overload(&[GEOMETRY], RESULT, centroid)]),
    ]
}
