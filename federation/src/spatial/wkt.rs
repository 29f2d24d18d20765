//! Well-known text.

use geo::{
    Coord, Geometry as Shape, GeometryCollection, LineString, MultiLineString, MultiPoint, MultiPolygon,
    Point, Polygon,
};

use super::{Geometry, MOST_LEVELS, is_nowhere, known_srid, more_dimensions, too_deep};
use crate::error::FederationError;
use crate::values::read::value_error;

/// A text that is read from left to right.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    fn wrong(&self) -> FederationError {
        value_error("22023", "parse error - invalid geometry").with_hint(format!(
            "\"{}\" <-- parse error at position {} within geometry",
            &self.text[..self.at],
            self.at
        ))
    }

    fn eat(&mut self, mark: char) -> bool {
        let found = self.rest().starts_with(mark);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: char) -> Result<(), FederationError> {
        if self.eat(mark) { Ok(()) } else { Err(self.wrong()) }
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let length = rest
            .find(|character: char| !character.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        self.at += length;
        rest[..length].to_ascii_uppercase()
    }

    /// Whether `EMPTY` stands here, which is then read.
    fn empty(&mut self) -> bool {
        let start = self.at;
        let found = self.word() == "EMPTY";
        if !found {
            self.at = start;
        }
        found
    }

    fn number(&mut self) -> Result<f64, FederationError> {
        let rest = self.rest();
        let length = rest
            .find(|character: char| !(character.is_ascii_digit() || "+-.eE".contains(character)))
            .unwrap_or(rest.len());
        let number = rest[..length].parse().map_err(|_| self.wrong())?;
        self.at += length;
        Ok(number)
    }

    fn coord(&mut self) -> Result<Coord<f64>, FederationError> {
        let coord = Coord {
            x: self.number()?,
            y: self.number()?,
        };
        match self.rest().chars().next() {
            Some(next) if next.is_ascii_digit() || matches!(next, '+' | '-' | '.') => Err(more_dimensions()),
            _ => Ok(coord),
        }
    }

    /// `(item, …)` or `EMPTY`.
    fn many<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, FederationError>,
    ) -> Result<Vec<T>, FederationError> {
        let mut items = Vec::new();
        if self.empty() {
            return Ok(items);
        }
        self.expect('(')?;
        loop {
            items.push(item(self)?);
            if !self.eat(',') {
                break;
            }
        }
        self.expect(')')?;
        Ok(items)
    }

    fn line(&mut self) -> Result<LineString<f64>, FederationError> {
        let coords = self.many(Self::coord)?;
        if coords.len() == 1 {
            return Err(too_few());
        }
        Ok(LineString::new(coords))
    }

    fn ring(&mut self) -> Result<LineString<f64>, FederationError> {
        // a polygon may be empty, none of its rings
        if self.empty() {
            return Err(self.wrong());
        }
        let coords = self.many(Self::coord)?;
        if coords.first() != coords.last() {
            return Err(value_error("22023", "geometry contains non-closed rings"));
        }
        if (1..4).contains(&coords.len()) {
            return Err(too_few());
        }
        Ok(LineString::new(coords))
    }

    fn polygon(&mut self) -> Result<Polygon<f64>, FederationError> {
        let mut rings = self.many(Self::ring)?.into_iter();
        let outer = rings.next().unwrap_or_else(|| LineString::new(Vec::new()));
        Ok(Polygon::new(outer, rings.collect()))
    }

    /// `(1 2)` or `EMPTY`.
    fn point(&mut self) -> Result<Point<f64>, FederationError> {
        if self.empty() {
            return Ok(Point::new(f64::NAN, f64::NAN));
        }
        self.expect('(')?;
        let coord = self.coord()?;
        self.expect(')')?;
        Ok(Point(coord))
    }

    fn shape(&mut self, levels: usize) -> Result<Shape<f64>, FederationError> {
        if levels > MOST_LEVELS {
            return Err(too_deep());
        }
        let kind = self.word();
        let start = self.at;
        match self.word().as_str() {
            "" | "EMPTY" => self.at = start,
            "Z" | "M" | "ZM" => return Err(more_dimensions()),
            _ => {
                self.at = start;
                return Err(self.wrong());
            }
        }
        Ok(match kind.as_str() {
            "POINT" => self.point()?.into(),
            "LINESTRING" => self.line()?.into(),
            "POLYGON" => self.polygon()?.into(),
            // the points of a multipoint may stand without parentheses
            "MULTIPOINT" => MultiPoint::new(self.many(|reader| {
                let next = reader.rest();
                if next.starts_with('(') || next.starts_with(['E', 'e']) {
                    reader.point()
                } else {
                    reader.coord().map(Point)
                }
            })?)
            .into(),
            "MULTILINESTRING" => MultiLineString::new(self.many(Self::line)?).into(),
            "MULTIPOLYGON" => MultiPolygon::new(self.many(Self::polygon)?).into(),
            "GEOMETRYCOLLECTION" => Shape::GeometryCollection(GeometryCollection::from(
                self.many(|reader| reader.shape(levels + 1))?,
            )),
            _ => return Err(self.wrong()),
        })
    }
}

fn too_few() -> FederationError {
    value_error("22023", "geometry requires more points")
        .with_hint("A line has at least two points, the ring of a polygon four.")
}

pub(super) fn read(text: &str) -> Result<Geometry, FederationError> {
    let mut reader = Reader { text, at: 0 };
    let mut srid = 0;
    let rest = reader.rest();
    if rest
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("SRID="))
    {
        let (number, _) = rest[5..].split_once(';').ok_or_else(|| reader.wrong())?;
        srid = known_srid(number.trim().parse().map_err(|_| reader.wrong())?);
        reader.at += 5 + number.len() + 1;
    }
    let shape = reader.shape(0)?;
    if !reader.rest().is_empty() {
        return Err(reader.wrong());
    }
    Ok(Geometry { srid, shape })
}

/// A coordinate as PostGIS prints it: the fewest digits that say it, at most so many behind the point.
pub(crate) fn number(out: &mut String, value: f64, digits: usize) {
    let size = value.abs();
    if value == 0.0 {
        out.push('0');
    } else if size.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if size > 1e-8 && size < 1e15 {
        let text = rounded(&value.to_string(), digits);
        out.push_str(if text == "-0" { "0" } else { &text });
    } else {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((mantissa, exponent)) => {
                out.push_str(&rounded(mantissa, digits));
                out.push('e');
                if !exponent.starts_with('-') {
                    out.push('+');
                }
                out.push_str(exponent);
            }
            // NaN
            None => out.push_str(&text),
        }
    }
}

/// A decimal number with at most so many digits behind the point; what lies in the middle goes to the even digit.
fn rounded(shortest: &str, digits: usize) -> String {
    let Some((whole, places)) = shortest.split_once('.') else {
        return shortest.to_owned();
    };
    let Some((kept, cut)) = places.split_at_checked(digits) else {
        return shortest.to_owned();
    };
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let mut all: Vec<u8> = whole
        .trim_start_matches('-')
        .bytes()
        .chain(kept.bytes())
        .collect();
    // the character of an even digit is an even number
    let odd = all.last().is_some_and(|digit| digit % 2 == 1);
    let mut carry = match cut.as_bytes() {
        [] => false,
        b"5" => odd,
        [first, ..] => *first >= b'5',
    };
    for digit in all.iter_mut().rev() {
        if !carry {
            break;
        }
        carry = *digit == b'9';
        *digit = if carry { b'0' } else { *digit + 1 };
    }
    if carry {
        all.insert(0, b'1');
    }
    let mut out = sign.to_owned();
    let point = all.len() - digits;
    for (index, digit) in all.into_iter().enumerate() {
        if index == point {
            out.push('.');
        }
        out.push(char::from(digit));
    }
    if out.contains('.') {
        out.truncate(out.trim_end_matches('0').trim_end_matches('.').len());
    }
    out
}

pub(super) fn write(shape: &Shape<f64>, digits: usize, points: Points) -> String {
    let mut out = String::new();
    put(&mut out, shape, digits, points);
    out
}

/// How the points of a multipoint are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Points {
    /// `MULTIPOINT((1 2),(3 4))`, as the standard has it.
    Nested,
    /// `MULTIPOINT(1 2,3 4)`, as extended well-known text has it.
    Flat,
}

fn put_coord(out: &mut String, coord: Coord<f64>, digits: usize) {
    number(out, coord.x, digits);
    out.push(' ');
    number(out, coord.y, digits);
}

fn list<T>(out: &mut String, items: &[T], mut item: impl FnMut(&mut String, &T)) {
    if items.is_empty() {
        out.push_str("EMPTY");
        return;
    }
    for (index, each) in items.iter().enumerate() {
        out.push(if index == 0 { '(' } else { ',' });
        item(out, each);
    }
    out.push(')');
}

fn put_line(out: &mut String, line: &LineString<f64>, digits: usize) {
    list(out, &line.0, |out, coord| put_coord(out, *coord, digits));
}

fn put_polygon(out: &mut String, polygon: &Polygon<f64>, digits: usize) {
    if polygon.exterior().0.is_empty() {
        out.push_str("EMPTY");
        return;
    }
    let rings: Vec<&LineString<f64>> = std::iter::once(polygon.exterior())
        .chain(polygon.interiors())
        .collect();
    list(out, &rings, |out, ring| put_line(out, ring, digits));
}

fn put(out: &mut String, shape: &Shape<f64>, digits: usize, points: Points) {
    out.push_str(&super::kind(shape).to_ascii_uppercase());
    let start = out.len();
    match shape {
        Shape::Point(point) if is_nowhere(point.0) => out.push_str("EMPTY"),
        Shape::Point(point) => list(out, &[point.0], |out, coord| put_coord(out, *coord, digits)),
        Shape::Line(line) => put_line(out, &LineString::from(*line), digits),
        Shape::LineString(line) => put_line(out, line, digits),
        Shape::Polygon(polygon) => put_polygon(out, polygon, digits),
        Shape::Rect(rect) => put_polygon(out, &rect.to_polygon(), digits),
        Shape::Triangle(triangle) => put_polygon(out, &triangle.to_polygon(), digits),
        Shape::MultiPoint(parts) => list(out, &parts.0, |out, point| {
            if is_nowhere(point.0) {
                out.push_str("EMPTY");
            } else if points == Points::Flat {
                put_coord(out, point.0, digits);
            } else {
                list(out, &[point.0], |out, coord| put_coord(out, *coord, digits));
            }
        }),
        Shape::MultiLineString(lines) => list(out, &lines.0, |out, line| put_line(out, line, digits)),
        Shape::MultiPolygon(polygons) => {
            list(out, &polygons.0, |out, polygon| put_polygon(out, polygon, digits));
        }
        Shape::GeometryCollection(parts) => {
            list(out, &parts.0, |out, part| put(out, part, digits, points));
        }
    }
    if out[start..].starts_with('E') {
        out.insert(start, ' ');
    }
}
