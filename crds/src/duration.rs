//! Durations as manifests write them: `90s`, `10m`, `1h30m`, `180d`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::excerpt;

/// Units from long to short, with their length in milliseconds. A month is left out because
/// its length varies; a year is 365 days.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Pattern that the schema of every duration carries.
pub const DURATION_PATTERN: &str = "^([0-9]+(ms|s|m|h|d|w|y))+$";

/// Longest text of a duration.
pub const DURATION_MAX_LENGTH: usize = 32;

/// A length of time, written as whole numbers with units, such as `30s`, `10m`, `1h30m` or `180d`.
///
/// Keeps the text it was read from, so that a status or a message shows what the user wrote.
#[derive(Clone, Eq)]
pub struct Duration {
    text: String,
    value: std::time::Duration,
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    #[error(
        "\"{text}\" is not a duration; write whole numbers with units ms, s, m, h, d, w or y, such as 10m or 180d"
    )]
    Malformed { text: String },
    #[error("\"{text}\" is longer than any supported duration (about 292 million years)")]
    TooLong { text: String },
}

impl Duration {
    /// A duration of whole seconds.
    pub fn from_secs(seconds: u64) -> Self {
        Self {
            text: format!("{seconds}s"),
            value: std::time::Duration::from_secs(seconds),
        }
    }

    /// The length.
    pub fn get(&self) -> std::time::Duration {
        self.value
    }

    /// The text as the manifest has it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || InvalidDuration::Malformed { text: excerpt(text) };
        let too_long = || InvalidDuration::TooLong { text: excerpt(text) };
        if text.is_empty() || text.len() > DURATION_MAX_LENGTH {
            return Err(malformed());
        }
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            if number.is_empty() {
                return Err(malformed());
            }
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
            let (unit, tail) = tail.split_at(letters);
            let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(malformed());
            };
            let number: u64 = number.parse().map_err(|_| too_long())?;
            let part = number.checked_mul(*scale).ok_or_else(too_long)?;
            total = total.checked_add(part).ok_or_else(too_long)?;
            rest = tail;
        }
        // A signed count of milliseconds must hold it: timestamps are computed with it.
        if i64::try_from(total).is_err() {
            return Err(too_long());
        }
        Ok(Self {
            text: text.to_owned(),
            value: std::time::Duration::from_millis(total),
        })
    }
}

impl PartialEq for Duration {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": DURATION_PATTERN,
            "maxLength": DURATION_MAX_LENGTH,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_units_and_sums() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("180d", 180 * 86_400_000),
            ("2w", 14 * 86_400_000),
            ("1y", 365 * 86_400_000),
        ] {
            let parsed: Duration = text.parse().unwrap();
            assert_eq!(parsed.get().as_millis(), millis, "{text}");
            assert_eq!(parsed.to_string(), text);
            let json = serde_json::to_string(&parsed).unwrap();
            assert_eq!(serde_json::from_str::<Duration>(&json).unwrap(), parsed);
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "10", "m", "10 m", "1.5h", "-5m", "10M", "5min", "1mo", "10m "] {
            assert!(
                matches!(text.parse::<Duration>(), Err(InvalidDuration::Malformed { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            "9999999999999999y".parse::<Duration>(),
            Err(InvalidDuration::TooLong { .. })
        ));
        assert!(matches!(
            "99999999999999999999s".parse::<Duration>(),
            Err(InvalidDuration::TooLong { .. })
        ));
    }
}
