//! Values without an exact form here.

use serde_json::json;

use super::*;

#[tokio::test]
async fn what_has_no_exact_form_is_refused() {
    let server = PostgresServer::shared();
    let admin = server.database("refused").await;
    let cases = [
        ("date", "'infinity'", "infinite date"),
        ("date", "'-infinity'", "infinite date"),
        ("timestamp", "'infinity'", "infinite timestamp"),
        ("timestamptz", "'-infinity'", "infinite timestamp with time zone"),
        ("timestamp", "'294276-12-31 23:59:59'", "beyond the range"),
        ("time", "'24:00:00'", "24:00:00"),
        ("interval", "'2562047:47:16.854776'", "292 years"),
        ("numeric(10,2)", "'NaN'", "NaN"),
        ("numeric(10,2)[]", "'{1,NaN}'", "NaN"),
        ("numeric", "'NaN'", "NaN"),
        ("numeric", "1e38", "unconstrainedNumeric"),
        ("numeric", "1e-39", "unconstrainedNumeric"),
        ("numeric[]", "'{1,1e38}'", "unconstrainedNumeric"),
        ("int4[]", "'{{1,2},{3,4}}'", "2 dimensions"),
        ("text[]", "'[0:1]={a,b}'", "begins at index 0"),
        ("date[]", "'{2026-01-01,infinity}'", "infinite date"),
        ("text", "repeat('x', 64 * 1024 * 1024 + 1)", "ValueTooLarge"),
    ];
    for (number, (sql_type, value, _)) in cases.iter().enumerate() {
        admin
            .batch_execute(&format!(
                "CREATE TABLE r{number} AS SELECT 1 AS id, {value}::{sql_type} AS v"
            ))
            .await
            .unwrap();
        // CREATE TABLE AS forgets the modifier of an array's elements.
        admin
            .batch_execute(&format!("ALTER TABLE r{number} ALTER v TYPE {sql_type}"))
            .await
            .unwrap();
    }
    let connector = connector_of(&server, "refused", json!({})).await;
    let (session, _) = sessions(&connector).await;
    for (number, (sql_type, value, words)) in cases.iter().enumerate() {
        let error = collect(&session, &format!("SELECT v FROM r{number}"))
            .await
            .map(|batches| panic!("{sql_type} {value} became {batches:?}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("shop.public.r{number}")), "{error}");
        assert!(error.contains("column \"v\""), "{error}");
        assert!(error.contains(words), "{sql_type} {value}: {error}");
        // The rest of the table can be read.
        let ids = rows(&session, &format!("SELECT id FROM r{number}")).await.1;
        assert_eq!(ids, [[Some("1".to_owned())]]);
    }
}

#[tokio::test]
async fn numerics_of_any_length_are_text_where_the_manifest_says_so() {
    let server = PostgresServer::shared();
    let admin = server.database("any_length").await;
    admin
        .batch_execute(
            "CREATE TABLE t (id int, n numeric, e numeric[], p numeric(5,2)); \
             INSERT INTO t VALUES (1, 1e40, '{1.50,NaN}', 1.5), (2, 'NaN', NULL, NULL), (3, 1.000, '{1e-50}', 2)",
        )
        .await
        .unwrap();
    let connector = connector_of(&server, "any_length", json!({"unconstrainedNumeric": "Text"})).await;
    let (session, _) = sessions(&connector).await;
    let (types, values) = rows(&session, "SELECT n, e, p FROM t ORDER BY id").await;
    assert_eq!(types, ["Utf8", "List(Utf8)", "Decimal128(5, 2)"]);
    let texts: Vec<Vec<&str>> = values
        .iter()
        .map(|row| {
            row.iter()
                .map(|value| value.as_deref().unwrap_or("NULL"))
                .collect()
        })
        .collect();
    let small = format!("[0.{}1]", "0".repeat(49));
    assert_eq!(
        texts,
        [
            [&format!("1{}", "0".repeat(40)), "[1.50, NaN]", "1.50"],
            ["NaN", "NULL", "NULL"],
            ["1.000", &small, "2.00"],
        ]
    );
}
