//! The first five minutes: `lakegate serve examples/flights`, then psql.

use crate::support::{Site, repository};

const QUESTION: &str =
    "select a.name as destination, count(*) as departures, round(avg(f.dep_delay)::numeric, 2) as mean_delay
    from history.\"default\".flights f join reference.main.airports a on a.faa = f.dest
    where f.dep_time is not null
    group by a.name order by departures desc, destination limit 5";

/// Computed once from the package's own data with pandas.
const ANSWER: &str = include_str!("flights_answer.txt");

#[test]
fn answers_the_flights_question() {
    let site = Site::flights();
    let serve = site.serve();
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lake.flights.departures",
        "336776",
    );
    assert_eq!(
        serve.sql("lakegate", QUESTION).expect("an answer"),
        ANSWER.trim_end()
    );
    // From the database of one store, the others are a catalog name away.
    assert_eq!(
        serve.sql("reference", QUESTION).expect("an answer"),
        ANSWER.trim_end()
    );
    assert_eq!(
        serve
            .sql("reference", "select count(*) from airports")
            .expect("an answer"),
        "1458"
    );
    assert_eq!(
        serve
            .sql("lakegate", "select count(*) from reference__main.airports")
            .expect("an answer"),
        "1458"
    );
    assert_eq!(
        serve
            .sql(
                "lakegate",
                "select destination, departures from views.delays_by_destination limit 1"
            )
            .expect("an answer"),
        ANSWER
            .lines()
            .next()
            .expect("a line")
            .rsplit_once('|')
            .expect("three columns")
            .0
    );
    let late =
        "select carrier, flight, delay from views.late_departures(day => '2013-07-04', least => 120) limit 2";
    assert_eq!(
        serve.sql("lakegate", late).expect("an answer"),
        "B6|1295|185\nDL|1465|163"
    );
}

#[test]
fn the_export_equals_its_source() {
    let site = Site::flights();
    let serve = site.serve();
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lake.flights.departures",
        "336776",
    );
    let source = "select count(*), count(dep_delay), sum(dep_delay), sum(distance), min(time_hour), max(tailnum), count(distinct dest) from history.\"default\".flights";
    let export = "select count(*), count(departure_delay), sum(departure_delay), sum(distance_miles), min(scheduled_hour), max(tail_number), count(distinct destination) from lake.flights.departures";
    assert_eq!(serve.sql("lakegate", source), serve.sql("lakegate", export));
    serve.sql_becomes(
        "lakegate",
        "select name, ready, last_run from lakegate.exports",
        "departures|t|Succeeded",
    );
    assert_eq!(
        serve
            .sql("lakegate", "select export, state, rows from lakegate.export_runs")
            .expect("runs"),
        "departures|Complete|336776"
    );
}

#[test]
fn psql_lists_what_is_there() {
    let site = Site::flights();
    let serve = site.serve();
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lake.flights.departures",
        "336776",
    );
    for (database, command, wanted) in [
        (
            "lakegate",
            "\\l",
            vec!["lakegate", "history", "reference", "lake"],
        ),
        (
            "lakegate",
            "\\dn",
            vec![
                "history__default",
                "reference__main",
                "lake__flights",
                "views",
                "lakegate",
            ],
        ),
        ("reference", "\\dt", vec!["airports", "airlines", "planes"]),
        ("reference", "\\dt+", vec!["airports"]),
        ("reference", "\\d", vec!["airports", "airlines", "planes"]),
        (
            "reference",
            "\\d airports",
            vec!["faa", "text", "lat", "double precision", "PRIMARY KEY"],
        ),
        ("reference", "\\d+ airports", vec!["faa", "text"]),
        (
            "lake",
            "\\d flights.departures",
            vec![
                "scheduled_hour",
                "timestamp with time zone",
                "departure_delay",
                "integer",
            ],
        ),
        ("lakegate", "\\dv views.*", vec!["delays_by_destination"]),
    ] {
        let output = serve.psql(database, &["-c", command]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        for word in wanted {
            assert!(
                text.contains(word),
                "{command} in {database} shows no {word}:\n{text}"
            );
        }
    }
}

#[test]
fn http_says_how_it_is() {
    let site = Site::flights();
    let serve = site.serve();
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lake.flights.departures",
        "336776",
    );
    for (path, wanted) in [("/healthz", "200"), ("/readyz", "200"), ("/metrics", "lakegate_")] {
        let answer = get(serve.http, path);
        assert!(answer.contains(wanted), "{path}: {answer}");
    }
}

fn get(port: u16, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_example_is_valid() {
    let output = std::process::Command::new(crate::support::binary())
        .arg("validate")
        .arg(repository().join("examples/flights"))
        .output()
        .expect("lakegate runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
