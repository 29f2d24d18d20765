//! SQL over HTTP: forms, values, errors, Views.

use std::io::Read;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use futures::StreamExt;
use lakegate_crds::View;
use serde_json::{Value, json};
use tokio_postgres::SimpleQueryMessage;

use crate::support::{Answer, Server, options, request};
use crate::types::everything;

pub const JSON: &str = "Content-Type: application/json\r\n";

pub async fn post(server: &Server, headers: &str, body: &Value) -> Answer {
    let headers = format!("{JSON}{headers}");
    request(server.http, "POST", "/v1/query", &headers, &body.to_string()).await
}

async fn ask(server: &Server, sql: &str) -> Answer {
    post(server, "", &json!({"sql": sql, "database": "shop"})).await
}

pub async fn get(server: &Server, path: &str) -> Answer {
    request(server.http, "GET", path, "", "").await
}

/// The result of an answer in JSON.
pub fn result(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), ["application/json"]);
    serde_json::from_slice(&answer.chunked().expect("a whole body")).unwrap()
}

fn batches(body: &[u8]) -> Vec<RecordBatch> {
    StreamReader::try_new(body, None)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// The status and the SQLSTATE of a problem, which must have its shape.
pub fn problem(answer: &Answer) -> (u16, String) {
    assert_eq!(
        answer.header("content-type"),
        ["application/problem+json"],
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{answer:?}");
    (
        answer.status,
        problem["sqlstate"].as_str().unwrap_or_default().to_owned(),
    )
}

pub async fn views(server: &Server) {
    let of_name = json!({
        "sql": "select id, name, $least as least from shop.public.orders where name = $name and id >= $least",
        "parameters": [{"name": "name", "type": "text"}, {"name": "least", "type": "bigint", "default": "0"}],
        "description": "Orders of a name",
        "columns": [{"name": "id", "description": "The number"}],
    });
    let all = json!({"sql": "select * from shop.public.orders order by id", "description": "All orders",
                     "columns": [{"name": "name", "description": "Who"}]});
    let made = [("of-name", of_name), ("all", all)];
    let views = made.map(|(name, spec)| View::new(name, serde_json::from_value(spec).unwrap()));
    server.federation.attach_views(views.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_says_what_the_wire_says() {
    let server = Server::with(options(), vec![("everything", everything())]).await;
    let client = server.client().await;
    let numbers = "select * from (values (9007199254740991::bigint, 1.50::numeric(12,2), 'NaN'::float8, '[1, {\"a\": null}]'::jsonb, \
                   array[1,null], date '2024-02-29', interval '1 day', null::text), \
                   (9007199254740993, -0.01, 'Infinity', '\"x\"', '{}'::int[], null, null, 'a,\"b\"\n'), \
                   (-9223372036854775808, 12345678901.00, -1.5e300, 'null', null, '0044-03-15 BC', '-1 mon', '')) as t(n, d, f, j, a, day, i, s)";
    for sql in [
        "select * from everything",
        "select id, name from orders order by id",
        "select 1 as a, 2 as a",
        "select * from orders where false",
        "select now() is not null, current_database(), 'orders'::regclass",
        "explain select * from orders",
        numbers,
    ] {
        // CSV is COPY's, byte for byte
        if !sql.starts_with("explain") {
            let copy = format!("copy ({sql}) to stdout with (format csv, header)");
            let copied: Vec<_> = client.copy_out(&copy).await.unwrap().collect::<Vec<_>>().await;
            let copied: Vec<u8> = copied
                .into_iter()
                .flat_map(|bytes| bytes.unwrap().to_vec())
                .collect();
            let answer = post(
                &server,
                "",
                &json!({"sql": sql, "database": "shop", "format": "csv"}),
            )
            .await;
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, vec!["text/csv; charset=utf-8; header=present"])
            );
            let body = answer.chunked().unwrap();
            assert_eq!(
                String::from_utf8_lossy(&body),
                String::from_utf8_lossy(&copied),
                "{sql}"
            );
        }
        // JSON has the columns, the types and the count of the wire
        let told = result(&ask(&server, sql).await);
        let messages = client.simple_query(sql).await.unwrap();
        let rows: Vec<_> = messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect();
        assert_eq!(told["rowCount"], rows.len(), "{sql}");
        let statement = client.prepare(sql).await.unwrap();
        let columns = told["columns"].as_array().unwrap();
        assert_eq!(columns.len(), statement.columns().len());
        for (index, (column, wire)) in columns.iter().zip(statement.columns()).enumerate() {
            assert_eq!(column["name"], wire.name(), "{sql}");
            for (row, values) in rows.iter().zip(told["rows"].as_array().unwrap()) {
                let value = &values[index];
                match (row.get(index), value) {
                    (None, value) => assert!(value.is_null(), "{sql}: {value}"),
                    (Some("t" | "f"), Value::Bool(_)) | (Some(_), Value::Array(_) | Value::Object(_)) => {}
                    (Some(text), Value::Number(number)) => {
                        let same = number.to_string() == text
                            || text
                                .parse::<f64>()
                                .is_ok_and(|wanted| number.as_f64() == Some(wanted));
                        assert!(same, "{sql}: {text} {number}");
                    }
                    (Some(text), Value::String(value)) => {
                        let plain = value.replacen('T', " ", 1);
                        assert!(
                            text == value
                                || plain.starts_with(text.trim_end_matches("+00"))
                                || column["type"] == "jsonb",
                            "{sql}: {text} {value}"
                        );
                    }
                    (Some(text), Value::Null) if column["type"] == "jsonb" => assert_eq!(text, "null"),
                    (text, value) => panic!("{sql}: {text:?} {value}"),
                }
            }
        }
        // Arrow has the same rows: through the encoder they are the same text
        let answer = post(
            &server,
            "Accept: application/vnd.apache.arrow.stream\r\n",
            &json!({"sql": sql, "database": "shop"}),
        )
        .await;
        assert_eq!(
            answer.header("content-type"),
            ["application/vnd.apache.arrow.stream"]
        );
        let found = batches(&answer.chunked().unwrap());
        let count: usize = found.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(count, rows.len(), "{sql}");
    }
    let arrow = post(
        &server,
        "",
        &json!({"sql": "select * from everything", "database": "shop", "format": "arrow"}),
    )
    .await;
    let found = batches(&arrow.chunked().unwrap());
    assert_eq!(found[0].columns(), everything().columns());
    let told = result(&ask(&server, numbers).await);
    assert_eq!(
        told["rows"],
        json!([
            [9_007_199_254_740_991_u64, "1.50", "NaN", [1, {"a": null}], [1, null], "2024-02-29", "1 day", null],
            ["9007199254740993", "-0.01", "Infinity", "x", [], null, null, "a,\"b\"\n"],
            ["-9223372036854775808", "12345678901.00", -1.5e300, null, null, "0044-03-15 BC", "-1 mons", ""]
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_values() {
    let server = Server::start().await;
    let run = async |sql: &str, parameters: Value| {
        let body = json!({"sql": sql, "parameters": parameters, "database": "shop"});
        post(&server, "", &body).await
    };
    for (sql, parameters, expected) in [
        (
            "select name from orders where id = $1",
            json!([1]),
            json!([["a"]]),
        ),
        (
            "select id from orders where name = $1",
            json!(["b,\"c\""]),
            json!([[2]]),
        ),
        (
            "select id from orders where name = $1",
            json!(["x' or '1'='1"]),
            json!([]),
        ),
        (
            "select count(*) from orders where id = any($1)",
            json!([[1, 2, 9]]),
            json!([[2]]),
        ),
        ("select $1::numeric", json!([12345.670]), json!([["12345.67"]])),
        (
            "select $1::text is null, $2::bool",
            json!([null, true]),
            json!([[true, true]]),
        ),
        (
            "select $1::jsonb",
            json!([{"a": [1, null]}]),
            json!([[{"a": [1, null]}]]),
        ),
        (
            "select $1::text[]",
            json!([["a,\"b\"", null, "\\"]]),
            json!([[["a,\"b\"", null, "\\"]]]),
        ),
        (
            "select $1::date + 1",
            json!(["2024-02-28"]),
            json!([["2024-02-29"]]),
        ),
        ("select $2::int - $1::int", json!([1, 3]), json!([[2]])),
    ] {
        let answer = run(sql, parameters).await;
        assert_eq!(result(&answer)["rows"], expected, "{sql}");
    }
    // every digit of a number counts
    let digits = "{\"sql\": \"select $1::numeric(38,2) as n, $2::bigint as b\", \"parameters\": [123456789012345678901234567890.12, 9223372036854775807]}";
    let answer = request(server.http, "POST", "/v1/query", JSON, digits).await;
    assert_eq!(
        result(&answer)["rows"],
        json!([["123456789012345678901234567890.12", "9223372036854775807"]])
    );
    for (sql, parameters, sqlstate) in [
        ("select name from orders where id = $1", json!([]), "42P02"),
        ("select name from orders where id = $1", json!([1, 2]), "42P02"),
        ("select name from orders where id = $1", json!(["x"]), "22P02"),
        ("select $1::date", json!(["x"]), "22007"),
    ] {
        let answer = run(sql, parameters).await;
        assert_eq!(problem(&answer), (400, sqlstate.to_owned()), "{sql}");
    }
    // settings are those of SET
    let body = json!({"sql": "select '2024-02-29 00:00Z'::timestamptz::text, current_setting('timezone')",
                      "settings": {"timezone": "Asia/Seoul"}});
    assert_eq!(
        result(&post(&server, "", &body).await)["rows"],
        json!([["2024-02-29 09:00:00+09", "Asia/Seoul"]])
    );
    for (name, sqlstate) in [("nope", "42704"), ("role", "42501"), ("server_version", "55P02")] {
        let answer = post(&server, "", &json!({"sql": "select 1", "settings": {name: "x"}})).await;
        assert_eq!(problem(&answer).1, sqlstate, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_a_status_and_a_sqlstate() {
    let server = Server::start().await;
    for (sql, status, sqlstate) in [
        ("select nope from orders", 400, "42703"),
        ("select * from nope", 400, "42P01"),
        ("select 1/0", 400, "22012"),
        ("select +", 400, "42601"),
        ("", 400, "42601"),
        ("select 1; select 2", 400, "42601"),
        ("insert into orders values (1)", 403, "25006"),
        ("set timezone = 'UTC'", 400, "0A000"),
        ("begin", 400, "0A000"),
        ("copy orders to stdout", 400, "0A000"),
    ] {
        let answer = ask(&server, sql).await;
        assert_eq!(
            problem(&answer),
            (status, sqlstate.to_owned()),
            "{sql}: {answer:?}"
        );
    }
    let told = ask(&server, "select id, nope from orders").await.json();
    assert_eq!(told["position"], 12, "{told}");
    let answer = post(&server, "", &json!({"sql": "select 1", "database": "nope"})).await;
    assert_eq!(problem(&answer), (404, "3D000".to_owned()));
    let plain = |status: u16| (status, String::new());
    for (headers, body, status) in [
        (JSON, "{", 400),
        (JSON, "{\"sql\": 5}", 400),
        (JSON, "{\"sql\": \"select 1\", \"nope\": 1}", 400),
        ("", "{\"sql\": \"select 1\"}", 415),
        ("Content-Type: text/plain\r\n", "{\"sql\": \"select 1\"}", 415),
    ] {
        let answer = request(server.http, "POST", "/v1/query", headers, body).await;
        assert_eq!(problem(&answer), plain(status), "{headers}{body}");
    }
    let long = json!({"sql": format!("select '{}'", "x".repeat(3 << 20))});
    assert_eq!(problem(&post(&server, "", &long).await), plain(413));
    let answer = post(&server, "Accept: text/html\r\n", &json!({"sql": "select 1"})).await;
    assert_eq!(problem(&answer), plain(406));
    assert_eq!(problem(&get(&server, "/v1/query").await), plain(405));
    assert_eq!(
        problem(&request(server.http, "DELETE", "/v1/views/a.csv", "", "").await),
        plain(405)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_read_by_their_name() {
    let server = Server::start().await;
    views(&server).await;
    let csv = async |path: &str| {
        let answer = get(&server, path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        String::from_utf8(answer.chunked().unwrap()).unwrap()
    };
    assert_eq!(
        csv("/v1/views/all.csv").await,
        "id,name\n1,a\n2,\"b,\"\"c\"\"\"\n3,\n4,\"\"\n5,é\n"
    );
    assert_eq!(
        csv("/v1/views/of_name.csv?name=a").await,
        "id,name,least\n1,a,0\n"
    );
    assert_eq!(
        csv("/v1/views/of_name.csv?name=b%2C%22c%22&least=2").await,
        "id,name,least\n2,\"b,\"\"c\"\"\",2\n"
    );
    assert_eq!(
        csv("/v1/views/of_name.csv?name=%C3%A9").await,
        "id,name,least\n5,é,0\n"
    );
    for hostile in [
        "%27+or+%271%27%3D%271",
        "%27%3B+drop+table+orders",
        "%24name",
        "name",
    ] {
        let path = format!("/v1/views/of_name.csv?name={hostile}");
        assert_eq!(csv(&path).await, "id,name,least\n", "{hostile}");
    }
    let answer = get(&server, "/v1/views/of_name.json?name=a").await;
    assert_eq!(result(&answer)["rows"], json!([[1, "a", 0]]));
    assert_eq!(
        answer.header("content-disposition"),
        ["attachment; filename=\"of_name.json\""]
    );
    let answer = get(&server, "/v1/views/all.arrow").await;
    assert_eq!(batches(&answer.chunked().unwrap())[0].num_rows(), 5);
    for (path, status, sqlstate) in [
        ("/v1/views/nope.csv", 404, "42P01"),
        ("/v1/views/all\".csv", 404, "42P01"),
        ("/v1/views/all", 404, ""),
        ("/v1/views/all.xml", 404, ""),
        ("/v1/views/all.csv?x=1", 400, "42883"),
        ("/v1/views/of_name.csv", 400, "42883"),
        ("/v1/views/of_name.csv?name=a&nope=1", 400, "42883"),
        ("/v1/views/of_name.csv?name=a&name=b", 400, "42601"),
        ("/v1/views/of_name.csv?name=a&least=x", 400, "22P02"),
        ("/v1/views/of_name.csv?name=a&a%22b=1", 400, "42883"),
    ] {
        let answer = get(&server, path).await;
        assert_eq!(
            problem(&answer),
            (status, sqlstate.to_owned()),
            "{path}: {answer:?}"
        );
    }
    let told = get(&server, "/v1/views/of_name.csv?name=a&least=x").await.json();
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .starts_with("parameter \"least\": "),
        "{told}"
    );
    // a head starts nothing, and says whether it would work
    let started = server.federation.query_log().queries().len();
    let head = request(server.http, "HEAD", "/v1/views/all.csv", "", "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let head = request(server.http, "HEAD", "/v1/views/of_name.csv", "", "").await;
    assert_eq!(head.status, 400);
    assert_eq!(server.federation.query_log().queries().len(), started);
    // by SQL they have comments, and the one with parameters is a function
    let described = json!({"sql": "select obj_description('views.all'::regclass), col_description('views.all'::regclass, 2), \
        (select count(*) from pg_class where relname = 'of_name'), \
        (select obj_description(oid, 'pg_proc') || ' ' || pronargs || ' ' || pronargdefaults from pg_proc where proname = 'of_name'), \
        (select string_agg(description, ' ' order by objsubid) from pg_description where objoid = 'views.all'::regclass)"});
    assert_eq!(
        result(&post(&server, "", &described).await)["rows"],
        json!([["All orders", "Who", 0, "Orders of a name 2 1", "All orders Who"]])
    );
    // and bind takes the parameters' types
    let client = server.client().await;
    let statement = client
        .prepare("select id from views.of_name(name => $1, least => $2)")
        .await
        .unwrap();
    let types: Vec<_> = statement
        .params()
        .iter()
        .map(tokio_postgres::types::Type::name)
        .collect();
    assert_eq!(types, ["text", "int8"]);
    let row = client.query_one(&statement, &[&"a", &1_i64]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_packed_as_the_client_likes() {
    let server = Server::start().await;
    let body = json!({"sql": "select value, 'text ' || value as t from generate_series(1, 50000) g(value) order by value", "format": "csv"});
    let plain = post(&server, "", &body).await;
    assert!(plain.header("content-encoding").is_empty());
    let plain = plain.chunked().unwrap();
    for (accept, coding) in [("gzip", "gzip"), ("gzip, zstd", "zstd")] {
        let answer = post(&server, &format!("Accept-Encoding: {accept}\r\n"), &body).await;
        assert_eq!(answer.header("content-encoding"), [coding]);
        let packed = answer.chunked().unwrap();
        assert!(packed.len() < plain.len() / 2, "{coding}: {}", packed.len());
        let mut unpacked = Vec::new();
        match coding {
            "gzip" => {
                flate2::read::GzDecoder::new(&packed[..])
                    .read_to_end(&mut unpacked)
                    .unwrap();
            }
            _ => unpacked = zstd::decode_all(&packed[..]).unwrap(),
        }
        assert!(unpacked == plain, "{coding}");
    }
}
