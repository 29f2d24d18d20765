//! The settings of one session, in PostgreSQL's names and formats.
//!
//! A setting is text on the wire; this table says which names exist, what values
//! each accepts and how a value reads back (`SET statement_timeout = 5000` shows `5s`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Cause, FederationError};
use crate::parameters::ParameterKind::{
    Bool, DateStyle, Encoding, IdentifierList, Integer, Milliseconds, Text, TimeZone,
};
use crate::parameters::{PARAMETERS, Parameter, ParameterKind, find_parameter};

/// The settings of one session. Cloning one is the way to remember it for a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// What `RESET` goes back to, where that is not the parameter's own default.
    defaults: BTreeMap<String, String>,
    values: BTreeMap<String, String>,
}

impl Settings {
    /// The value of a setting, or None for a name that does not exist.
    pub fn get(&self, name: &str) -> Option<&str> {
        let key = canonical_name(name);
        self.values
            .get(&*key)
            .or_else(|| self.defaults.get(&*key))
            .map(String::as_str)
            .or_else(|| find_parameter(name).map(|parameter| parameter.default))
    }

    /// Sets a value as `SET name = value` does and returns how it reads back.
    ///
    /// # Errors
    /// `UnknownSetting` (42704; a name with a dot is always accepted), `FixedSetting`
    /// (55P02) and `InvalidParameter` (22023).
    pub fn set(&mut self, name: &str, value: &str) -> Result<String, FederationError> {
        let value = match find_parameter(name) {
            Some(parameter) if !parameter.settable => {
                return Err(Cause::FixedSetting {
                    name: parameter.name.into(),
                }
                .into());
            }
            Some(parameter) => canonical_value(parameter, value)?,
            None if name.contains('.') && !name.to_lowercase().starts_with("lakegate.") => value.to_owned(),
            None => return Err(Cause::UnknownSetting { name: name.into() }.into()),
        };
        self.values
            .insert(canonical_name(name).into_owned(), value.clone());
        Ok(value)
    }

    /// Gives the session's own default: a start-up option, the user's name, a fixed
    /// parameter such as `ssl`. `RESET` goes back to it.
    ///
    /// # Errors
    /// As [`Self::set`], but fixed parameters are accepted.
    pub fn set_default(&mut self, name: &str, value: &str) -> Result<(), FederationError> {
        let value = match find_parameter(name) {
            Some(parameter) => canonical_value(parameter, value)?,
            None if name.contains('.') => value.to_owned(),
            None => return Err(Cause::UnknownSetting { name: name.into() }.into()),
        };
        self.defaults.insert(canonical_name(name).into_owned(), value);
        Ok(())
    }

    /// Goes back to the session's default.
    ///
    /// # Errors
    /// `UnknownSetting` for a name that does not exist.
    pub fn reset(&mut self, name: &str) -> Result<(), FederationError> {
        if self.get(name).is_none() {
            return Err(Cause::UnknownSetting { name: name.into() }.into());
        }
        self.values.remove(&*canonical_name(name));
        Ok(())
    }

    /// Goes back to the session's defaults everywhere.
    pub fn reset_all(&mut self) {
        self.values.clear();
    }

    /// Every setting with its value, ordered as `SHOW ALL` orders them.
    pub fn all(&self) -> Vec<(String, String, &'static str)> {
        let mut all: BTreeMap<String, (String, String, &'static str)> = BTreeMap::new();
        for parameter in PARAMETERS {
            let value = self.get(parameter.name).unwrap_or(parameter.default).to_owned();
            all.insert(
                parameter.name.to_lowercase(),
                (parameter.name.to_owned(), value, parameter.description),
            );
        }
        for (name, value) in self.defaults.iter().chain(&self.values) {
            if find_parameter(name).is_none() {
                all.insert(name.to_lowercase(), (name.clone(), value.clone(), ""));
            }
        }
        all.into_values().collect()
    }

    /// The bound on a statement's time; None is without bound.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.duration("statement_timeout")
    }

    /// A setting that is a length of time; None when it is 0, which is without bound.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        let milliseconds = parse_milliseconds(self.get(name)?)?;
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// False when sources must send raw rows.
    pub fn pushdown(&self) -> bool {
        self.get("lakegate.pushdown") != Some("off")
    }

    /// The session's time zone, as given.
    pub fn time_zone(&self) -> &str {
        self.get("TimeZone").unwrap_or("UTC")
    }

    /// The schemas of `search_path` as written, `$user` not yet replaced.
    pub fn search_path(&self) -> Vec<String> {
        split_identifiers(self.get("search_path").unwrap_or_default()).unwrap_or_default()
    }
}

fn canonical_name(name: &str) -> std::borrow::Cow<'_, str> {
    match find_parameter(name) {
        Some(parameter) => parameter.name.into(),
        None => name.to_lowercase().into(),
    }
}

fn canonical_value(parameter: &Parameter, value: &str) -> Result<String, FederationError> {
    let trimmed = value.trim();
    let invalid = |hint: Option<String>| {
        let error = FederationError::from(Cause::InvalidParameter {
            message: format!("invalid value for parameter \"{}\": \"{value}\"", parameter.name),
        });
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    };
    match parameter.kind {
        Bool => parse_bool(trimmed)
            .map(|on| if on { "on" } else { "off" }.to_owned())
            .ok_or_else(|| invalid(Some("Use on or off.".into()))),
        Integer(low, high) => match trimmed.parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(number.to_string()),
            Ok(_) => Err(invalid(Some(format!("The range is {low} .. {high}.")))),
            Err(_) => Err(invalid(None)),
        },
        Milliseconds => match parse_milliseconds(trimmed) {
            Some(milliseconds) if i32::try_from(milliseconds).is_ok() => Ok(show_milliseconds(milliseconds)),
            Some(_) => Err(invalid(Some(format!("The range is 0 .. {}ms.", i32::MAX)))),
            None => Err(invalid(Some(
                "Valid units for this parameter are \"ms\", \"s\", \"min\", \"h\" and \"d\".".into(),
            ))),
        },
        ParameterKind::Enum(words) => {
            // `SET standard_conforming_strings = true` is a bool in PostgreSQL
            let folded = match parse_bool(trimmed) {
                Some(true) if words.contains(&"on") => "on".to_owned(),
                Some(false) if words.contains(&"off") => "off".to_owned(),
                _ => trimmed.to_lowercase(),
            };
            if words.contains(&folded.as_str()) {
                Ok(folded)
            } else {
                Err(invalid(Some(format!("Available values: {}.", words.join(", ")))))
            }
        }
        TimeZone => canonical_time_zone(trimmed).ok_or_else(|| {
            invalid(Some(
                "Use an IANA name such as Asia/Seoul, or an offset such as +09:00.".into(),
            ))
        }),
        IdentifierList => match split_identifiers(trimmed) {
            Some(names) => Ok(names
                .iter()
                .map(|name| quote_identifier(name))
                .collect::<Vec<_>>()
                .join(", ")),
            None => Err(invalid(Some(
                "Use a comma-separated list of schema names.".into(),
            ))),
        },
        DateStyle => canonical_date_style(trimmed).ok_or_else(|| {
            invalid(Some(
                "Only the style ISO exists here, with MDY, DMY or YMD.".into(),
            ))
        }),
        // PostgreSQL looks at nothing but letters and digits; asyncpg sends `'utf-8'` with its quotes
        Encoding => match trimmed
            .to_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "")
            .as_str()
        {
            "utf8" | "unicode" => Ok("UTF8".into()),
            _ => Err(invalid(Some("Only UTF8 is supported.".into()))),
        },
        Text => Ok(value.to_owned()),
    }
}

/// PostgreSQL accepts any unambiguous start of these words.
fn parse_bool(value: &str) -> Option<bool> {
    let value = value.to_lowercase();
    match value.as_str() {
        "" | "o" => None,
        "1" => Some(true),
        "0" => Some(false),
        word if ["on", "true", "yes"].iter().any(|full| full.starts_with(word)) => Some(true),
        word if ["off", "false", "no"].iter().any(|full| full.starts_with(word)) => Some(false),
        _ => None,
    }
}

fn parse_milliseconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..end].parse().ok()?;
    let factor = match value[end..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn show_milliseconds(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0".into();
    }
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")] {
        if milliseconds.is_multiple_of(factor) {
            return format!("{}{unit}", milliseconds / factor);
        }
    }
    format!("{milliseconds}ms")
}

fn canonical_time_zone(value: &str) -> Option<String> {
    let unquoted = value.trim_matches('\'');
    if ["utc", "gmt", "z", "default", "local", "etc/utc"].contains(&unquoted.to_lowercase().as_str()) {
        return Some("UTC".into());
    }
    if let Some(offset) = parse_offset(unquoted) {
        return Some(offset);
    }
    let zone = jiff::tz::TimeZone::get(unquoted).ok()?;
    zone.iana_name().map(str::to_owned)
}

/// `+09`, `-9`, `+0930`, `+09:30` as `+09:30`. A sign means "east of Greenwich is
/// positive", as in ISO 8601 and in `SET TIME ZONE 9`.
fn parse_offset(value: &str) -> Option<String> {
    let (sign, digits) = match value.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', value.strip_prefix('+').unwrap_or(value)),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => digits.split_at(2),
        None => (digits, "0"),
    };
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(hours) || !all_digits(minutes) || hours.len() > 2 {
        return None;
    }
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 15 && minutes < 60).then(|| format!("{sign}{hours:02}:{minutes:02}"))
}

fn canonical_date_style(value: &str) -> Option<String> {
    let mut order = "MDY";
    for word in value.split(',').map(|word| word.trim().to_lowercase()) {
        match word.as_str() {
            "iso" => {}
            "mdy" | "us" | "noneuro" | "noneuropean" => order = "MDY",
            "dmy" | "euro" | "european" => order = "DMY",
            "ymd" => order = "YMD",
            _ => return None,
        }
    }
    Some(format!("ISO, {order}"))
}

/// Splits `"$user", public, "My Schema"`; unquoted names fold to lower case.
fn split_identifiers(value: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = value.trim();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        rest = rest.trim_start();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            loop {
                let end = quoted.find('"')?;
                name.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                match quoted.strip_prefix('"') {
                    Some(more) => {
                        name.push('"');
                        quoted = more;
                    }
                    None => break,
                }
            }
            names.push(name);
            rest = quoted.trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let name = rest[..end].trim();
            if name.chars().any(|c| c.is_whitespace() || c == '"') {
                return None;
            }
            // '' inside a list is an empty name, as pg_dump sets it: it names no schema
            if !name.is_empty() && name != "''" {
                names.push(name.trim_matches('\'').to_lowercase());
            }
            rest = &rest[end..];
        }
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Some(names),
            None => return None,
        }
    }
}

/// `name` as it must be written in SQL.
pub fn quote_identifier(name: &str) -> String {
    let mut characters = name.chars();
    let plain = characters
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_in_postgres() {
        let cases = [
            ("statement_timeout", "5000", Some("5s")),
            ("STATEMENT_TIMEOUT", "1500", Some("1500ms")),
            ("statement_timeout", "2min", Some("2min")),
            ("statement_timeout", "3 weeks", None),
            ("statement_timeout", "99999999999", None),
            ("timezone", "asia/seoul", Some("Asia/Seoul")),
            ("timezone", "+9", Some("+09:00")),
            ("timezone", "Nowhere/City", None),
            ("lakegate.pushdown", "FALSE", Some("off")),
            ("lakegate.nope", "1", None),
            ("my.own", "x", Some("x")),
            ("search_path", "a, \"B c\"", Some("a, \"B c\"")),
            ("search_path", "a b", None),
            ("client_encoding", "utf-8", Some("UTF8")),
            ("client_encoding", "'utf-8'", Some("UTF8")),
            ("client_encoding", "latin1", None),
            ("datestyle", "iso, dmy", Some("ISO, DMY")),
            ("datestyle", "german", None),
            ("extra_float_digits", "3", Some("3")),
            ("extra_float_digits", "4", None),
            ("standard_conforming_strings", "true", Some("on")),
            ("standard_conforming_strings", "off", None),
            ("server_version", "16", None),
            ("nope", "1", None),
        ];
        for (name, value, expected) in cases {
            let mut settings = Settings::default();
            let outcome = settings.set(name, value);
            assert_eq!(outcome.as_deref().ok(), expected, "{name} = {value}: {outcome:?}");
            if let Some(expected) = expected {
                assert_eq!(settings.get(name), Some(expected));
            }
        }
    }

    #[test]
    fn reset_goes_back_to_the_sessions_default() {
        let mut settings = Settings::default();
        settings.set_default("application_name", "psql").unwrap();
        settings.set("application_name", "other").unwrap();
        settings.reset("application_name").unwrap();
        assert_eq!(settings.get("application_name"), Some("psql"));
        assert_eq!(settings.search_path(), ["$user", "public"]);
        assert!(settings.statement_timeout().is_none());
        assert!(settings.reset("nope").is_err());
    }

    #[test]
    fn parameters_are_sorted_and_unique() {
        let names: Vec<String> = PARAMETERS.iter().map(|p| p.name.to_lowercase()).collect();
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(names.len(), sorted.len());
        for parameter in PARAMETERS {
            let value = canonical_value(parameter, parameter.default).unwrap();
            assert_eq!(value, parameter.default, "{}", parameter.name);
        }
    }
}
