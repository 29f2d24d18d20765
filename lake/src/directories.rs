//! The directories of partitions: `COLUMN=VALUE/…`, as Hive names them.
//!
//! Readers of plain files learn values from nowhere else, so a value that some of them would read otherwise is refused.
//! Of an Iceberg table the names are for people alone: manifests have the values, and a name that would be too long is a
//! number instead.

use std::fmt::Write as _;

use iceberg::spec::{PrimitiveLiteral, PrimitiveType, Transform};

/// What Hive, and all who read as it does, take for NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Longest name of a directory, by the file systems that there are.
const LONGEST_NAME: usize = 255;
/// Longest path of a partition: with the lake's prefix, the table's and the run's names it has to fit the 1024 bytes of a key.
const LONGEST_PATH: usize = 640;

/// One level of a partition's directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level<'a> {
    pub name: &'a str,
    pub transform: Transform,
    pub kind: &'a PrimitiveType,
    pub value: Option<&'a PrimitiveLiteral>,
}

impl Level<'_> {
    /// The value as text: that of a partition's directory before anything is escaped.
    pub fn text(&self) -> Option<String> {
        self.value.map(|value| text(self.transform, self.kind, value))
    }

    /// As Hive, Spark, Trino, DuckDB and pyarrow read it, or why not all of them would.
    fn hive(&self) -> Result<String, String> {
        let identity = self.transform == Transform::Identity;
        let text = match self.text() {
            None => NULL.to_owned(),
            // the column itself is in the files
            Some(text) if text.is_empty() && !identity => NULL.to_owned(),
            Some(text) if text.is_empty() => {
                return Err("an empty text cannot be told from NULL".to_owned());
            }
            Some(text) if text == NULL && identity => {
                return Err(format!("the text {NULL} is read as NULL"));
            }
            Some(_) if !self.has_calendar_year() => {
                return Err("a year is not among 1 to 9999, which readers know".to_owned());
            }
            Some(text) => text,
        };
        let name = format!("{}={}", hive_escaped(self.name), hive_escaped(&text));
        if name.len() > LONGEST_NAME {
            return Err(format!(
                "a value has {} bytes there, above the limit of {LONGEST_NAME}",
                name.len()
            ));
        }
        Ok(name)
    }

    /// Whether a time is in one of the years that have four digits.
    fn has_calendar_year(&self) -> bool {
        use PrimitiveType::{Date, Timestamp, Timestamptz};
        let days = match (self.transform, self.kind, self.value) {
            (Transform::Bucket(_), ..) => return true,
            (Transform::Year, _, Some(PrimitiveLiteral::Int(years))) => {
                return (-1969..=8029).contains(years);
            }
            (Transform::Month, _, Some(PrimitiveLiteral::Int(months))) => {
                return (-1969 * 12..8030 * 12).contains(months);
            }
            (Transform::Hour, _, Some(PrimitiveLiteral::Int(hours))) => i64::from(*hours).div_euclid(24),
            (_, Date | Timestamp | Timestamptz, Some(PrimitiveLiteral::Int(days))) => i64::from(*days),
            (_, Timestamp | Timestamptz, Some(PrimitiveLiteral::Long(micros))) => micros.div_euclid(DAY),
            _ => return true,
        };
        // 0001-01-01 to 9999-12-31
        (-719_162..=2_932_896).contains(&days)
    }
}

/// Path of a partition of plain files below the run's directory, or the name and the problem of the column in whose way it is.
pub(crate) fn hive_path<'a>(levels: &[Level<'a>]) -> Result<String, (&'a str, String)> {
    let mut names = Vec::with_capacity(levels.len());
    for level in levels {
        names.push(level.hive().map_err(|problem| (level.name, problem))?);
    }
    let path = names.join("/");
    match levels.last() {
        Some(level) if path.len() > LONGEST_PATH => {
            let problem = format!(
                "the directories of a partition have {} bytes, above the limit of {LONGEST_PATH}",
                path.len()
            );
            Err((level.name, problem))
        }
        _ => Ok(path),
    }
}

/// Path of a partition of an Iceberg table below the run's directory: in ASCII, so that it is the same text in manifests,
/// keys and file systems. None where it would be too long.
pub(crate) fn iceberg_path(levels: &[Level<'_>]) -> Option<String> {
    let mut names = Vec::with_capacity(levels.len());
    for level in levels {
        // as Iceberg's own writers have it
        let text = level.text().unwrap_or_else(|| "null".to_owned());
        let name = format!("{}={}", ascii_escaped(level.name), ascii_escaped(&text));
        if name.len() > LONGEST_NAME {
            return None;
        }
        names.push(name);
    }
    let path = names.join("/");
    (path.len() <= LONGEST_PATH).then_some(path)
}

/// Escapes what Hive does (`FileUtils.escapePathName`), and the null character that no file's name may have. Letters beyond
/// ASCII stay: Hive and Spark take each escape for a character by itself.
fn hive_escaped(text: &str) -> String {
    // DuckDB takes it for NULL before it decodes anything
    if text.eq_ignore_ascii_case("null") {
        return format!("%{:02X}{}", text.as_bytes()[0], &text[1..]);
    }
    escaped(text, |character| {
        character.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(character)
    })
}

fn ascii_escaped(text: &str) -> String {
    escaped(text, |character| {
        !(character.is_ascii_alphanumeric() || "._-".contains(character))
    })
}

fn escaped(text: &str, escape: impl Fn(char) -> bool) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if escape(character) {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(result, "%{byte:02X}");
            }
        } else {
            result.push(character);
        }
    }
    result
}

const DAY: i64 = 86_400_000_000;

fn text(transform: Transform, kind: &PrimitiveType, value: &PrimitiveLiteral) -> String {
    use PrimitiveLiteral::{Binary, Boolean, Int, Int128, Long, String};
    match (transform, kind, value) {
        (Transform::Year, _, Int(years)) => format!("{:04}", 1970 + i64::from(*years)),
        (Transform::Month, _, Int(months)) => {
            let (years, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
            format!("{:04}-{month:02}", 1970 + i64::from(years))
        }
        (Transform::Day, _, Int(days)) => date(i64::from(*days)),
        (Transform::Hour, _, Int(hours)) => {
            let hours = i64::from(*hours);
            format!("{}-{:02}", date(hours.div_euclid(24)), hours.rem_euclid(24))
        }
        (Transform::Bucket(_), _, Int(bucket)) => bucket.to_string(),
        (_, PrimitiveType::Date, Int(days)) => date(i64::from(*days)),
        (_, PrimitiveType::Timestamp, Long(micros)) => moment(*micros),
        // Hive's text of an instant has no zone, and a reader's own would be taken
        (_, PrimitiveType::Timestamptz, Long(micros)) => format!("{}+00:00", moment(*micros)),
        (_, PrimitiveType::Decimal { scale, .. }, Int128(unscaled)) => decimal(*unscaled, *scale as usize),
        (_, _, Boolean(value)) => value.to_string(),
        (_, _, Int(value)) => value.to_string(),
        (_, _, Long(value)) => value.to_string(),
        (_, _, String(text)) => text.clone(),
        (_, _, Binary(bytes)) => crate::files::hex(bytes),
        (_, _, value) => format!("{value:?}"),
    }
}

/// `YYYY-MM-DD`.
fn date(days: i64) -> String {
    let (year, month, day) = crate::partition::civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `YYYY-MM-DD HH:MM:SS`, with six digits of a fraction where there is one.
fn moment(micros: i64) -> String {
    let of_day = micros.rem_euclid(DAY);
    let seconds = of_day / 1_000_000;
    let clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    let fraction = match of_day % 1_000_000 {
        0 => String::new(),
        fraction => format!(".{fraction:06}"),
    };
    format!("{} {clock}{fraction}", date(micros.div_euclid(DAY)))
}

fn decimal(unscaled: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level<'a>(
        transform: Transform,
        kind: &'a PrimitiveType,
        value: Option<&'a PrimitiveLiteral>,
    ) -> Level<'a> {
        Level {
            name: "c",
            transform,
            kind,
            value,
        }
    }

    #[test]
    fn values_are_written_as_hive_does() {
        use PrimitiveLiteral::{Boolean, Int, Int128, Long};
        use PrimitiveType::{Date, Decimal, Timestamp, Timestamptz};
        let text = |text: &str| PrimitiveLiteral::String(text.to_owned());
        let cents = Decimal {
            precision: 9,
            scale: 2,
        };
        for (transform, kind, value, expected) in [
            (
                Transform::Identity,
                PrimitiveType::Boolean,
                Boolean(true),
                "c=true",
            ),
            (
                Transform::Identity,
                PrimitiveType::Long,
                Long(i64::MIN),
                "c=-9223372036854775808",
            ),
            (Transform::Identity, Date, Int(-1), "c=1969-12-31"),
            (Transform::Identity, Date, Int(-719_162), "c=0001-01-01"),
            (Transform::Identity, Date, Int(2_932_896), "c=9999-12-31"),
            (Transform::Identity, Date, Int(11_016), "c=2000-02-29"),
            (
                Transform::Identity,
                Timestamp,
                Long(-1),
                "c=1969-12-31 23%3A59%3A59.999999",
            ),
            (
                Transform::Identity,
                Timestamptz,
                Long(0),
                "c=1970-01-01 00%3A00%3A00+00%3A00",
            ),
            (Transform::Identity, cents.clone(), Int128(-5), "c=-0.05"),
            (Transform::Identity, cents.clone(), Int128(1200), "c=12.00"),
            (
                Transform::Identity,
                Decimal {
                    precision: 9,
                    scale: 0,
                },
                Int128(-12),
                "c=-12",
            ),
            (Transform::Truncate(50), cents, Int128(-1100), "c=-11.00"),
            (Transform::Year, Timestamp, Int(-1), "c=1969"),
            (Transform::Month, Date, Int(-13), "c=1968-12"),
            (Transform::Day, Timestamp, Int(17_501), "c=2017-12-01"),
            (Transform::Hour, Timestamp, Int(-1), "c=1969-12-31-23"),
            (Transform::Bucket(16), Date, Int(15), "c=15"),
            (Transform::Truncate(2), PrimitiveType::String, text("a "), "c=a "),
            (
                Transform::Truncate(2),
                PrimitiveType::String,
                text(""),
                "c=__HIVE_DEFAULT_PARTITION__",
            ),
            (
                Transform::Identity,
                PrimitiveType::String,
                text("Null"),
                "c=%4Eull",
            ),
            (
                Transform::Identity,
                PrimitiveType::String,
                text("a b/ć=%\0"),
                "c=a b%2Fć%3D%25%00",
            ),
            (
                Transform::Identity,
                PrimitiveType::String,
                text("\"#'*:?\\{[]^\u{7f}}~"),
                "c=%22%23%27%2A%3A%3F%5C%7B%5B%5D%5E%7F}~",
            ),
        ] {
            assert_eq!(level(transform, &kind, Some(&value)).hive().unwrap(), expected);
        }
        let kind = PrimitiveType::Long;
        assert_eq!(
            level(Transform::Identity, &kind, None).hive().unwrap(),
            "c=__HIVE_DEFAULT_PARTITION__"
        );
    }

    #[test]
    fn what_readers_would_take_for_something_else_is_refused() {
        use PrimitiveLiteral::{Int, Long};
        let text = |text: &str| PrimitiveLiteral::String(text.to_owned());
        for (transform, kind, value, problem) in [
            (Transform::Identity, PrimitiveType::String, text(""), "NULL"),
            (Transform::Identity, PrimitiveType::String, text(NULL), "NULL"),
            (
                Transform::Identity,
                PrimitiveType::String,
                text(&"é".repeat(127)),
                "256 bytes",
            ),
            (Transform::Identity, PrimitiveType::Date, Int(-719_163), "year"),
            (Transform::Day, PrimitiveType::Timestamp, Int(2_932_897), "year"),
            (Transform::Month, PrimitiveType::Date, Int(-1969 * 12 - 1), "year"),
            (Transform::Year, PrimitiveType::Date, Int(8030), "year"),
            (
                Transform::Hour,
                PrimitiveType::Timestamp,
                Int(-719_162 * 24 - 1),
                "year",
            ),
            (
                Transform::Identity,
                PrimitiveType::Timestamptz,
                Long(i64::MAX),
                "year",
            ),
        ] {
            let error = level(transform, &kind, Some(&value)).hive().unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let (kind, long) = (PrimitiveType::String, text(&"x".repeat(250)));
        let levels = [level(Transform::Identity, &kind, Some(&long)); 3];
        assert_eq!(hive_path(&levels[..2]).unwrap().len(), 2 * 252 + 1);
        let (column, problem) = hive_path(&levels).unwrap_err();
        assert!(column == "c" && problem.contains("758 bytes"), "{problem}");
        assert_eq!(iceberg_path(&levels), None);
    }

    #[test]
    fn directories_of_iceberg_are_ascii() {
        let kind = PrimitiveType::String;
        let value = PrimitiveLiteral::String("a b/ć".to_owned());
        let levels = [
            level(Transform::Identity, &kind, Some(&value)),
            level(Transform::Identity, &kind, None),
        ];
        assert_eq!(iceberg_path(&levels).unwrap(), "c=a%20b%2F%C4%87/c=null");
        let long = PrimitiveLiteral::String("ć".repeat(43));
        assert_eq!(
            iceberg_path(&[level(Transform::Identity, &kind, Some(&long))]),
            None
        );
    }
}
