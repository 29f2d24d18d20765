//! Masked exports by real workers: what is written holds no clear value, and what is wrong fails before reading.

use std::path::{Path, PathBuf};

use lakegate_lake::Lake;
use lakegate_operator::{
    WorkerLauncher as _,
    launcher::LaunchFailure,
    protocol::{Failure, WorkOrder, WorkerMessage},
};
use lakegate_store::MemoryStore;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::json;

use crate::worker::{launcher, order, outcome};

/// In every value that is masked.
const CANARY: &str = "canary";

/// In the values that are not: what is found shows that the search works.
const CONTROL: &str = "control";

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A store of people whose every column but `id` and `city` is to be hidden.
fn people(directory: &Path, rows: usize) {
    let mut text = "id,city,email,phone,card,note,profile,visitor,born,income\n".to_owned();
    for row in 0..rows {
        use std::fmt::Write as _;
        writeln!(
            text,
            "{row},{CONTROL}-{},{CANARY}{row}@x.example,+82 10 {CANARY} {row:04},{CANARY}-{row},{CANARY},\
             \"{{\"\"plan\"\":\"\"{CONTROL}\"\",\"\"name\"\":\"\"{CANARY}\"\"}}\",{CANARY}{},2024-02-{:02},{}",
            row % 7,
            row % 5,
            row % 28 + 1,
            1_234_567 + row,
        )
        .unwrap();
    }
    std::fs::write(directory.join("people.csv"), text).unwrap();
}

fn masked_order(directory: &Path, columns: &serde_json::Value) -> WorkOrder {
    let spec = json!({
        "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "default", "name": "people"}},
        "columns": columns,
        "where": format!("email like '{CANARY}%'"),
    });
    let mut order = order(directory, spec, 1);
    order.sources = vec![crate::harness::source(
        "shop",
        json!({"objectStore": {
            "directory": {"path": directory}, "tables": [{"name": "people", "path": "people.csv", "format": "Csv"}],
        }}),
    )];
    order
}

fn secrets() -> MemoryStore {
    let store = MemoryStore::new();
    store.put_secret("default", "pii", "hmac", KEY);
    store.put_secret("default", "pii", "siv", &KEY.repeat(2));
    store.put_secret("default", "pii", "short", "too-short");
    store.put_secret("default", "pii", "broken", "hex:zz");
    store
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn holds(content: &[u8], text: &str) -> bool {
    content
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_clear_value_is_in_any_file_of_the_lake() {
    let directory = tempfile::tempdir().unwrap();
    people(directory.path(), 500);
    let key = |key: &str| json!({"name": "pii", "key": key});
    let columns = json!([
        {"name": "id"},
        {"name": "city"},
        {"name": "email", "mask": {"email": {}}},
        {"name": "email", "as": "email_hash", "mask": {"hmac": {"keyRef": key("hmac")}}},
        {"name": "email", "as": "email_token", "mask": {"tokenize": {"keyRef": key("siv")}}},
        {"name": "phone", "mask": {"phone": {"keepLast": 2}}},
        {"name": "card", "mask": {"partial": {"keepLast": 1}}},
        {"name": "card", "as": "card_gone", "mask": {"drop": {}}},
        {"name": "note", "mask": {"redact": {}}},
        {"name": "note", "as": "note_null", "mask": {"null": {}}},
        {"name": "note", "as": "note_constant", "mask": {"constant": {"value": "hidden"}}},
        {"name": "profile", "mask": {"jsonPath": {"keep": ["$.plan"]}}},
        {"name": "visitor", "mask": {"ipPrefix": {}}},
        {"name": "visitor", "as": "visitor_no", "mask": {"regexReplace": {"pattern": "^[a-z]+", "with": "v"}}},
        {"name": "born", "mask": {"dateShift": {"by": "id", "within": "30d", "keyRef": key("hmac")}}},
        {"name": "income", "mask": {"noise": {"percent": 10, "keyRef": key("hmac")}}},
        {"name": "income", "as": "income_band", "mask": {"bucket": {"width": 100_000}}},
    ]);
    let secrets = secrets();
    let mut worker = launcher()
        .launch(masked_order(directory.path(), &columns), &secrets)
        .await
        .unwrap();
    let (last, how) = outcome(&mut worker).await;
    let Some(WorkerMessage::Finished(report)) = last else {
        panic!("{last:?}, {how}")
    };
    assert_eq!(report.rows, 500, "the condition saw the clear values");

    let lake = directory.path().join("lake");
    let mut controls = 0;
    let mut cells = 0;
    for path in files(&lake) {
        let content = std::fs::read(&path).unwrap();
        // footers with their bounds and page indexes are not compressed, nor are manifests
        assert!(!holds(&content, CANARY), "{} holds a clear value", path.display());
        assert!(!holds(&content, KEY), "{} holds a key", path.display());
        let is_data = path.extension().is_some_and(|extension| extension == "parquet");
        let is_manifest = path.extension().is_some_and(|extension| extension == "avro");
        controls += usize::from((is_data || is_manifest) && holds(&content, CONTROL));
        if !is_data {
            continue;
        }
        let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        let metadata = format!("{:?}", reader.metadata());
        assert!(!metadata.contains(CANARY), "{metadata}");
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap().to_string();
            assert!(!row.contains(CANARY), "{row}");
            assert!(row.contains(CONTROL), "{row}");
            cells += row.matches("\": ").count();
        }
    }
    assert_eq!(
        controls, 2,
        "the bounds of a clear column are in the footer and in the manifest"
    );
    assert!(cells > 0 || report.rows > 0);

    let opened = Lake::open_directory(&lake).await.unwrap();
    let manifest = opened
        .run_manifest("shop", "orders", "run-1")
        .await
        .unwrap()
        .unwrap();
    let hash = manifest
        .columns
        .iter()
        .find(|column| column.name == "email_hash")
        .unwrap();
    let mask = hash.mask.clone().unwrap();
    assert_eq!(
        (
            mask.method.as_str(),
            mask.domain.as_deref(),
            mask.key.as_deref(),
            mask.key_id.as_deref()
        ),
        (
            "hmac",
            Some("shop.default.people.email"),
            Some("pii/hmac"),
            Some("7e09792b")
        )
    );
    assert!(manifest.columns.iter().all(|column| column.name != "card_gone"));
    assert_eq!(
        manifest
            .columns
            .iter()
            .filter(|column| column.mask.is_none())
            .count(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_mask_fails_the_run_with_its_field() {
    let directory = tempfile::tempdir().unwrap();
    people(directory.path(), 3);
    let hmac = |key: &str| json!([{"name": "id"}, {"name": "email", "mask": {"hmac": {"keyRef": {"name": "pii", "key": key}}}}]);
    for (secret, reason, text) in [
        (("pii", "gone"), "SecretKeyMissing", "gone"),
        (("other", "hmac"), "SecretNotFound", "secret other was not found"),
    ] {
        let columns =
            json!([{"name": "email", "mask": {"hmac": {"keyRef": {"name": secret.0, "key": secret.1}}}}]);
        let refused = launcher()
            .launch(masked_order(directory.path(), &columns), &secrets())
            .await;
        let Err(failure @ LaunchFailure::Secret { .. }) = refused else {
            panic!("{secret:?}: a worker was started")
        };
        let ending = format!("{:?}", failure.ending());
        assert!(
            ending.contains(reason)
                && ending.contains(text)
                && ending.contains("spec.columns[0].mask.hmac.keyRef"),
            "{ending}"
        );
    }
    let tokenize =
        json!([{"name": "email", "mask": {"tokenize": {"keyRef": {"name": "pii", "key": "hmac"}}}}]);
    let cases = [
        (
            hmac("short"),
            "SecretInvalid",
            true,
            "spec.columns[1].mask.hmac.keyRef: key \"short\" of secret pii has 9 bytes, and hmac needs at least 16",
        ),
        (
            hmac("broken"),
            "SecretInvalid",
            true,
            "what follows hex: is no pairs of hexadecimal digits",
        ),
        (
            tokenize,
            "SecretInvalid",
            true,
            "has 32 bytes, and tokenize needs exactly 64",
        ),
        (
            json!([{"name": "email", "cast": "bigint", "mask": {"round": {"digits": -1}}}]),
            "CastFailed",
            false,
            "a value of column email cannot be cast",
        ),
        (
            json!([{"name": "email", "cast": "date", "mask": {"truncate": {"to": "Year"}}}]),
            "CastFailed",
            false,
            "a value of column email cannot be cast",
        ),
    ];
    for (columns, reason, terminal, text) in cases {
        let mut worker = launcher()
            .launch(masked_order(directory.path(), &columns), &secrets())
            .await
            .unwrap();
        let (last, how) = outcome(&mut worker).await;
        let Some(WorkerMessage::Failed(Failure {
            reason: why,
            message,
            terminal: is_final,
        })) = last
        else {
            panic!("{columns}: {last:?}, {how}")
        };
        assert_eq!(
            (why.as_str(), is_final),
            (reason, terminal),
            "{columns}: {message}"
        );
        assert!(message.contains(text), "{columns}: {message}");
        assert!(
            !message.contains(CANARY) && !message.contains("too-short"),
            "{message}"
        );
        let opened = Lake::open_directory(&directory.path().join("lake"))
            .await
            .unwrap();
        assert!(
            opened.list().await.unwrap().is_empty(),
            "{columns}: nothing may be published"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rare_combinations_keep_a_run_from_publishing() {
    let directory = tempfile::tempdir().unwrap();
    people(directory.path(), 70);
    let mut columns = json!([{"name": "city"}, {"name": "income", "mask": {"bucket": {"width": 1_000_000}}}]);
    let attempt = async |columns: &serde_json::Value, k: u32| {
        let mut order = masked_order(directory.path(), columns);
        order.spec.assert =
            serde_json::from_value(json!({"kAnonymity": {"quasi": ["city", "income"], "k": k}})).unwrap();
        let mut worker = launcher().launch(order, &secrets()).await.unwrap();
        outcome(&mut worker).await
    };
    let opened = Lake::open_directory(&directory.path().join("lake"))
        .await
        .unwrap();
    let (last, how) = attempt(&columns, 11).await;
    let Some(WorkerMessage::Failed(failure)) = last else {
        panic!("{last:?}, {how}")
    };
    assert_eq!(
        (failure.reason.as_str(), failure.terminal),
        ("AssertionFailed", true)
    );
    assert!(
        failure
            .message
            .contains("7 of 7 combinations of city, income have fewer than 11 rows (70 of 70 rows)"),
        "{failure:?}"
    );
    assert!(!failure.message.contains(CONTROL), "{failure:?}");
    assert!(opened.list().await.unwrap().is_empty(), "nothing is published");
    let left = files(&directory.path().join("lake"));
    assert!(
        left.iter()
            .all(|path| path.extension().is_none_or(|it| it != "parquet")),
        "{left:?}"
    );

    columns[1] = json!({"name": "income"});
    let (last, how) = attempt(&columns, 2).await;
    let Some(WorkerMessage::Failed(failure)) = last else {
        panic!("{last:?}, {how}")
    };
    assert!(
        failure.message.contains("70 of 70 combinations"),
        "masked rows are counted: {failure:?}"
    );

    columns[1] = json!({"name": "income", "mask": {"bucket": {"width": 1_000_000}}});
    let (last, how) = attempt(&columns, 10).await;
    assert!(
        matches!(last, Some(WorkerMessage::Finished(_))),
        "{last:?}, {how}"
    );
    let metadata = directory
        .path()
        .join("lake/shop/orders/metadata/v1.metadata.json");
    let metadata = std::fs::read_to_string(metadata).unwrap();
    assert!(
        metadata.contains("k=10 rarest=10 combinations=7 of city, income"),
        "{metadata}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_columns_that_look_personal_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("people.csv"),
        "id,email,contact,phone,surname,address\n1,canary@x,ann@example.com,1,Ann,here\n2,canary,bob@example.com,2,Bob,there\n",
    )
    .unwrap();
    let columns = json!([
        {"name": "id"}, {"name": "email", "as": "e"}, {"name": "contact"}, {"name": "phone", "mask": {"redact": {}}, "cast": "text"},
        {"name": "surname"}, {"name": "address", "as": "place"},
    ]);
    let mut order = masked_order(directory.path(), &columns);
    order.spec.acknowledge_personal = vec!["surname".to_owned()];
    let mut worker = launcher().launch(order, &secrets()).await.unwrap();
    let (last, how) = outcome(&mut worker).await;
    let Some(WorkerMessage::Finished(report)) = last else {
        panic!("{last:?}, {how}")
    };
    let found: Vec<(&str, &str)> = report
        .personal
        .iter()
        .map(|column| (column.name.as_str(), column.holds.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("e", "e-mail addresses"),
            ("contact", "e-mail addresses"),
            ("place", "addresses")
        ]
    );
}
