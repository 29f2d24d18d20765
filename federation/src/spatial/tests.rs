use super::*;

/// Texts and what they print as, from the documentation of PostGIS.
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
        assert_eq!(geometry.wkt(15), *expected, "{text}");
        let located = Geometry::new(4326, geometry.shape);
        let read = Geometry::from_ewkb(&located.ewkb()).unwrap();
        assert_eq!((read.srid, read.wkt(15).as_str()), (4326, *expected), "{text}");
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
    assert_eq!(other.wkt(15), "POINT(1 2)");
}

#[test]
fn digits_behind_the_point_are_cut() {
    let point = Geometry::from_wkt("POINT(111.1111111 -1.0001)").unwrap();
    assert_eq!(point.wkt(2), "POINT(111.11 -1)");
    assert_eq!(point.wkt(0), "POINT(111 -1)");
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
