//! LIKE: the escape character is the backslash here, and none in the server's sessions.

use serde_json::json;

use super::pushdown::typed;
use super::*;
use crate::common::{plan, sessions, try_rows};

/// Patterns of LIKE, as SQL of the local dialect.
pub(super) const PATTERNS: &[&str] = &[
    "'a'",
    "'a%'",
    "'%a'",
    "'_'",
    "'__'",
    "'a_'",
    "'_%_'",
    "'%''%'",
    "'%b'",
    "'é'",
    "'x%LIMIT _'",
    "'😀%'",
    "''",
    "'%'",
    // An escape, which is the backslash here and nothing there.
    "'a\\\\b'",
    "'a\\%'",
    "'a\\_b'",
    "'a\\b'",
    "'%\\\\%'",
    "'a%' ESCAPE '\\'",
    "'a!%' ESCAPE '!'",
];

/// LIKE is sent for the one column that is compared by its characters alone.
#[tokio::test]
async fn patterns_keep_the_same_rows() {
    let server = MariaDbServer::shared();
    server.database("patterns", &typed());
    let connector = connector_of(&server, "patterns", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    let mut kept = 0;
    for pattern in PATTERNS {
        for not in ["", "NOT "] {
            let sql = format!("SELECT id, nopad FROM typed WHERE nopad {not}LIKE {pattern} ORDER BY id");
            let here = try_rows(&raw, &sql).await.map_err(|error| error.to_string());
            let there = try_rows(&pushing, &sql).await.map_err(|error| error.to_string());
            assert_eq!(here.is_ok(), there.is_ok(), "{sql}: {here:?} {there:?}");
            let (Ok(here), Ok(there)) = (here, there) else {
                continue;
            };
            assert_eq!(here, there, "{sql}");
            kept += usize::from(!here.1.is_empty());
            let plan = plan(&pushing, &sql).await;
            // A pattern that only compares becomes a comparison.
            let special = pattern.contains(['%', '_']) && *pattern != "'%'";
            let sent = special && !pattern.contains(['\\', '!']);
            let request = plan.split("request=").nth(1).unwrap_or_default();
            let request = request.split(", local=").next().unwrap_or_default();
            if special {
                assert_eq!(request.contains("LIKE"), sent, "{sql}\n{plan}");
                assert_eq!(plan.contains("FilterExec"), !sent, "{sql}\n{plan}");
            }
        }
    }
    assert!(kept > 20, "only {kept} patterns kept rows");
}
