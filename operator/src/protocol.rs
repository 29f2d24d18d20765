//! What the operator and a worker say to each other: one JSON document in, JSON lines out.
//!
//! ```text
//! a child process:
//! operator ── stdin ──▶ Assignment           (one line; then the pipe stays open: its end means "stop")
//! operator ◀─ stdout ── WorkerMessage …      (one a second as heartbeat, the last one is the result)
//! operator ◀─ stderr ── log lines
//!
//! a Pod:
//! operator ── file ───▶ WorkOrder            (no secret in it: the Secrets are mounted beside it)
//! operator ◀─ log ───── WorkerMessage …      (among log lines; the last one also as termination message)
//! ```

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use lakegate_crds::{DataSource, ExportSpec, NulledColumnStatus, PersonalColumnStatus, View};
use lakegate_store::SecretValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Raised when either side stops understanding the other. Both are the same binary, unless it was replaced on disk while
/// `serve` runs; then the worker says so instead of guessing.
pub const PROTOCOL_VERSION: u32 = 2;

/// Everything one attempt needs but the values of secrets: a worker asks nobody anything.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkOrder {
    /// [`PROTOCOL_VERSION`] of the operator.
    pub version: u32,

    /// What is being worked on.
    pub run: RunIdentity,

    /// The Export as it was when the run began.
    pub spec: ExportSpec,

    /// The DataSources the run reads; an export of one table has one.
    pub sources: Vec<DataSource>,

    /// The DataSource the run writes.
    pub lake: DataSource,

    /// Views a query may name.
    pub views: Vec<View>,

    /// When the run's time is over. An attempt that has not committed by then does not commit any more, wherever it
    /// runs and whoever still sees it: after this instant the operator may go on without it.
    pub deadline: Timestamp,

    /// Where a lake without a path of its own lives, and where spill files go.
    pub state_dir: PathBuf,

    /// Threads of the run.
    pub threads: usize,

    /// Bytes of the run's memory pool.
    pub memory_bytes: usize,
}

/// An order with the values of the secrets that its DataSources and masks refer to: what a child process gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// What to do.
    pub order: WorkOrder,

    /// What it takes.
    pub secrets: SecretBundle,
}

/// Names one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunIdentity {
    /// Namespace of run and Export.
    pub namespace: String,

    /// Name of the ExportRun.
    pub name: String,

    /// Uid of the ExportRun: the run id in the lake, where it makes a repeated commit recognisable.
    pub uid: String,

    /// Name of the Export.
    pub export: String,

    /// Uid of the Export, when it is known: whose the table becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_uid: Option<String>,

    /// Counts from 1.
    pub attempt: u32,

    /// Unique over all attempts of all runs: no two ever write the same file.
    pub attempt_id: String,
}

/// Secret values by `namespace/name` and key. Printing it shows the names only.
#[derive(Clone, Default)]
pub struct SecretBundle(BTreeMap<String, BTreeMap<String, SecretValue>>);

impl SecretBundle {
    /// Adds or replaces one value.
    pub fn insert(&mut self, namespace: &str, name: &str, key: &str, value: SecretValue) {
        self.0
            .entry(format!("{namespace}/{name}"))
            .or_default()
            .insert(key.to_owned(), value);
    }

    /// The value of a key.
    pub fn get(&self, namespace: &str, name: &str, key: &str) -> Option<&SecretValue> {
        self.0.get(&format!("{namespace}/{name}"))?.get(key)
    }

    /// Whether any key of the secret is there.
    pub fn contains(&self, namespace: &str, name: &str) -> bool {
        self.0.contains_key(&format!("{namespace}/{name}"))
    }

    /// Every key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretValue)> {
        self.0
            .values()
            .flat_map(|keys| keys.iter().map(|(key, value)| (key.as_str(), value)))
    }
}

impl std::fmt::Debug for SecretBundle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self
            .0
            .iter()
            .map(|(name, keys)| (name, keys.keys().collect::<Vec<_>>()));
        formatter.debug_map().entries(names).finish()
    }
}

// The pipe to the worker is the one place a value is written to.
impl Serialize for SecretBundle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, keys)| {
            let exposed: BTreeMap<&str, &str> = keys
                .iter()
                .map(|(key, value)| (key.as_str(), value.expose()))
                .collect();
            (name, exposed)
        }))
    }
}

impl<'de> Deserialize<'de> for SecretBundle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let plain = BTreeMap::<String, BTreeMap<String, String>>::deserialize(deserializer)?;
        let values = |keys: BTreeMap<String, String>| {
            keys.into_iter()
                .map(|(key, value)| (key, SecretValue::new(value)))
                .collect()
        };
        Ok(Self(
            plain
                .into_iter()
                .map(|(name, keys)| (name, values(keys)))
                .collect(),
        ))
    }
}

/// A line from the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum WorkerMessage {
    /// Still at work. Sent each second, by a Pod each ten: silence is a sign of death.
    Progress(Progress),

    /// The table holds the run's rows. The last line.
    Finished(Report),

    /// The attempt is over and published nothing. The last line.
    Failed(Failure),
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,

    /// Rows written so far.
    pub rows: u64,

    /// Bytes written so far.
    pub bytes: u64,

    /// Rows expected, by the source's statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_rows: Option<u64>,
}

/// What an attempt is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Connecting and planning.
    #[default]
    Starting,

    /// Reading rows and writing files.
    Copying,

    /// Publishing the files as the table's content.
    Committing,
}

impl Phase {
    /// The word in status and on the progress bar.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::Copying => "Copying",
            Self::Committing => "Committing",
        }
    }
}

/// What a run published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Rows read from the source after its filter; absent when an earlier attempt did the work.
    pub rows_read: Option<u64>,

    /// Rows of the table.
    pub rows: u64,

    /// Bytes of its data files.
    pub bytes: u64,

    /// Number of its data files.
    pub files: u64,

    /// Snapshot in the lake; 0 of plain files, which have none.
    pub snapshot_id: i64,

    /// An earlier attempt of this run had committed already.
    pub already: bool,

    /// Rows that were new or had changed, and the files that were written for them, of a run that changed only a part of
    /// the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Size>,

    /// How far an incremental export has come. Boxed: reports travel in enums whose other variants are small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Box<CursorReport>>,

    /// Why an incremental export read everything, when it did; unknown of an earlier attempt's work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_read: Option<String>,

    /// Columns that look personal and are neither masked nor acknowledged; unknown of an earlier attempt's work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub personal: Vec<PersonalColumnStatus>,

    /// New columns of the source that were left out; unknown of an earlier attempt's work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_columns: Vec<String>,

    /// Columns with values that did not fit their cast and became null; unknown of an earlier attempt's work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nulled_columns: Vec<NulledColumnStatus>,
}

/// Some data files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Rows.
    pub rows: u64,

    /// Bytes.
    pub bytes: u64,

    /// Files.
    pub files: u64,
}

/// The cursors between which an incremental run has read. None of them tells a value that is not exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CursorReport {
    /// Where it began; absent when it read everything, and unknown of an earlier attempt's work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,

    /// Where the next run goes on.
    pub to: String,
}

/// Why an attempt published nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A name of `lakegate_crds::conditions::Reason`.
    pub reason: String,

    /// For people; holds no secret.
    pub message: String,

    /// Trying the same again cannot help.
    pub terminal: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_travels_but_never_prints() {
        let mut bundle = SecretBundle::default();
        bundle.insert("default", "shop-db", "password", SecretValue::new("canary-4711"));
        assert_eq!(format!("{bundle:?}"), r#"{"default/shop-db": ["password"]}"#);
        let line = serde_json::to_string(&bundle).unwrap();
        let back: SecretBundle = serde_json::from_str(&line).unwrap();
        assert_eq!(
            back.get("default", "shop-db", "password").unwrap().expose(),
            "canary-4711"
        );
        assert!(back.contains("default", "shop-db") && !back.contains("other", "shop-db"));
        assert_eq!(back.iter().count(), 1);
    }

    #[test]
    fn messages_keep_their_form() {
        let cases = [
            (
                WorkerMessage::Progress(Progress {
                    phase: Phase::Copying,
                    rows: 7,
                    bytes: 9,
                    total_rows: None,
                }),
                r#"{"type":"progress","phase":"Copying","rows":7,"bytes":9}"#,
            ),
            (
                WorkerMessage::Failed(Failure {
                    reason: "OutOfMemory".into(),
                    message: "m".into(),
                    terminal: false,
                }),
                r#"{"type":"failed","reason":"OutOfMemory","message":"m","terminal":false}"#,
            ),
        ];
        for (message, line) in cases {
            assert_eq!(serde_json::to_string(&message).unwrap(), line);
            assert_eq!(serde_json::from_str::<WorkerMessage>(line).unwrap(), message);
        }
    }
}
