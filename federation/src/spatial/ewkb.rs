//! Well-known binary, with PostGIS's flags for the SRID and further dimensions.

use geo::{
    Coord, Geometry as Shape, GeometryCollection, LineString, MultiLineString, MultiPoint, MultiPolygon,
    Point, Polygon,
};

use super::{Geometry, MOST_LEVELS, known_srid, more_dimensions, too_deep};
use crate::error::FederationError;
use crate::values::read::value_error;

const HAS_Z: u32 = 0x8000_0000;
const HAS_M: u32 = 0x4000_0000;
const HAS_SRID: u32 = 0x2000_0000;

/// What is left to read.
struct Reader<'a> {
    rest: &'a [u8],
    little: bool,
}

fn broken(message: &str) -> FederationError {
    value_error("22023", format!("invalid WKB geometry: {message}"))
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FederationError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| broken("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn integer(&mut self) -> Result<u32, FederationError> {
        let bytes = self.take()?;
        Ok(if self.little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    fn double(&mut self) -> Result<f64, FederationError> {
        let bytes = self.take()?;
        Ok(if self.little {
            f64::from_le_bytes(bytes)
        } else {
            f64::from_be_bytes(bytes)
        })
    }

    fn coord(&mut self) -> Result<Coord<f64>, FederationError> {
        Ok(Coord {
            x: self.double()?,
            y: self.double()?,
        })
    }

    /// As many items as the count in front of them says; the count alone reserves no memory.
    fn many<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, FederationError>,
    ) -> Result<Vec<T>, FederationError> {
        let count = self.integer()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn line(&mut self) -> Result<LineString<f64>, FederationError> {
        Ok(LineString::new(self.many(Self::coord)?))
    }

    fn polygon(&mut self) -> Result<Polygon<f64>, FederationError> {
        let mut rings = self.many(Self::line)?.into_iter();
        let outer = rings.next().unwrap_or_else(|| LineString::new(Vec::new()));
        Ok(Polygon::new(outer, rings.collect()))
    }

    fn shape(&mut self, levels: usize) -> Result<(i32, Shape<f64>), FederationError> {
        if levels > MOST_LEVELS {
            return Err(too_deep());
        }
        self.little = match self.take::<1>()? {
            [0] => false,
            [1] => true,
            [other] => return Err(broken(&format!("byte order {other} is neither 0 nor 1"))),
        };
        let code = self.integer()?;
        let kind = code & !(HAS_Z | HAS_M | HAS_SRID);
        // ISO counts dimensions in thousands
        if code & (HAS_Z | HAS_M) != 0 || (1001..=3017).contains(&kind) {
            return Err(more_dimensions());
        }
        let srid = if code & HAS_SRID == 0 {
            0
        } else {
            known_srid(self.integer()?.cast_signed())
        };
        let part = |reader: &mut Self| reader.shape(levels + 1).map(|(_, shape)| shape);
        let unexpected = |shape: &Shape<f64>| broken(&format!("it holds a {}", super::kind(shape)));
        let shape = match kind {
            1 => Point(self.coord()?).into(),
            2 => self.line()?.into(),
            3 => self.polygon()?.into(),
            4 => MultiPoint::new(self.many(|reader| match part(reader)? {
                Shape::Point(point) => Ok(point),
                other => Err(unexpected(&other)),
            })?)
            .into(),
            5 => MultiLineString::new(self.many(|reader| match part(reader)? {
                Shape::LineString(line) => Ok(line),
                other => Err(unexpected(&other)),
            })?)
            .into(),
            6 => MultiPolygon::new(self.many(|reader| match part(reader)? {
                Shape::Polygon(polygon) => Ok(polygon),
                other => Err(unexpected(&other)),
            })?)
            .into(),
            7 => Shape::GeometryCollection(GeometryCollection::from(self.many(part)?)),
            other => return Err(broken(&format!("type {other} is not supported"))),
        };
        Ok((srid, shape))
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Geometry, FederationError> {
    let mut reader = Reader {
        rest: bytes,
        little: true,
    };
    let (srid, shape) = reader.shape(0)?;
    Ok(Geometry { srid, shape })
}

pub(super) fn write(shape: &Shape<f64>, srid: i32) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, shape, srid);
    out
}

fn count(out: &mut Vec<u8>, count: usize) {
    // a value is below 2 GiB, and an item has more than a byte
    out.extend((count as u32).to_le_bytes());
}

fn put_coord(out: &mut Vec<u8>, coord: Coord<f64>) {
    out.extend(coord.x.to_le_bytes());
    out.extend(coord.y.to_le_bytes());
}

fn put_line(out: &mut Vec<u8>, line: &LineString<f64>) {
    count(out, line.0.len());
    for coord in &line.0 {
        put_coord(out, *coord);
    }
}

fn put_polygon(out: &mut Vec<u8>, polygon: &Polygon<f64>) {
    if polygon.exterior().0.is_empty() {
        return count(out, 0);
    }
    count(out, 1 + polygon.interiors().len());
    put_line(out, polygon.exterior());
    for ring in polygon.interiors() {
        put_line(out, ring);
    }
}

fn put(out: &mut Vec<u8>, shape: &Shape<f64>, srid: i32) {
    let mut begin = |code: u32| {
        out.push(1);
        if srid == 0 {
            out.extend(code.to_le_bytes());
        } else {
            out.extend((code | HAS_SRID).to_le_bytes());
            out.extend(srid.to_le_bytes());
        }
    };
    match shape {
        Shape::Point(point) => {
            begin(1);
            put_coord(out, point.0);
        }
        Shape::Line(line) => {
            begin(2);
            put_line(out, &LineString::from(*line));
        }
        Shape::LineString(line) => {
            begin(2);
            put_line(out, line);
        }
        Shape::Polygon(polygon) => {
            begin(3);
            put_polygon(out, polygon);
        }
        Shape::Rect(rect) => {
            begin(3);
            put_polygon(out, &rect.to_polygon());
        }
        Shape::Triangle(triangle) => {
            begin(3);
            put_polygon(out, &triangle.to_polygon());
        }
        Shape::MultiPoint(points) => {
            begin(4);
            count(out, points.0.len());
            for point in &points.0 {
                put(out, &Shape::Point(*point), 0);
            }
        }
        Shape::MultiLineString(lines) => {
            begin(5);
            count(out, lines.0.len());
            for line in &lines.0 {
                put(out, &Shape::LineString(line.clone()), 0);
            }
        }
        Shape::MultiPolygon(polygons) => {
            begin(6);
            count(out, polygons.0.len());
            for polygon in &polygons.0 {
                put(out, &Shape::Polygon(polygon.clone()), 0);
            }
        }
        Shape::GeometryCollection(parts) => {
            begin(7);
            count(out, parts.0.len());
            for part in &parts.0 {
                put(out, part, 0);
            }
        }
    }
}
