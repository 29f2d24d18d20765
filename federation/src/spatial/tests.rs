use super::*;

/// Texts and what they print as, from PostGIS 3.3.2.
const TEXTS: &[(&str, &str)] = &[
    ("POINT(1 2)", "POINT(1 2)"),
    ("point ( 1.50  -2e3 )", "POINT(1.5 -2000)"),
    ("POINT EMPTY", "POINT EMPTY"),
    ("LINESTRING(0 0, 1 1, 2 1)", "LINESTRING(0 0,1 1,2 1)"),
    (
        "POLYGON((0 0,0 4,4 4,4 0,0 0),(1 1,2 1,2 2,1 2,1 1))",
        "POLYGON((0 0,0 4,4 4,4 0,0 0),(1 1,2 1,2 2,1 2,1 1))",
    ),
    ("POLYGON EMPTY", "POLYGON EMPTY"),
    ("MULTIPOINT(1 2, (3 4), EMPTY)", "MULTIPOINT((1 2),(3 4),EMPTY)"),
    (
        "MULTILINESTRING((0 0,1 1),(2 2,3 3))",
        "MULTILINESTRING((0 0,1 1),(2 2,3 3))",
    ),
    (
        "MULTIPOLYGON(((0 0,0 1,1 1,0 0)),((5 5,5 6,6 6,5 5)))",
        "MULTIPOLYGON(((0 0,0 1,1 1,0 0)),((5 5,5 6,6 6,5 5)))",
    ),
    (
        "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING EMPTY)",
        "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING EMPTY)",
    ),
    ("GEOMETRYCOLLECTION EMPTY", "GEOMETRYCOLLECTION EMPTY"),
    ("POINT(0.30000000000000004 1e15)", "POINT(0.3 1e+15)"),
    ("POINT(123456.789012345678 -0.0)", "POINT(123456.78901234567 0)"),
];

#[test]
fn texts_and_bytes_say_the_same() {
    for (text, expected) in TEXTS {
        let geometry = Geometry::from_wkt(text).unwrap();
        assert_eq!(geometry.wkt(15, Points::Nested), *expected, "{text}");
        let located = Geometry::new(4326, geometry.shape);
        let read = Geometry::from_ewkb(&located.ewkb()).unwrap();
        assert_eq!(
            (read.srid, read.wkt(15, Points::Nested).as_str()),
            (4326, *expected),
            "{text}"
        );
        assert_eq!(Geometry::from_ewkb(&located.wkb()).unwrap().srid, 0);
    }
}

#[test]
fn bytes_are_those_of_postgis() {
    let hexadecimal = |geometry: &Geometry| -> String {
        geometry.ewkb().iter().map(|byte| format!("{byte:02X}")).collect()
    };
    let point = Geometry::from_text("SRID=4326;POINT(1 2)").unwrap();
    let stored = "0101000020E6100000000000000000F03F0000000000000040";
    assert_eq!(hexadecimal(&point), stored);
    assert_eq!(Geometry::from_text(stored).unwrap(), point);
    // big-endian
    let other = Geometry::from_text("00000000013FF00000000000004000000000000000").unwrap();
    assert_eq!(other.wkt(15, Points::Nested), "POINT(1 2)");
}

#[test]
fn digits_behind_the_point_are_cut() {
    let point = Geometry::from_wkt("POINT(111.1111111 -1.0001)").unwrap();
    assert_eq!(point.wkt(2, Points::Nested), "POINT(111.11 -1)");
    assert_eq!(point.wkt(0, Points::Nested), "POINT(111 -1)");
    for (text, digits, expected) in [
        ("POINT(2.55 2.45)", 1, "POINT(2.6 2.4)"),
        ("POINT(1.005 1.015)", 2, "POINT(1 1.02)"),
        ("POINT(9.9999996e-9 0.99999)", 3, "POINT(10e-9 1)"),
        ("POINT(2.5 3.5)", 0, "POINT(2 4)"),
        ("POINT(1.23456e20 -0.0001)", 3, "POINT(1.235e+20 0)"),
        (
            "POINT(0.1234567890123456789 1e-8)",
            20,
            "POINT(0.12345678901234568 1e-8)",
        ),
        ("POINT(1e-7 1e14)", 15, "POINT(0.0000001 100000000000000)"),
    ] {
        let point = Geometry::from_wkt(text).unwrap();
        assert_eq!(point.wkt(digits, Points::Nested), expected, "{text}");
    }
}

#[test]
fn points_of_a_multipoint_stand_in_parentheses_or_not() {
    let points = Geometry::from_wkt("MULTIPOINT(1 2,3 4)").unwrap();
    assert_eq!(points.wkt(15, Points::Nested), "MULTIPOINT((1 2),(3 4))");
    assert_eq!(points.wkt(15, Points::Flat), "MULTIPOINT(1 2,3 4)");
}

#[test]
fn srids_are_kept_within_those_of_postgis() {
    for (text, expected) in [
        ("SRID=-5;POINT(1 2)", 0),
        ("SRID=999999;POINT(1 2)", 999_999),
        ("SRID=999999999;POINT(1 2)", 999_000),
    ] {
        assert_eq!(Geometry::from_text(text).unwrap().srid, expected, "{text}");
    }
}

#[test]
fn what_is_no_geometry_is_refused() {
    let deep = format!("{}POINT(1 2){}", "GEOMETRYCOLLECTION(".repeat(70), ")".repeat(70));
    for (text, sqlstate) in [
        ("", "22023"),
        ("POINT", "22023"),
        ("POINT(1", "22023"),
        ("POINT(1 2) x", "22023"),
        ("POINT(1 2", "22023"),
        ("CIRCLE(1 2)", "22023"),
        ("SRID=x;POINT(1 2)", "22023"),
        ("LINESTRING(0 0)", "22023"),
        ("POLYGON((0 0,1 1,1 0))", "22023"),
        ("POLYGON((0 0,1 1,1 0,0 0),EMPTY)", "22023"),
        ("PÖINT(1 2)", "22023"),
        ("POINT Z (1 2 3)", "0A000"),
        ("POINT(1 2 3)", "0A000"),
        ("0101", "22023"),
        ("0109000000", "22023"),
        ("0104000000FFFFFFFF", "22023"),
        ("01E9030000", "0A000"),
        (&deep, "54001"),
    ] {
        assert_eq!(
            Geometry::from_text(text).unwrap_err().sqlstate(),
            sqlstate,
            "{text}"
        );
    }
}
