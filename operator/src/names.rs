//! Names of runs, and the fingerprints of what caused them.
//!
//! A run's name says which Export it serves and when (UTC, to the minute), and ends in a fingerprint of its cause, so that
//! the same cause always leads to the same run: whoever repeats a decision after a crash finds the run that is already
//! there, adopts it and goes on.

use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};

/// Longest part of an Export's name in a run name. Exports are refused beyond it, so this cuts nothing in practice.
const NAME_LIMIT: usize = 40;

/// Letters of the fingerprint in a run name.
const FINGERPRINT_LENGTH: usize = 6;

/// What a Kubernetes Job of one attempt appends (`-1` … `-21`).
const JOB_SUFFIX_LENGTH: usize = 3;

/// Longest value of a label. A Job's name is one, on its Pods.
const LABEL_LIMIT: usize = 63;

// The names we make need no shortening.
const _: () = assert!(
    NAME_LIMIT + 1 + "YYYYMMDDHHMM".len() + 1 + FINGERPRINT_LENGTH + JOB_SUFFIX_LENGTH <= LABEL_LIMIT
);

/// What asks for a run. Two equal triggers of one Export are one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// `schedule.runOnCreate`, once for each uid.
    Create,

    /// A slot of the schedule.
    Slot(Timestamp),

    /// A new value of `spec.runToken`.
    Token {
        /// The value.
        value: String,

        /// The Export's generation. A value that comes back after another one asks anew.
        generation: i64,
    },

    /// A new value of the run-now annotation.
    Annotation(String),

    /// A request at the operator's own interface, with an id of its own: each is a run.
    Request(String),
}

impl Trigger {
    /// Tells this trigger of the Export with this uid from every other one: 16 hex digits.
    pub fn fingerprint(&self, export_uid: &str) -> String {
        let (kind, value) = match self {
            Self::Create => ("create", String::new()),
            Self::Slot(slot) => ("slot", slot.to_string()),
            Self::Token { value, generation } => ("token", format!("{generation} {value}")),
            Self::Annotation(value) => ("annotation", value.clone()),
            Self::Request(id) => ("request", id.clone()),
        };
        let mut hasher = Sha256::new();
        for part in [export_uid, kind, &value] {
            // the length keeps ("ab", "c") and ("a", "bc") apart
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hex(&hasher.finalize()[..8])
    }
}

/// Name of the run of `export` that serves the trigger with this fingerprint at `time` (the slot, else the request).
pub fn run_name(export: &str, time: Timestamp, fingerprint: &str) -> String {
    let name = export
        .get(..export.len().min(NAME_LIMIT))
        .unwrap_or(export)
        .trim_end_matches(['-', '.']);
    let minute = time.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M").to_string();
    let fingerprint = fingerprint.get(..FINGERPRINT_LENGTH).unwrap_or(fingerprint);
    format!("{name}-{minute}-{fingerprint}")
}

/// Name of the Job of one attempt: `<run>-<attempt>`. The same attempt always has the same name, so that whoever starts it
/// again finds it.
pub fn job_name(run: &str, attempt: u32) -> String {
    let suffix = format!("-{attempt}");
    let run = shortened(run, LABEL_LIMIT - suffix.len());
    format!("{run}{suffix}")
}

/// A name as the value of a label.
pub fn label_value(name: &str) -> String {
    shortened(name, LABEL_LIMIT)
}

/// A name of at most `limit` characters. Only runs that a person has named are longer; their shortened names end in a
/// fingerprint, so that no two of them become one.
fn shortened(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_owned();
    }
    let fingerprint = hex(&Sha256::digest(name.as_bytes())[..4]);
    let head = name
        .get(..limit - fingerprint.len() - 1)
        .unwrap_or_default()
        .trim_end_matches(['-', '.']);
    format!("{head}-{fingerprint}")
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // writing to a String cannot fail
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_repeat() {
        let slot: Timestamp = "2026-11-23T18:00:00Z".parse().unwrap();
        let fingerprint = Trigger::Slot(slot).fingerprint("u1");
        let name = run_name("orders", slot, &fingerprint);
        assert_eq!(
            name,
            run_name("orders", slot, &Trigger::Slot(slot).fingerprint("u1"))
        );
        assert!(name.starts_with("orders-202611231800-"), "{name}");
        assert_eq!(run_name(&"x".repeat(60), slot, &fingerprint).len(), 60);
        assert!(
            run_name(&format!("{}-b", "x".repeat(39)), slot, &fingerprint)
                .starts_with(&format!("{}-2026", "x".repeat(39)))
        );
    }

    #[test]
    fn names_of_jobs_fit_a_label() {
        assert_eq!(
            job_name("orders-202611231800-abcdef", 1),
            "orders-202611231800-abcdef-1"
        );
        let slot: Timestamp = "2026-11-23T18:00:00Z".parse().unwrap();
        let longest = run_name(&"x".repeat(60), slot, &Trigger::Create.fingerprint("u1"));
        assert_eq!(
            job_name(&longest, 21),
            format!("{longest}-21"),
            "what we name is never shortened"
        );
        // a person may name a run as long as an object may be named
        let by_hand = [
            format!("{}.a", "backfill-".repeat(20)),
            format!("{}.b", "backfill-".repeat(20)),
        ];
        let [first, second] = by_hand.each_ref().map(|run| job_name(run, 7));
        assert!(
            first.len() <= 63 && first.starts_with("backfill-backfill-") && first.ends_with("-7"),
            "{first}"
        );
        assert_ne!(first, second);
        assert!(label_value(&by_hand[0]).len() <= 63);
    }

    #[test]
    fn fingerprints_tell_triggers_apart() {
        let slot: Timestamp = "2026-11-23T18:00:00Z".parse().unwrap();
        let all = [
            Trigger::Create.fingerprint("u1"),
            Trigger::Create.fingerprint("u2"),
            Trigger::Slot(slot).fingerprint("u1"),
            Trigger::Token {
                value: "a".into(),
                generation: 1,
            }
            .fingerprint("u1"),
            Trigger::Token {
                value: "a".into(),
                generation: 3,
            }
            .fingerprint("u1"),
            Trigger::Token {
                value: "b".into(),
                generation: 1,
            }
            .fingerprint("u1"),
            Trigger::Annotation("a".into()).fingerprint("u1"),
            Trigger::Request("a".into()).fingerprint("u1"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
