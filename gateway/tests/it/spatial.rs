//! Geometries: what statements answer, beside what PostGIS answered, and columns of PostGIS.
//!
//! `tests/spatial.sql` holds one statement a line and below it what PostgreSQL 15 with PostGIS 3.3.2 answers:
//!
//! ```text
//! select st_area()
//! --= error 42883
//! ```
//!
//! Where the gateway is known to answer otherwise, `--! name: answer` follows, explained in `docs/sql.md` below
//! "Geometries". No test needs PostGIS. With `LAKEGATE_POSTGIS` holding the connection string of a database that
//! has the extension, the list's answers are compared with that database's; with `LAKEGATE_POSTGIS_RECORD` naming
//! a file as well, the list is written there with the answers of today.

use std::fmt::Write as _;
use std::path::Path;

use tokio_postgres::{Client, NoTls};

use crate::postgres::PostgresServer;
use crate::semantics::{outcome, serve};
use crate::support::{Server, options};

/// One statement, what PostGIS answers, and what the gateway answers where that differs.
struct Case {
    line: usize,
    sql: String,
    answer: Option<String>,
    known: Option<String>,
}

fn list() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spatial.sql")).unwrap()
}

fn cases(list: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (index, line) in list.lines().enumerate() {
        if let Some(answer) = line.strip_prefix("--= ") {
            cases.last_mut().unwrap().answer = Some(answer.to_owned());
        } else if let Some(known) = line.strip_prefix("--! ") {
            let (name, answer) = known.split_once(": ").unwrap();
            assert!(
                include_str!("../../../docs/sql.md").contains(&format!("* `{name}`: ")),
                "docs/sql.md must explain {name}"
            );
            cases.last_mut().unwrap().known = Some(answer.to_owned());
        } else if !line.starts_with("--") && !line.trim().is_empty() {
            cases.push(Case {
                line: index + 1,
                sql: line.to_owned(),
                answer: None,
                known: None,
            });
        }
    }
    cases
}

/// A database with PostGIS, where one is named.
async fn postgis() -> Option<Client> {
    let address = std::env::var("LAKEGATE_POSTGIS").ok()?;
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    Some(client)
}

/// The list with these answers; what is known to differ is kept.
fn recorded(list: &str, answers: &[String]) -> String {
    let (mut out, mut answers) = (String::new(), answers.iter());
    for line in list.lines().filter(|line| !line.starts_with("--= ")) {
        let _ = writeln!(out, "{line}");
        if !line.starts_with("--") && !line.trim().is_empty() {
            let _ = writeln!(out, "--= {}", answers.next().unwrap());
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn geometries_are_computed_as_postgis_does() {
    let list = list();
    let cases = cases(&list);
    let mut report = String::new();
    if let Some(postgis) = postgis().await {
        let mut answers = Vec::new();
        for case in &cases {
            let answer = outcome(&postgis, &case.sql).await;
            if case.answer.as_ref() != Some(&answer) {
                let _ = writeln!(
                    report,
                    "{}: {}\n  PostGIS: {answer}\n  the list: {}",
                    case.line,
                    case.sql,
                    case.answer.as_deref().unwrap_or("nothing")
                );
            }
            answers.push(answer);
        }
        if let Some(path) = std::env::var_os("LAKEGATE_POSTGIS_RECORD") {
            std::fs::write(path, recorded(&list, &answers)).unwrap();
        }
    }
    let gateway = Server::with(options(), vec![]).await;
    let client = gateway.client().await;
    let mut differences = 0;
    for case in &cases {
        let actual = outcome(&client, &case.sql).await;
        let gone = case.known.is_some() && case.answer.as_ref() == Some(&actual);
        if gone || case.known.as_ref().or(case.answer.as_ref()) != Some(&actual) {
            let _ = writeln!(
                report,
                "{}: {}\n  PostGIS:  {}\n  Lakegate: {actual}{}",
                case.line,
                case.sql,
                case.answer.as_deref().unwrap_or("nothing"),
                if gone {
                    "  the known difference is gone"
                } else {
                    ""
                }
            );
        }
        differences += usize::from(case.known.is_some());
    }
    println!(
        "{} statements compared; {differences} known differences",
        cases.len()
    );
    assert!(report.is_empty(), "{report}");
}

/// A type that is to the connector what PostGIS's is: of that name, with a cast to the bytes of its EWKB.
const STAND_IN: &str = "CREATE TYPE geometry; \
    CREATE FUNCTION geometry_in(cstring) RETURNS geometry AS 'byteain' LANGUAGE internal IMMUTABLE STRICT; \
    CREATE FUNCTION geometry_out(geometry) RETURNS cstring AS 'byteaout' LANGUAGE internal IMMUTABLE STRICT; \
    CREATE TYPE geometry (INPUT = geometry_in, OUTPUT = geometry_out, LIKE = bytea); \
    CREATE CAST (bytea AS geometry) WITHOUT FUNCTION AS IMPLICIT; \
    CREATE CAST (geometry AS bytea) WITHOUT FUNCTION AS IMPLICIT;";

/// Points at (1, 2) and (3, 4) in longitudes and latitudes, and none.
const PLACES: &str = "CREATE TABLE places (id int PRIMARY KEY, place geometry); \
    INSERT INTO places VALUES \
      (1, decode('0101000020E6100000000000000000F03F0000000000000040', 'hex')::geometry), \
      (2, decode('0101000020E610000000000000000008400000000000001040', 'hex')::geometry), \
      (3, NULL);";

/// What columns of geometries answer, whatever makes them.
async fn places_are_geometries(server: &PostgresServer, database: &str) {
    let gateway = serve(server, database).await;
    let client = gateway.client().await;
    for pushdown in ["on", "off"] {
        client
            .batch_execute(&format!("set lakegate.pushdown = {pushdown}"))
            .await
            .unwrap();
        for (sql, expected) in [
            (
                "select id, place, st_asewkt(place), st_x(place) from shop.public.places order by id",
                "int4, geometry, text, float8 = \
                 1 | 0101000020E6100000000000000000F03F0000000000000040 | SRID=4326;POINT(1 2) | 1 ; \
                 2 | 0101000020E610000000000000000008400000000000001040 | SRID=4326;POINT(3 4) | 3 ; \
                 3 | NULL | NULL | NULL",
            ),
            (
                "select id from shop.public.places where st_within(place, st_makeenvelope(0, 0, 2, 2, 4326))",
                "int4 = ",
            ),
            (
                "select id from shop.public.places where st_dwithin(place, st_point(1, 3, 4326), 1)",
                "int4 = 1",
            ),
            (
                "select id from shop.public.places where place = 'SRID=4326;POINT(3 4)'::geometry",
                "int4 = 2",
            ),
            (
                "select count(distinct place), count(place) from shop.public.places",
                "int8, int8 = 2 | 2",
            ),
            (
                "select a.id, b.id from shop.public.places a join shop.public.places b on a.place = b.place \
                 order by a.id",
                "int4, int4 = 1 | 1 ; 2 | 2",
            ),
            (
                "select place::bytea from shop.public.places where id = 1",
                "bytea = \\\\x0101000020e6100000000000000000f03f0000000000000040",
            ),
        ] {
            assert_eq!(
                outcome(&client, sql).await,
                expected,
                "{database}, {pushdown}: {sql}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_postgis_are_geometries() {
    let server = PostgresServer::shared();
    let database = server.database("geometries").await;
    database
        .batch_execute(&format!("{STAND_IN} {PLACES}"))
        .await
        .unwrap();
    places_are_geometries(&server, "geometries").await;

    let available = "select 1 from pg_available_extensions where name = 'postgis'";
    if database.query_opt(available, &[]).await.unwrap().is_none() {
        println!("PostGIS is not installed: columns of a stand-in alone were read");
        return;
    }
    let database = server.database("postgis").await;
    database
        .batch_execute(&format!(
            "CREATE EXTENSION postgis; {PLACES} \
             CREATE TABLE areas (id int, area geometry(Polygon, 4326), spot geography); \
             INSERT INTO areas VALUES (1, 'SRID=4326;POLYGON((0 0,0 5,5 5,5 0,0 0))', 'POINT(1 2)')"
        ))
        .await
        .unwrap();
    places_are_geometries(&server, "postgis").await;
    let gateway = serve(&server, "postgis").await;
    let client = gateway.client().await;
    assert_eq!(
        outcome(
            &client,
            "select st_astext(area), spot, st_astext(spot) from shop.public.areas"
        )
        .await,
        "text, text, text = POLYGON((0 0,0 5,5 5,5 0,0 0)) | \
         0101000020E6100000000000000000F03F0000000000000040 | POINT(1 2)"
    );
}
