//! When runs start: five-field cron in a named time zone.

use std::{fmt, str::FromStr};

use croner::parser::{CronParser, Seconds, Year};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, text::excerpt};

/// When runs start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSpec {
    /// Five fields (minute hour day-of-month month day-of-week) as in crontab(5), or one of
    /// @hourly, @daily, @weekly, @monthly, @yearly. Seconds are not supported.
    #[schemars(length(min = 1, max = 128))]
    pub cron: String,

    /// IANA name of the zone in which `cron` is read, such as `Asia/Seoul`. Default: `Etc/UTC`.
    #[schemars(length(min = 1, max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,

    /// How late a missed start may still be made up for, in seconds; at most one run makes up
    /// for any number of missed ones. Default: no limit.
    #[schemars(range(min = 10, max = 31_536_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,

    /// Spreads starts over this time after the slot, always the same for one resource.
    /// Default: 0s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Duration>,

    /// Also run once when the resource is first seen. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_on_create: Option<bool>,

    /// What happens to a slot that comes while a run is active: `Forbid` (the default) lets the
    /// active run finish; the newest slot then starts, if `startingDeadlineSeconds` still allows
    /// it. `Replace` ends the active run and starts anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
}

impl ScheduleSpec {
    /// Name of the zone in force.
    pub fn time_zone(&self) -> &str {
        self.time_zone.as_deref().unwrap_or("Etc/UTC")
    }

    /// Policy in force.
    pub fn concurrency_policy(&self) -> ConcurrencyPolicy {
        self.concurrency_policy.unwrap_or_default()
    }

    /// Whether the first sight of the resource starts a run.
    pub fn run_on_create(&self) -> bool {
        self.run_on_create.unwrap_or(false)
    }

    /// Jitter in force.
    pub fn jitter(&self) -> std::time::Duration {
        self.jitter
            .as_ref()
            .map_or(std::time::Duration::ZERO, Duration::get)
    }

    /// The parsed `cron`.
    pub fn parse(&self) -> Result<Cron, InvalidCron> {
        parse(&self.cron)
    }

    /// The zone that `timeZone` names.
    pub fn zone(&self) -> Result<jiff::tz::TimeZone, UnknownTimeZone> {
        parse_zone(self.time_zone())
    }
}

/// What happens to a slot that comes while a run is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum ConcurrencyPolicy {
    /// The active run finishes first.
    #[default]
    Forbid,
    /// The active run is ended and a new one starts.
    Replace,
}

/// A cron expression of five fields, checked.
#[derive(Clone)]
pub struct Cron {
    text: String,
    pattern: croner::Cron,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    #[error("cron is empty; write five fields: minute hour day-of-month month day-of-week")]
    Empty,
    #[error(
        "\"{text}\" has {count} fields; write five fields (minute hour day-of-month month day-of-week): seconds and years are not supported"
    )]
    FieldCount { text: String, count: usize },
    #[error(
        "\"{text}\" is not a known nickname; write @hourly, @daily, @weekly, @monthly, @yearly or five fields"
    )]
    UnknownNickname { text: String },
    #[error("\"{text}\" is not a cron expression: {reason}")]
    Malformed { text: String, reason: String },
    #[error("\"{text}\" never comes due: {reason}")]
    Never { text: String, reason: String },
}

/// A zone name that the time zone database does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{name}\" is not an IANA time zone; write a name such as Etc/UTC, Asia/Seoul or Europe/Berlin")]
pub struct UnknownTimeZone {
    pub name: String,
}

impl Cron {
    /// The expression as the manifest has it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed pattern, to compute occurrences with.
    pub fn pattern(&self) -> &croner::Cron {
        &self.pattern
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cron({})", self.text)
    }
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
    }
}

const NICKNAMES: [&str; 7] = [
    "@hourly",
    "@daily",
    "@midnight",
    "@weekly",
    "@monthly",
    "@yearly",
    "@annually",
];

/// Parses five fields or a nickname. Six fields are refused: schedulers that accept them read the
/// first as seconds, and `0 0 3 * * *` meant as five fields has run jobs hourly instead of daily.
pub fn parse(text: &str) -> Result<Cron, InvalidCron> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(InvalidCron::Empty);
    }
    if trimmed.starts_with('@') {
        if !NICKNAMES.contains(&trimmed) {
            return Err(InvalidCron::UnknownNickname { text: excerpt(text) });
        }
    } else {
        let count = trimmed.split_whitespace().count();
        if count != 5 {
            return Err(InvalidCron::FieldCount {
                text: excerpt(text),
                count,
            });
        }
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let pattern = parser.parse(trimmed).map_err(|error| InvalidCron::Malformed {
        text: excerpt(text),
        reason: error.to_string().trim_end_matches('.').to_owned(),
    })?;
    // `0 0 30 2 *` parses; a schedule that never fires is a mistake to be told at once.
    let start = jiff::civil::date(2024, 1, 1).at(0, 0, 0, 0);
    if let Ok(start) = start.to_zoned(jiff::tz::TimeZone::UTC)
        && let Err(error) = pattern.find_next_occurrence(&start, true)
    {
        return Err(InvalidCron::Never {
            text: excerpt(text),
            reason: error.to_string().trim_end_matches('.').to_owned(),
        });
    }
    Ok(Cron {
        text: text.to_owned(),
        pattern,
    })
}

/// The zone with this IANA name.
pub fn parse_zone(name: &str) -> Result<jiff::tz::TimeZone, UnknownTimeZone> {
    jiff::tz::TimeZone::get(name).map_err(|_| UnknownTimeZone { name: excerpt(name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_five_fields_and_nicknames() {
        for text in [
            "0 3 * * *",
            "*/5 * * * *",
            "0 9 * * 1-5",
            "0 9 * * MON-FRI",
            "15 2 1 JAN *",
            "@daily",
            "@hourly",
            "0 0 29 2 *",
        ] {
            parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn refuses_the_rest_with_the_reason() {
        for (text, expected) in [
            ("", "cron is empty"),
            ("0 0 3 * * *", "has 6 fields; write five fields"),
            ("0 3 * *", "has 4 fields"),
            ("@reboot", "not a known nickname"),
            ("61 3 * * *", "is not a cron expression"),
            ("0 25 * * *", "is not a cron expression"),
            ("0 3 32 * *", "is not a cron expression"),
            ("0 3 * 13 *", "is not a cron expression"),
            ("0 3 * * FOO", "is not a cron expression"),
            ("0 0 30 2 *", "never comes due"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn knows_zones() {
        for name in ["Etc/UTC", "Asia/Seoul", "Europe/Berlin", "UTC"] {
            parse_zone(name).unwrap();
        }
        for name in ["KST+9", "Asia/Soul", "Mars/Olympus"] {
            assert!(parse_zone(name).is_err(), "{name}");
        }
    }
}
