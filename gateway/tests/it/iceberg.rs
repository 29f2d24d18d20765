//! The lakes as Iceberg REST catalogs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lakegate_crds::DataSourceSpec;
use lakegate_federation::SourceContext;
use lakegate_gateway::GatewayOptions;
use lakegate_gateway::auth::user_line;
use lakegate_lake::{CommitInfo, Lake, WriteOptions};
use lakegate_store::MemoryStore;
use serde_json::{Value, json};

use crate::support::{Answer, Server, options, request};

const TABLE: &str = "/iceberg/v1/lake/namespaces/shop/tables/orders";

/// A gateway with a lake of three tables in `dir`.
async fn with_lake(dir: &Path, options: GatewayOptions) -> Server {
    let lake = Lake::open_directory(&dir.join("lake")).await.unwrap();
    for (schema, table) in [("shop", "orders"), ("shop", "lines"), ("crm", "people")] {
        publish(&lake, schema, table, "run-1", 2).await;
    }
    let server = Server::with(options, vec![]).await;
    attach(&server, dir, "lake").await;
    server
}

async fn attach(server: &Server, dir: &Path, name: &str) {
    let spec: DataSourceSpec =
        serde_json::from_value(json!({"lake": {"directory": {"path": "lake"}}})).unwrap();
    let context = SourceContext {
        namespace: "default".into(),
        base_dir: dir.to_owned(),
        state_dir: dir.join("state"),
        secrets: Arc::new(MemoryStore::new()),
        runtime: Arc::clone(server.federation.runtime_env()),
    };
    server.federation.attach(name, &spec, &context).await.unwrap();
}

/// Replaces a table by so many rows.
async fn publish(lake: &Lake, schema: &str, table: &str, run: &str, rows: i64) {
    let ids = Arc::new(Int64Array::from_iter_values(0..rows));
    let batch = RecordBatch::try_from_iter([("id", ids as _)]).unwrap();
    let options = WriteOptions::new(run, "1");
    let mut writer = lake.write(schema, table, batch.schema(), options).await.unwrap();
    writer.write(batch).await.unwrap();
    let files = writer.close().await.unwrap();
    let info = CommitInfo {
        run_id: run.into(),
        attempt_id: "1".into(),
        ..CommitInfo::default()
    };
    lake.replace(files, info).await.unwrap();
}

async fn get(server: &Server, path: &str) -> Answer {
    request(server.http, "GET", path, "", "").await
}

/// The status and the error, which must have the specification's shape.
fn refused(answer: &Answer) -> (u16, String) {
    let error = &answer.json()["error"];
    assert_eq!(error["code"], answer.status, "{answer:?}");
    assert!(
        error["message"].as_str().is_some_and(|text| !text.is_empty()),
        "{answer:?}"
    );
    (answer.status, error["type"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_its_way_to_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_lake(dir.path(), options()).await;
    let config = get(&server, "/iceberg/v1/config?warehouse=lake").await;
    assert_eq!(
        (config.status, config.header("content-type")),
        (200, vec!["application/json"])
    );
    let config = config.json();
    assert_eq!(
        (&config["overrides"], &config["defaults"]),
        (&json!({"prefix": "lake"}), &json!({}))
    );
    // a client asks nothing else, and each of these is answered
    for endpoint in config["endpoints"].as_array().unwrap() {
        let (method, path) = endpoint.as_str().unwrap().split_once(' ').unwrap();
        let path = path
            .replace("{prefix}", "lake")
            .replace("{namespace}", "shop")
            .replace("{table}", "orders");
        let answer = request(server.http, method, &format!("/iceberg{path}"), "", "").await;
        let expected = if method == "HEAD" { 204 } else { 200 };
        assert_eq!(
            (answer.status, answer.body.is_empty()),
            (expected, method == "HEAD"),
            "{endpoint}"
        );
    }
    let namespaces = get(&server, "/iceberg/v1/lake/namespaces?unknown=1").await.json();
    assert_eq!(namespaces["namespaces"], json!([["crm"], ["shop"]]));
    assert_eq!(namespaces["next-page-token"], Value::Null);
    let below = get(&server, "/iceberg/v1/lake/namespaces?parent=shop")
        .await
        .json();
    assert_eq!(below, json!({"namespaces": []}));
    let namespace = get(&server, "/iceberg/v1/lake/namespaces/shop").await.json();
    assert_eq!(namespace, json!({"namespace": ["shop"], "properties": {}}));
    let tables = get(&server, "/iceberg/v1/lake/namespaces/shop/tables")
        .await
        .json();
    assert_eq!(
        tables["identifiers"],
        json!([{"namespace": ["shop"], "name": "lines"}, {"namespace": ["shop"], "name": "orders"}])
    );
    // page by page
    let first = get(
        &server,
        "/iceberg/v1/lake/namespaces/shop/tables?pageToken=&pageSize=1",
    )
    .await
    .json();
    assert_eq!(
        first["identifiers"],
        json!([{"namespace": ["shop"], "name": "lines"}])
    );
    let token = first["next-page-token"].as_str().unwrap();
    let next = format!("/iceberg/v1/lake/namespaces/shop/tables?pageSize=1&pageToken={token}");
    let next = get(&server, &next).await.json();
    assert_eq!(
        (&next["identifiers"], &next["next-page-token"]),
        (&json!([{"namespace": ["shop"], "name": "orders"}]), &Value::Null)
    );
    let first = get(&server, "/iceberg/v1/lake/namespaces?pageToken=&pageSize=1")
        .await
        .json();
    assert_eq!(first["namespaces"], json!([["crm"]]));
    assert!(first["next-page-token"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_the_newest_metadata_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_lake(dir.path(), options()).await;
    let lake = Lake::open_directory(&dir.path().join("lake")).await.unwrap();
    for version in 1..=3 {
        if version > 1 {
            publish(&lake, "shop", "orders", &format!("run-{version}"), version).await;
        }
        let answer = get(&server, &format!("{TABLE}?snapshots=refs")).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, vec!["application/json"])
        );
        let file = dir
            .path()
            .join(format!("lake/shop/orders/metadata/v{version}.metadata.json"));
        let committed = std::fs::read_to_string(&file).unwrap();
        let location = format!("file://{}", file.display());
        assert_eq!(
            answer.text(),
            format!("{{\"metadata-location\":\"{location}\",\"metadata\":{committed},\"config\":{{}}}}")
        );
        assert_eq!(
            answer.json()["metadata"]["snapshots"].as_array().unwrap().len() as i64,
            version
        );
    }
    // a table that no look at the lake has listed yet
    publish(&lake, "new", "things", "run-1", 1).await;
    let things = "/iceberg/v1/lake/namespaces/new/tables/things";
    assert_eq!(get(&server, things).await.status, 200);
    assert_eq!(request(server.http, "HEAD", things, "", "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_in_the_specifications_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_lake(dir.path(), options()).await;
    let namespaces = "/iceberg/v1/lake/namespaces";
    for (path, expected) in [
        ("/iceberg/v1/config".to_owned(), (400, "BadRequestException")),
        (
            "/iceberg/v1/config?warehouse=".to_owned(),
            (400, "BadRequestException"),
        ),
        (
            "/iceberg/v1/config?warehouse=nope".to_owned(),
            (404, "NotFoundException"),
        ),
        // a store is no lake
        (
            "/iceberg/v1/config?warehouse=shop".to_owned(),
            (404, "NotFoundException"),
        ),
        (
            "/iceberg/v1/shop/namespaces".to_owned(),
            (404, "NoSuchNamespaceException"),
        ),
        (
            "/iceberg/v1/shop/namespaces/public/tables/orders".to_owned(),
            (404, "NoSuchTableException"),
        ),
        (
            format!("{namespaces}?parent=nope"),
            (404, "NoSuchNamespaceException"),
        ),
        (format!("{namespaces}/nope"), (404, "NoSuchNamespaceException")),
        (
            format!("{namespaces}/nope/tables"),
            (404, "NoSuchNamespaceException"),
        ),
        (
            format!("{namespaces}/shop/tables/nope"),
            (404, "NoSuchTableException"),
        ),
        // Spark looks for a metadata table so first
        (
            format!("{namespaces}/shop%1Forders/tables/snapshots"),
            (404, "NoSuchTableException"),
        ),
        (
            format!("{namespaces}/shop/tables/..%2F..%2Fcrm"),
            (404, "NoSuchTableException"),
        ),
        (
            format!("{namespaces}/shop%1Forders"),
            (404, "NoSuchNamespaceException"),
        ),
        (format!("{namespaces}/%FF"), (400, "BadRequestException")),
        (
            format!("{namespaces}?pageToken=&pageSize=-1"),
            (400, "BadRequestException"),
        ),
        (
            format!("{namespaces}?pageToken=%3F"),
            (400, "BadRequestException"),
        ),
        (
            format!("{namespaces}/shop/views"),
            (406, "UnsupportedOperationException"),
        ),
        (
            "/iceberg/v1/aws/s3/sign".to_owned(),
            (406, "UnsupportedOperationException"),
        ),
    ] {
        let answer = get(&server, &path).await;
        assert_eq!(refused(&answer), (expected.0, expected.1.to_owned()), "{path}");
    }
    // names of lakes are told where one is asked for
    let answer = get(&server, "/iceberg/v1/config").await;
    assert!(answer.text().contains("lakes here: lake\""), "{}", answer.text());
    for (method, path) in [
        ("HEAD", "/iceberg/v1/lake/namespaces/nope"),
        ("HEAD", &format!("{TABLE}s")),
    ] {
        let answer = request(server.http, method, path, "", "").await;
        assert_eq!((answer.status, answer.body.len()), (404, 0), "{path}");
    }
    let create = r#"{"name": "t", "schema": {"type": "struct", "fields": []}}"#;
    for (method, path, body) in [
        ("POST", namespaces, r#"{"namespace": ["new"]}"#),
        ("DELETE", "/iceberg/v1/lake/namespaces/shop", ""),
        ("POST", "/iceberg/v1/lake/namespaces/shop/properties", "{}"),
        ("POST", "/iceberg/v1/lake/namespaces/shop/tables", create),
        ("POST", TABLE, r#"{"requirements": [], "updates": []}"#),
        ("DELETE", TABLE, ""),
        ("POST", "/iceberg/v1/lake/tables/rename", "{}"),
        ("POST", "/iceberg/v1/lake/transactions/commit", "{}"),
        ("POST", &format!("{TABLE}/metrics"), "{}"),
        ("PUT", "/iceberg/v1/config", ""),
    ] {
        let answer = request(server.http, method, path, "", body).await;
        let expected = (406, "UnsupportedOperationException".to_owned());
        assert_eq!(refused(&answer), expected, "{method} {path}");
    }
    // a table that another engine broke is told, and breaks nothing else
    std::fs::write(dir.path().join("lake/shop/orders/metadata/v2.metadata.json"), "{").unwrap();
    let answer = get(&server, TABLE).await;
    assert_eq!(refused(&answer), (503, "ServiceUnavailableException".to_owned()));
    assert_eq!(
        get(&server, "/iceberg/v1/lake/namespaces/shop/tables/lines")
            .await
            .status,
        200
    );
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Authorization: Basic {}\r\n",
        BASE64.encode(format!("{user}:{password}"))
    )
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

async fn token(server: &Server, headers: &str, form: &str) -> Answer {
    let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{headers}");
    request(server.http, "POST", "/iceberg/v1/oauth/tokens", &headers, form).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_see_anything() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    std::fs::write(&users, user_line("ann", "ri:ght &é").unwrap()).unwrap();
    let guarded = GatewayOptions {
        users: Some(users.clone()),
        ..options()
    };
    let server = with_lake(dir.path(), guarded).await;
    let config = "/iceberg/v1/config?warehouse=lake";
    // what there is and what there is not look alike to who may see neither
    for (method, path) in [
        ("GET", config),
        ("GET", "/iceberg/v1/config"),
        ("GET", "/iceberg/v1/lake/namespaces"),
        ("GET", "/iceberg/v1/nope/namespaces"),
        ("GET", "/iceberg/v1/lake/namespaces/shop"),
        ("HEAD", "/iceberg/v1/lake/namespaces/shop"),
        ("GET", "/iceberg/v1/lake/namespaces/shop/tables"),
        ("GET", TABLE),
        ("HEAD", TABLE),
        ("GET", "/iceberg/v1/lake/namespaces/shop/tables/nope"),
        ("POST", TABLE),
        ("GET", "/iceberg/anything"),
    ] {
        for headers in [
            String::new(),
            basic("ann", "wrong"),
            basic("nobody", "ri:ght &é"),
            basic("", ""),
            bearer("abc"),
            bearer("YW5u.AQ"),
            "Authorization: Digest x\r\n".to_owned(),
        ] {
            let answer = request(server.http, method, path, &headers, "").await;
            assert_eq!(answer.status, 401, "{method} {path} {headers}");
            let challenges = answer.header("www-authenticate");
            assert!(
                challenges.len() == 2
                    && challenges[0].starts_with("Basic ")
                    && challenges[1].starts_with("Bearer "),
                "{answer:?}"
            );
            if method != "HEAD" {
                assert_eq!(refused(&answer).1, "NotAuthorizedException");
            }
        }
    }
    assert_eq!(get(&server, "/healthz").await.status, 200);
    for path in [config, TABLE] {
        let answer = request(server.http, "GET", path, &basic("ann", "ri:ght &é"), "").await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let answer = request(server.http, "DELETE", TABLE, &basic("ann", "ri:ght &é"), "").await;
    assert_eq!(answer.status, 406);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stands_for_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    std::fs::write(&users, user_line("ann", "a&b").unwrap()).unwrap();
    let guarded = GatewayOptions {
        users: Some(users.clone()),
        ..options()
    };
    let server = with_lake(dir.path(), guarded.clone()).await;
    let opens = async |server: &Server, token: &str| {
        request(server.http, "GET", TABLE, &bearer(token), "")
            .await
            .status
            == 200
    };
    let credentials = "grant_type=client_credentials&client_id=ann&client_secret=a%26b&scope=catalog";
    let answer = token(&server, "", credentials).await;
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, vec!["no-store"])
    );
    let answer = answer.json();
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"]),
        (&json!("bearer"), &json!(3600))
    );
    let first = answer["access_token"].as_str().unwrap().to_owned();
    assert!(opens(&server, &first).await);
    // the same by the header
    let answer = token(&server, &basic("ann", "a&b"), "grant_type=client_credentials").await;
    assert!(opens(&server, answer.json()["access_token"].as_str().unwrap()).await);
    // a token is renewed by itself, and one that has ended by the password
    let exchange =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token_type=x";
    let answer = token(&server, "", &format!("{exchange}&subject_token={first}")).await;
    let renewed = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert!(renewed != first && opens(&server, &renewed).await);
    let answer = token(
        &server,
        &basic("ann", "a&b"),
        &format!("{exchange}&subject_token=old"),
    )
    .await;
    assert_eq!(answer.status, 200);
    for (headers, form, expected) in [
        (
            "",
            "grant_type=client_credentials&client_id=ann&client_secret=no",
            (401, "invalid_client"),
        ),
        (
            "",
            "grant_type=client_credentials&client_id=eve&client_secret=a%26b",
            (401, "invalid_client"),
        ),
        ("", "grant_type=client_credentials", (401, "invalid_client")),
        (
            "",
            &format!("{exchange}&subject_token=old"),
            (401, "invalid_client"),
        ),
        (
            "",
            "grant_type=password&username=ann&password=a%26b",
            (400, "unsupported_grant_type"),
        ),
        ("", "", (400, "unsupported_grant_type")),
        (
            "",
            &format!("{credentials}&more={}", "x".repeat(20_000)),
            (400, "invalid_request"),
        ),
    ] {
        let answer = token(&server, headers, form).await;
        let told = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!((answer.status, told.as_str()), expected, "{form:.80}");
        assert!(!answer.text().contains("a&b"), "{answer:?}");
    }
    // another replica takes it; with the password or the user it ends
    let replica = Server::with(guarded, vec![]).await;
    attach(&replica, dir.path(), "lake").await;
    assert!(opens(&replica, &first).await);
    std::fs::write(
        &users,
        format!("# new\n{}\n", user_line("ann", "another").unwrap()),
    )
    .unwrap();
    assert!(!opens(&server, &first).await && !opens(&replica, &renewed).await);
    let answer = token(&server, "", &format!("{exchange}&subject_token={first}")).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_users_only_this_machine_sees_anything() {
    let dir = tempfile::tempdir().unwrap();
    let open = GatewayOptions {
        http: Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
        ..options()
    };
    let mut server = with_lake(dir.path(), open).await;
    server.http.set_ip(Ipv4Addr::LOCALHOST.into());
    for path in [
        "/iceberg/v1/config?warehouse=lake",
        "/iceberg/v1/lake/namespaces",
        TABLE,
    ] {
        let answer = request(server.http, "GET", path, &basic("ann", "x"), "").await;
        assert_eq!(refused(&answer), (403, "ForbiddenException".to_owned()), "{path}");
        assert!(answer.text().contains("--users"), "{answer:?}");
    }
    let form = "grant_type=client_credentials&client_id=a&client_secret=b";
    assert_eq!(token(&server, "", form).await.status, 403);
    assert_eq!(get(&server, "/healthz").await.status, 200);
    // on loopback nobody is asked, as for SQL; who asks for a token is told so
    let server = Server::start().await;
    attach(&server, dir.path(), "lake").await;
    assert_eq!(get(&server, TABLE).await.status, 200);
    let answer = token(&server, "", form).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (400, &json!("unauthorized_client"))
    );
}
