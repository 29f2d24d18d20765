//! SQL over HTTP: its users, and the document that describes it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lakegate_gateway::GatewayOptions;
use lakegate_gateway::auth::user_line;
use serde_json::{Value, json};

use crate::http_query::{JSON, get, post, result, views};
use crate::support::{Server, options, request};

fn basic(user: &str, password: &str) -> String {
    format!(
        "Authorization: Basic {}\r\n",
        BASE64.encode(format!("{user}:{password}"))
    )
}

async fn with_users(dir: &Path) -> Server {
    let users = dir.join("users");
    let lines = [user_line("ann", "one").unwrap(), user_line("bob", "two").unwrap()];
    std::fs::write(&users, lines.join("\n")).unwrap();
    let guarded = GatewayOptions {
        users: Some(users),
        ..options()
    };
    Server::with(guarded, vec![]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_those_of_the_postgres_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_users(dir.path()).await;
    views(&server).await;
    let who = json!({"sql": "select current_user"});
    for (user, password) in [("ann", "one"), ("bob", "two")] {
        let answer = post(&server, &basic(user, password), &who).await;
        assert_eq!(result(&answer)["rows"], json!([[user]]));
        // each is its own in the log of queries, too
        let mine =
            json!({"sql": format!("select count(*) > 0 from lakegate.queries where \"user\" = '{user}'")});
        let answer = post(&server, &basic(user, password), &mine).await;
        assert_eq!(result(&answer)["rows"], json!([[true]]));
    }
    let started = server.federation.query_log().queries().len();
    for headers in [
        String::new(),
        basic("ann", "two"),
        basic("eve", "one"),
        "Authorization: Bearer x.y\r\n".to_owned(),
    ] {
        let asked = [
            post(&server, &headers, &who).await,
            request(server.http, "GET", "/v1/views/all.csv", &headers, "").await,
            request(server.http, "HEAD", "/v1/views/all.csv", &headers, "").await,
            // whether a View or a database exists is told to users only
            request(server.http, "GET", "/v1/views/nope.csv", &headers, "").await,
            post(&server, &headers, &json!({"sql": "select 1", "database": "nope"})).await,
        ];
        for answer in asked {
            assert_eq!(answer.status, 401, "{headers}: {answer:?}");
            assert_eq!(answer.header("www-authenticate").len(), 2);
        }
    }
    assert_eq!(server.federation.query_log().queries().len(), started);
    // a token is as good
    let form = "grant_type=client_credentials&client_id=ann&client_secret=one";
    let token = request(
        server.http,
        "POST",
        "/iceberg/v1/oauth/tokens",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        form,
    )
    .await
    .json();
    let bearer = format!(
        "Authorization: Bearer {}\r\n",
        token["access_token"].as_str().unwrap()
    );
    assert_eq!(
        result(&post(&server, &bearer, &who).await)["rows"],
        json!([["ann"]])
    );
    let answer = request(server.http, "GET", "/v1/views/all.csv", &bearer, "").await;
    assert_eq!(answer.status, 200);
}

/// A document's schema by its reference, as one that stands alone.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    jsonschema::validator_for(&whole).unwrap()
}

/// The address, headers and body of a request, and the status of its answer.
type Asked = (&'static str, String, String, u16);

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_users(dir.path()).await;
    views(&server).await;
    let document = get(&server, "/v1/openapi.json").await.json();
    // the specification's own schema (https://spec.openapis.org/oas/3.1/schema/2022-10-07)
    let specification: Value = serde_json::from_str(include_str!("../data/openapi-3.1.schema.json")).unwrap();
    let specification = jsonschema::validator_for(&specification).unwrap();
    let errors: Vec<String> = specification
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    let ann = basic("ann", "one");
    let select = |more: &str| format!("{{\"sql\": \"select 1 as a, 'x' as b, null as c\"{more}}}");
    // for each operation of the document, requests and the status of their answers
    let asked = |path: &str, method: &str| -> Vec<Asked> {
        let json = |more: &str| format!("{JSON}{ann}{more}");
        match (path, method) {
            ("/v1/query", "post") => vec![
                ("/v1/query", json(""), select(""), 200),
                ("/v1/query", json("Accept: text/csv\r\n"), select(""), 200),
                ("/v1/query", json(""), select(", \"format\": \"arrow\""), 200),
                ("/v1/query", json(""), "{\"sql\": \"select nope\"}".into(), 400),
                ("/v1/query", JSON.into(), select(""), 401),
                ("/v1/query", json(""), "{\"sql\": \"delete from t\"}".into(), 403),
                ("/v1/query", json(""), select(", \"database\": \"nope\""), 404),
                ("/v1/query", json("Accept: image/png\r\n"), select(""), 406),
                ("/v1/query", json(""), format!("{{\"sql\": \"{}\"}}", "x".repeat(3 << 20)), 413),
                ("/v1/query", ann.clone(), select(""), 415),
                (
                    "/v1/query",
                    json(""),
                    "{\"sql\": \"select sum(a.value) from generate_series(1, 1000000000000) a(value)\", \"settings\": {\"statement_timeout\": \"100ms\"}}".into(),
                    504,
                ),
            ],
            ("/v1/views/{file}", "get") => vec![
                ("/v1/views/all.csv", ann.clone(), String::new(), 200),
                ("/v1/views/all.json", ann.clone(), String::new(), 200),
                ("/v1/views/of_name.arrow?name=a", ann.clone(), String::new(), 200),
                ("/v1/views/of_name.csv", ann.clone(), String::new(), 400),
                ("/v1/views/all.csv", String::new(), String::new(), 401),
                ("/v1/views/nope.csv", ann.clone(), String::new(), 404),
            ],
            ("/v1/openapi.json", "get") => vec![("/v1/openapi.json", String::new(), String::new(), 200)],
            other => panic!("{other:?} is in the document and not in this test"),
        }
    };
    let request_schema = resolved(&document, &document["components"]["schemas"]["Query"]);
    let is_query = validator(&document, request_schema);
    assert!(is_query.is_valid(&serde_json::from_str(&select(", \"parameters\": [1, null]")).unwrap()));
    assert!(!is_query.is_valid(&json!({"query": "select 1"})));
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (target, headers, body, status) in asked(path, method) {
                let answer = request(server.http, &method.to_uppercase(), target, &headers, &body).await;
                assert_eq!(answer.status, status, "{method} {target} {body:.200}: {answer:?}");
                let described = &operation["responses"][status.to_string()];
                assert!(
                    !described.is_null(),
                    "{method} {target} {status} is not described"
                );
                let described = resolved(&document, described);
                let content_type = answer.header("content-type")[0]
                    .split(';')
                    .next()
                    .unwrap()
                    .to_owned();
                let content = &described["content"][&content_type];
                assert!(
                    !content.is_null(),
                    "{method} {target} {status} {content_type} is not described"
                );
                for (name, header) in described["headers"].as_object().into_iter().flatten() {
                    assert!(
                        header["required"] != true || !answer.header(&name.to_lowercase()).is_empty(),
                        "{name}"
                    );
                }
                let body = match answer.header("transfer-encoding").as_slice() {
                    ["chunked"] => answer.chunked().unwrap(),
                    _ => answer.body.clone(),
                };
                let value = if content_type.ends_with("json") {
                    serde_json::from_slice(&body).unwrap()
                } else {
                    json!(String::from_utf8_lossy(&body))
                };
                let schema = validator(&document, &content["schema"]);
                let errors: Vec<String> = schema
                    .iter_errors(&value)
                    .map(|error| error.to_string())
                    .collect();
                assert!(
                    errors.is_empty(),
                    "{method} {target} {status}: {errors:?} {value}"
                );
            }
        }
    }
}
