//! Geometries of the plane, as PostGIS stores them.
//!
//! A value is carried as EWKB: well-known binary with the identifier of its reference system (SRID). Its text is the
//! same bytes in hexadecimal, and it is read from those or from well-known text with `SRID=…;` in front.

mod ewkb;
mod wkt;

use geo::{Coord, CoordsIter, Geometry as Shape};

use crate::error::FederationError;
use crate::values::read;
use crate::values::read::value_error;

pub(crate) use wkt::{Points, number};

/// How deep collections may nest, for reading one takes as many frames of the stack.
const MOST_LEVELS: usize = 64;

/// A geometry and its reference system; an empty point has coordinates that are no numbers, as in EWKB.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Geometry {
    /// 0 where it is unknown.
    pub(crate) srid: i32,
    pub(crate) shape: Shape<f64>,
}

impl Geometry {
    pub(crate) fn new(srid: i32, shape: impl Into<Shape<f64>>) -> Self {
        Self {
            srid,
            shape: shape.into(),
        }
    }

    /// Reads EWKB or WKB, in either byte order.
    ///
    /// # Errors
    /// 22023 for what is no geometry, 0A000 for one with Z or M.
    pub(crate) fn from_ewkb(bytes: &[u8]) -> Result<Self, FederationError> {
        ewkb::read(bytes)
    }

    /// EWKB, little-endian; without the SRID where it is unknown.
    pub(crate) fn ewkb(&self) -> Vec<u8> {
        ewkb::write(&self.shape, self.srid)
    }

    /// WKB, little-endian, which has no SRID.
    pub(crate) fn wkb(&self) -> Vec<u8> {
        ewkb::write(&self.shape, 0)
    }

    /// Reads well-known text, `SRID=…;` in front of it or not.
    ///
    /// # Errors
    /// As [`Geometry::from_ewkb`].
    pub(crate) fn from_wkt(text: &str) -> Result<Self, FederationError> {
        wkt::read(text)
    }

    /// What the type's input function reads: well-known text, or EWKB in hexadecimal.
    ///
    /// # Errors
    /// As [`Geometry::from_ewkb`].
    pub(crate) fn from_text(text: &str) -> Result<Self, FederationError> {
        let text = text.trim();
        if text.starts_with('0') {
            return Self::from_ewkb(&read::bytes::hex(text)?);
        }
        Self::from_wkt(text)
    }

    /// Well-known text with at most so many digits behind the point.
    pub(crate) fn wkt(&self, digits: usize, points: Points) -> String {
        wkt::write(&self.shape, digits, points)
    }

    /// Whether it has no point.
    pub(crate) fn is_empty(&self) -> bool {
        is_empty(&self.shape)
    }

    /// `Point`, `MultiPolygon`.
    pub(crate) fn kind(&self) -> &'static str {
        kind(&self.shape)
    }
}

pub(crate) fn is_empty(shape: &Shape<f64>) -> bool {
    shape.coords_iter().all(is_nowhere)
}

/// Whether this is the coordinate of an empty point.
pub(crate) fn is_nowhere(coord: Coord<f64>) -> bool {
    coord.x.is_nan() && coord.y.is_nan()
}

/// The SRID that PostGIS makes of a number: 0, unknown, of one below, and one of its last 999 of one past 999999.
pub(crate) fn known_srid(number: i32) -> i32 {
    if number > 999_999 {
        return 999_000 + number % 999;
    }
    number.max(0)
}

pub(crate) fn kind(shape: &Shape<f64>) -> &'static str {
    match shape {
        Shape::Point(_) => "Point",
        Shape::Line(_) | Shape::LineString(_) => "LineString",
        Shape::Polygon(_) | Shape::Rect(_) | Shape::Triangle(_) => "Polygon",
        Shape::MultiPoint(_) => "MultiPoint",
        Shape::MultiLineString(_) => "MultiLineString",
        Shape::MultiPolygon(_) => "MultiPolygon",
        Shape::GeometryCollection(_) => "GeometryCollection",
    }
}

fn more_dimensions() -> FederationError {
    value_error(
        "0A000",
        "geometries with Z or M are not supported: make them two-dimensional with ST_Force2D at the source",
    )
}

fn too_deep() -> FederationError {
    value_error(
        "54001",
        format!("geometry collections nest deeper than {MOST_LEVELS} levels"),
    )
}

#[cfg(test)]
mod tests;
