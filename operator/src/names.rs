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

// A Job's name is a label value: 63 characters.
const _: () =
    assert!(NAME_LIMIT + 1 + "YYYYMMDDHHMM".len() + 1 + FINGERPRINT_LENGTH + JOB_SUFFIX_LENGTH <= 63);

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
