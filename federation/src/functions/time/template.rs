//! The templates of `to_char`, `to_date` and `to_timestamp`.

/// A field of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Era { dotted: bool },
    Meridiem { dotted: bool },
    Century,
    Day,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    DayOfMonth,
    DayOfWeek,
    IsoDayOfWeek,
    IsoWeek,
    IsoYear(usize),
    Fraction(usize),
    Hour12,
    Hour24,
    Julian,
    Minute,
    Month,
    MonthName,
    MonthShort,
    MonthRoman,
    Milliseconds,
    Microseconds,
    Offset,
    Quarter,
    SecondsOfDay,
    Second,
    Zone,
    ZoneHours,
    ZoneMinutes,
    Week,
    WeekOfMonth,
    YearComma,
    Year(usize),
}

/// How letters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Capital,
    Lower,
}

/// The ending of an ordinal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ordinal {
    None,
    Upper,
    Lower,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Field {
        field: Field,
        case: Case,
        /// `FM`: neither blanks nor zeros to fill.
        fill: bool,
        ordinal: Ordinal,
    },
    /// Text in double quotes, taken as it is.
    Quoted(String),
    /// Any other character.
    Other(char),
}

/// Names that are written in either case and mean a number.
const NUMBERS: &[(&str, Field)] = &[
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("DDD", Field::DayOfYear),
    ("DD", Field::DayOfMonth),
    ("D", Field::DayOfWeek),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("CC", Field::Century),
    ("J", Field::Julian),
    ("MI", Field::Minute),
    ("MM", Field::Month),
    ("MS", Field::Milliseconds),
    ("OF", Field::Offset),
    ("Q", Field::Quarter),
    ("SSSSS", Field::SecondsOfDay),
    ("SSSS", Field::SecondsOfDay),
    ("SS", Field::Second),
    ("TZH", Field::ZoneHours),
    ("TZM", Field::ZoneMinutes),
    ("US", Field::Microseconds),
    ("WW", Field::Week),
    ("W", Field::WeekOfMonth),
    ("Y,YYY", Field::YearComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
];

/// Names whose case is that of what they stand for.
const WORDS: &[(&str, Field, Case)] = &[
    ("A.D.", Field::Era { dotted: true }, Case::Upper),
    ("a.d.", Field::Era { dotted: true }, Case::Lower),
    ("AD", Field::Era { dotted: false }, Case::Upper),
    ("ad", Field::Era { dotted: false }, Case::Lower),
    ("B.C.", Field::Era { dotted: true }, Case::Upper),
    ("b.c.", Field::Era { dotted: true }, Case::Lower),
    ("BC", Field::Era { dotted: false }, Case::Upper),
    ("bc", Field::Era { dotted: false }, Case::Lower),
    ("A.M.", Field::Meridiem { dotted: true }, Case::Upper),
    ("a.m.", Field::Meridiem { dotted: true }, Case::Lower),
    ("AM", Field::Meridiem { dotted: false }, Case::Upper),
    ("am", Field::Meridiem { dotted: false }, Case::Lower),
    ("P.M.", Field::Meridiem { dotted: true }, Case::Upper),
    ("p.m.", Field::Meridiem { dotted: true }, Case::Lower),
    ("PM", Field::Meridiem { dotted: false }, Case::Upper),
    ("pm", Field::Meridiem { dotted: false }, Case::Lower),
    ("DAY", Field::Day, Case::Upper),
    ("Day", Field::Day, Case::Capital),
    ("day", Field::Day, Case::Lower),
    ("DY", Field::DayShort, Case::Upper),
    ("Dy", Field::DayShort, Case::Capital),
    ("dy", Field::DayShort, Case::Lower),
    ("MONTH", Field::MonthName, Case::Upper),
    ("Month", Field::MonthName, Case::Capital),
    ("month", Field::MonthName, Case::Lower),
    ("MON", Field::MonthShort, Case::Upper),
    ("Mon", Field::MonthShort, Case::Capital),
    ("mon", Field::MonthShort, Case::Lower),
    ("RM", Field::MonthRoman, Case::Upper),
    ("rm", Field::MonthRoman, Case::Lower),
    ("TZ", Field::Zone, Case::Upper),
    ("tz", Field::Zone, Case::Lower),
];

fn field_at(text: &str) -> Option<(usize, Field, Case)> {
    let mut best: Option<(usize, Field, Case)> = None;
    let mut offer = |length: usize, field: Field, case: Case| {
        if best.is_none_or(|(longest, ..)| length > longest) {
            best = Some((length, field, case));
        }
    };
    for (name, field, case) in WORDS {
        if text.starts_with(name) {
            offer(name.len(), *field, *case);
        }
    }
    for (name, field) in NUMBERS {
        if text.starts_with(name) {
            offer(name.len(), *field, Case::Upper);
        } else if text.starts_with(&name.to_ascii_lowercase()) {
            offer(name.len(), *field, Case::Lower);
        }
    }
    best
}

/// The items of a template.
pub(super) fn parse(template: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rest = template;
    while let Some(character) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut text = String::new();
            let mut characters = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, character)) = characters.next() {
                match character {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                    other => text.push(other),
                }
            }
            items.push(Item::Quoted(text));
            rest = &quoted[end..];
            continue;
        }
        // FX asks for an exact form, TM for a local one: both are what there is
        if let Some(after) = ["FX", "fx", "TM", "tm"].iter().find_map(|prefix| {
            rest.strip_prefix(prefix).filter(|after| {
                prefix.eq_ignore_ascii_case("FX") || field_at(after.trim_start_matches("FM")).is_some()
            })
        }) {
            rest = after;
            continue;
        }
        let (body, fill) = match ["FM", "fm"].iter().find_map(|prefix| rest.strip_prefix(prefix)) {
            Some(body) => (body, false),
            None => (rest, true),
        };
        if let Some((length, field, case)) = field_at(body) {
            let after = &body[length..];
            let (ordinal, after) = if let Some(after) = after.strip_prefix("TH") {
                (Ordinal::Upper, after)
            } else if let Some(after) = after.strip_prefix("th") {
                (Ordinal::Lower, after)
            } else {
                (Ordinal::None, after)
            };
            items.push(Item::Field {
                field,
                case,
                fill,
                ordinal,
            });
            rest = after;
            continue;
        }
        if !fill {
            rest = body;
            continue;
        }
        if let Some(escaped) = rest.strip_prefix("\\\"") {
            items.push(Item::Quoted("\"".into()));
            rest = escaped;
            continue;
        }
        items.push(Item::Other(character));
        rest = &rest[character.len_utf8()..];
    }
    items
}

/// `st`, `nd`, `rd` or `th`.
pub(super) fn ordinal_ending(number: i64, ordinal: Ordinal) -> &'static str {
    let number = number.unsigned_abs();
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "TH",
        (_, 1) => "ST",
        (_, 2) => "ND",
        (_, 3) => "RD",
        _ => "TH",
    };
    match (ordinal, ending) {
        (Ordinal::None, _) => "",
        (Ordinal::Upper, ending) => ending,
        (Ordinal::Lower, "ST") => "st",
        (Ordinal::Lower, "ND") => "nd",
        (Ordinal::Lower, "RD") => "rd",
        (Ordinal::Lower, _) => "th",
    }
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

pub(super) const ROMAN_MONTHS: [&str; 12] = [
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_wins() {
        let fields = |template: &str| {
            parse(template)
                .into_iter()
                .map(|item| match item {
                    Item::Field { field, .. } => format!("{field:?}"),
                    Item::Quoted(text) => format!("'{text}'"),
                    Item::Other(other) => other.to_string(),
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(fields("YYYY-MM-DD"), "Year(4) - Month - DayOfMonth");
        assert_eq!(fields("HH24:MI:SS.MS"), "Hour24 : Minute : Second . Milliseconds");
        assert_eq!(fields("YYYY\"year\"MM"), "Year(4) 'year' Month");
        assert_eq!(fields("FMMonth DDth"), "MonthName   DayOfMonth");
        assert_eq!(fields("SSSS"), "SecondsOfDay");
        assert_eq!(fields("yyyymmdd"), "Year(4) Month DayOfMonth");
    }
}
