//! What prints geometries.

use std::fmt::Write as _;

use arrow::datatypes::Int32Type;
use geo::{Coord, Geometry as Shape, LineString, Polygon};

use crate::functions::scaffold::{Call, Function, GEOMETRY, INT4, Outcome, Returns, function, overload};
use crate::spatial::{Geometry, Points, is_nowhere, number};
use crate::types;

/// Digits behind the point that ST_AsText prints at most.
const TEXT_DIGITS: i32 = 15;
/// Digits behind the point that ST_AsGeoJSON prints at most: a tenth of a millimetre on the ground in degrees.
const JSON_DIGITS: i32 = 9;

/// The SRID of longitudes and latitudes.
const WGS_84: i32 = 4326;

/// The digits that an optional second argument gives.
fn digits(call: &Call<'_>, row: usize, default: i32) -> usize {
    let digits = call
        .values_if::<Int32Type>(1)
        .map_or(default, |digits| digits.get(row));
    digits.max(0).unsigned_abs() as usize
}

fn as_text(call: &Call<'_>) -> Outcome {
    call.text(|row, out| {
        out.push_str(
            &call
                .geometry(0, row)?
                .wkt(digits(call, row, TEXT_DIGITS), Points::Nested),
        );
        Ok(true)
    })
}

fn as_ewkt(call: &Call<'_>) -> Outcome {
    call.text(|row, out| {
        let geometry = call.geometry(0, row)?;
        if geometry.srid != 0 {
            // writing to a string does not fail
            let _ = write!(out, "SRID={};", geometry.srid);
        }
        out.push_str(&geometry.wkt(digits(call, row, TEXT_DIGITS), Points::Flat));
        Ok(true)
    })
}

fn as_binary(call: &Call<'_>) -> Outcome {
    call.bytes(|row| Ok(Some(call.geometry(0, row)?.wkb())))
}

fn as_ewkb(call: &Call<'_>) -> Outcome {
    call.bytes(|row| Ok(Some(call.geometry(0, row)?.ewkb())))
}

fn geometry_type(call: &Call<'_>) -> Outcome {
    call.text(|row, out| {
        out.push_str("ST_");
        out.push_str(call.geometry(0, row)?.kind());
        Ok(true)
    })
}

fn plain_type(call: &Call<'_>) -> Outcome {
    call.text(|row, out| {
        out.push_str(&call.geometry(0, row)?.kind().to_ascii_uppercase());
        Ok(true)
    })
}

fn as_geo_json(call: &Call<'_>) -> Outcome {
    call.text(|row, out| {
        let Geometry { srid, shape } = call.geometry(0, row)?;
        put(out, &shape, digits(call, row, JSON_DIGITS), srid);
        Ok(true)
    })
}

fn list<'a, T: 'a>(
    out: &mut String,
    items: impl IntoIterator<Item = &'a T>,
    mut item: impl FnMut(&mut String, &T),
) {
    out.push('[');
    for (index, each) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        item(out, each);
    }
    out.push(']');
}

fn put_coord(out: &mut String, coord: Coord<f64>, digits: usize) {
    out.push('[');
    if !is_nowhere(coord) {
        number(out, coord.x, digits);
        out.push(',');
        number(out, coord.y, digits);
    }
    out.push(']');
}

fn put_line(out: &mut String, line: &LineString<f64>, digits: usize) {
    list(out, &line.0, |out, coord| put_coord(out, *coord, digits));
}

fn put_polygon(out: &mut String, polygon: &Polygon<f64>, digits: usize) {
    let outer = (!polygon.exterior().0.is_empty()).then(|| polygon.exterior());
    list(out, outer.into_iter().chain(polygon.interiors()), |out, ring| {
        put_line(out, ring, digits);
    });
}

/// With the SRID of the whole, for its parts have none of their own.
fn put(out: &mut String, shape: &Shape<f64>, digits: usize, srid: i32) {
    out.push_str("{\"type\":\"");
    out.push_str(crate::spatial::kind(shape));
    out.push('"');
    // GeoJSON is WGS 84 where it does not say otherwise
    if ![0, WGS_84].contains(&srid) {
        // writing to a string does not fail
        let _ = write!(
            out,
            ",\"crs\":{{\"type\":\"name\",\"properties\":{{\"name\":\"EPSG:{srid}\"}}}}"
        );
    }
    out.push_str(if matches!(shape, Shape::GeometryCollection(_)) {
        ",\"geometries\":"
    } else {
        ",\"coordinates\":"
    });
    match shape {
        Shape::Point(point) => put_coord(out, point.0, digits),
        Shape::Line(line) => put_line(out, &LineString::from(*line), digits),
        Shape::LineString(line) => put_line(out, line, digits),
        Shape::Polygon(polygon) => put_polygon(out, polygon, digits),
        Shape::Rect(rect) => put_polygon(out, &rect.to_polygon(), digits),
        Shape::Triangle(triangle) => put_polygon(out, &triangle.to_polygon(), digits),
        Shape::MultiPoint(points) => list(out, &points.0, |out, point| put_coord(out, point.0, digits)),
        Shape::MultiLineString(lines) => list(out, &lines.0, |out, line| put_line(out, line, digits)),
        Shape::MultiPolygon(polygons) => {
            list(out, &polygons.0, |out, polygon| put_polygon(out, polygon, digits));
        }
        Shape::GeometryCollection(parts) => list(out, &parts.0, |out, part| put(out, part, digits, 0)),
    }
    out.push('}');
}

pub(super) fn functions() -> Vec<Function> {
    const STRING: Returns = Returns::Type(&types::TEXT);
    const BYTES: Returns = Returns::Type(&types::BYTEA);
    let digits = |body| overload(&[GEOMETRY, INT4], STRING, body).optional(1);
    vec![
        function("st_astext", [digits(as_text)]),
        function("st_asewkt", [digits(as_ewkt)]),
        function("st_asgeojson", [digits(as_geo_json)]),
        function("st_asbinary", [overload(&[GEOMETRY], BYTES, as_binary)]),
        function("st_asewkb", [overload(&[GEOMETRY], BYTES, as_ewkb)]),
        function("st_geometrytype", [overload(&[GEOMETRY], STRING, geometry_type)]),
        function("geometrytype", [overload(&[GEOMETRY], STRING, plain_type)]),
    ]
}
