//! Numbers of one geometry.

use arrow::datatypes::{Float64Type, Int32Type};
use geo::{
    Area, Coord, CoordsIter, Euclidean, Geometry as Shape, HasDimensions, Length, LineString, Polygon,
};

use super::Body;
use super::build::bounds;
use crate::error::FederationError;
use crate::functions::scaffold::{Call, Function, GEOMETRY, Kind, Outcome, Returns, function, overload};
use crate::spatial::{Geometry, is_nowhere};
use crate::types;
use crate::values::read::value_error;

fn double(call: &Call<'_>, value: impl Fn(&Geometry) -> Result<Option<f64>, FederationError>) -> Outcome {
    call.each::<Float64Type>(|row| value(&call.geometry(0, row)?))
}

fn integer(call: &Call<'_>, value: impl Fn(&Geometry) -> Option<i32>) -> Outcome {
    call.each::<Int32Type>(|row| Ok(value(&call.geometry(0, row)?)))
}

/// The coordinate of a point; None of an empty one.
fn of_point(name: &str, geometry: &Geometry) -> Result<Option<Coord<f64>>, FederationError> {
    match &geometry.shape {
        Shape::Point(_) if geometry.is_empty() => Ok(None),
        Shape::Point(point) => Ok(Some(point.0)),
        _ => Err(value_error(
            "22023",
            format!("Argument to {name}() must have type POINT"),
        )),
    }
}

fn x(call: &Call<'_>) -> Outcome {
    double(call, |geometry| {
        Ok(of_point("ST_X", geometry)?.map(|coord| coord.x))
    })
}

fn y(call: &Call<'_>) -> Outcome {
    double(call, |geometry| {
        Ok(of_point("ST_Y", geometry)?.map(|coord| coord.y))
    })
}

fn x_min(call: &Call<'_>) -> Outcome {
    double(call, |geometry| Ok(bounds(geometry).map(|rect| rect.min().x)))
}

fn x_max(call: &Call<'_>) -> Outcome {
    double(call, |geometry| Ok(bounds(geometry).map(|rect| rect.max().x)))
}

fn y_min(call: &Call<'_>) -> Outcome {
    double(call, |geometry| Ok(bounds(geometry).map(|rect| rect.min().y)))
}

fn y_max(call: &Call<'_>) -> Outcome {
    double(call, |geometry| Ok(bounds(geometry).map(|rect| rect.max().y)))
}

fn area(call: &Call<'_>) -> Outcome {
    double(call, |geometry| Ok(Some(geometry.shape.unsigned_area())))
}

/// The length of lines; that of polygons is their perimeter's.
fn line_length(shape: &Shape<f64>) -> f64 {
    match shape {
        Shape::Line(line) => Euclidean.length(line),
        Shape::LineString(line) => Euclidean.length(line),
        Shape::MultiLineString(lines) => Euclidean.length(lines),
        Shape::GeometryCollection(parts) => parts.iter().map(line_length).sum(),
        _ => 0.0,
    }
}

fn rings(polygon: &Polygon<f64>) -> f64 {
    let length = |ring: &LineString<f64>| Euclidean.length(ring);
    length(polygon.exterior()) + polygon.interiors().iter().map(length).sum::<f64>()
}

fn ring_length(shape: &Shape<f64>) -> f64 {
    match shape {
        Shape::Polygon(polygon) => rings(polygon),
        Shape::MultiPolygon(polygons) => polygons.iter().map(rings).sum(),
        Shape::GeometryCollection(parts) => parts.iter().map(ring_length).sum(),
        _ => 0.0,
    }
}

fn length(call: &Call<'_>) -> Outcome {
    double(call, |geometry| Ok(Some(line_length(&geometry.shape))))
}

fn perimeter(call: &Call<'_>) -> Outcome {
    double(call, |geometry| Ok(Some(ring_length(&geometry.shape))))
}

fn srid(call: &Call<'_>) -> Outcome {
    integer(call, |geometry| Some(geometry.srid))
}

/// Of a line alone, as the standard has it.
fn num_points(call: &Call<'_>) -> Outcome {
    integer(call, |geometry| match &geometry.shape {
        Shape::LineString(line) => Some(line.0.len() as i32),
        _ => None,
    })
}

fn n_points(call: &Call<'_>) -> Outcome {
    integer(call, |geometry| {
        let points = geometry.shape.coords_iter().filter(|coord| !is_nowhere(*coord));
        Some(points.count() as i32)
    })
}

fn num_geometries(call: &Call<'_>) -> Outcome {
    integer(call, |geometry| {
        Some(match &geometry.shape {
            Shape::MultiPoint(parts) => parts.0.len() as i32,
            Shape::MultiLineString(parts) => parts.0.len() as i32,
            Shape::MultiPolygon(parts) => parts.0.len() as i32,
            Shape::GeometryCollection(parts) => parts.0.len() as i32,
            _ => i32::from(!geometry.is_empty()),
        })
    })
}

/// Of an empty geometry that of its type.
fn dimension(call: &Call<'_>) -> Outcome {
    integer(call, |geometry| {
        Some(match &geometry.shape {
            Shape::Point(_) | Shape::MultiPoint(_) => 0,
            Shape::Line(_) | Shape::LineString(_) | Shape::MultiLineString(_) => 1,
            Shape::GeometryCollection(_) => match geometry.shape.dimensions() {
                geo::dimensions::Dimensions::OneDimensional => 1,
                geo::dimensions::Dimensions::TwoDimensional => 2,
                _ => 0,
            },
            _ => 2,
        })
    })
}

fn empty(call: &Call<'_>) -> Outcome {
    call.truth(|row| Ok(Some(call.geometry(0, row)?.is_empty())))
}

pub(super) fn functions() -> Vec<Function> {
    const ONE: &[Kind] = &[GEOMETRY];
    const FLOAT: Returns = Returns::Type(&types::FLOAT8);
    const NUMBER: Returns = Returns::Type(&types::INT4);
    let numbers: [(&str, Returns, Body); 15] = [
        ("st_x", FLOAT, x),
        ("st_y", FLOAT, y),
        ("st_xmin", FLOAT, x_min),
        ("st_xmax", FLOAT, x_max),
        ("st_ymin", FLOAT, y_min),
        ("st_ymax", FLOAT, y_max),
        ("st_area", FLOAT, area),
        ("st_length", FLOAT, length),
        ("st_perimeter", FLOAT, perimeter),
        ("st_srid", NUMBER, srid),
        ("st_numpoints", NUMBER, num_points),
        ("st_npoints", NUMBER, n_points),
        ("st_numgeometries", NUMBER, num_geometries),
        ("st_dimension", NUMBER, dimension),
        ("st_isempty", Returns::Type(&types::BOOL), empty),
    ];
    numbers
        .into_iter()
        .map(|(name, returns, body)| function(name, [overload(ONE, returns, body)]))
        .collect()
}
