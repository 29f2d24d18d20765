//! Methods that hide parts of a text.

use std::net::IpAddr;

use lakegate_crds::{EmailMask, IpPrefixMask, PartialMask, PhoneMask, RegexReplaceMask};
use regex::{Regex, RegexBuilder};

use super::{HIDDEN, MaskRefusal};

/// Bytes that a compiled regular expression may take: a manifest must not take the memory of a run.
const PATTERN_BYTES: usize = 1 << 20;

/// Where a text is empty it is told as such: there is nothing in it to hide.
pub(super) fn redact() -> impl Fn(&str, &mut String) -> bool + Send + Sync + 'static {
    |text, out| {
        if !text.is_empty() {
            out.push_str(HIDDEN);
        }
        true
    }
}

/// Keeps the ends. A text of no more characters than would be kept is hidden as a whole.
pub(super) fn partial(
    spec: &PartialMask,
) -> Result<impl Fn(&str, &mut String) -> bool + Send + Sync + 'static, MaskRefusal> {
    let first = spec.keep_first.unwrap_or(0) as usize;
    let last = spec.keep_last.unwrap_or(0) as usize;
    if first + last == 0 {
        return Err(MaskRefusal::new(
            "partial",
            "it keeps no character: set keepFirst or keepLast above 0, or use redact",
        ));
    }
    let with = match &spec.with {
        None => '*',
        Some(text) => {
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(with), None) => with,
                _ => return Err(MaskRefusal::new("partial.with", "must be one character")),
            }
        }
    };
    Ok(move |text: &str, out: &mut String| {
        let length = text.chars().count();
        let hidden = length.saturating_sub(first + last);
        let (first, hidden) = if hidden == 0 { (0, length) } else { (first, hidden) };
        for (index, character) in text.chars().enumerate() {
            let is_hidden = (first..first + hidden).contains(&index);
            out.push(if is_hidden { with } else { character });
        }
        true
    })
}

/// Keeps the domain, and of the local part some characters. How long it is is hidden.
pub(super) fn email(spec: &EmailMask) -> impl Fn(&str, &mut String) -> bool + Send + Sync + 'static {
    let keep = spec.keep_first.unwrap_or(0) as usize;
    move |text, out| {
        if text.is_empty() {
            return true;
        }
        match text.trim().rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
                // of a local part that is kept whole nothing would be hidden
                if local.chars().count() > keep {
                    out.extend(local.chars().take(keep));
                }
                out.push_str(HIDDEN);
                out.push('@');
                out.push_str(domain);
            }
            _ => out.push_str(HIDDEN),
        }
        true
    }
}

/// Digits of the country code of a number that begins with `+` (ITU-T E.164): zones 1 and 7 have one, these have two,
/// all others three.
const TWO_DIGIT_CODES: [&str; 44] = [
    "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48",
    "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81",
    "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
];

fn country_digits(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        _ if TWO_DIGIT_CODES.iter().any(|code| digits.starts_with(code)) => 2,
        _ => 3,
    }
}

/// Keeps a country code behind `+`, the separators and the last digits, at most half of those behind the country code.
pub(super) fn phone(spec: &PhoneMask) -> impl Fn(&str, &mut String) -> bool + Send + Sync + 'static {
    let keep = spec.keep_last.unwrap_or(4) as usize;
    move |text, out| {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let country = if text.trim_start().starts_with('+') {
            country_digits(&digits).min(digits.len())
        } else {
            0
        };
        let shown_from = digits.len() - keep.min((digits.len() - country) / 2);
        let mut seen = 0;
        for character in text.chars() {
            if character.is_ascii_digit() {
                let is_shown = seen < country || seen >= shown_from;
                out.push(if is_shown { character } else { '*' });
                seen += 1;
            } else if matches!(character, ' ' | '+' | '-' | '.' | '/' | '(' | ')') {
                out.push(character);
            } else {
                // words have no place in a number, and may say more than one
                out.push('*');
            }
        }
        true
    }
}

/// Keeps the network of an address; what is none becomes NULL.
pub(super) fn ip_prefix(spec: &IpPrefixMask) -> impl Fn(&str, &mut String) -> bool + Send + Sync + 'static {
    let (v4, v6) = (spec.v4.unwrap_or(24), spec.v6.unwrap_or(48));
    move |text, out| {
        use std::fmt::Write as _;
        if text.is_empty() {
            return true;
        }
        // an `inet` may say its own network
        let (address, own) = match text.trim().split_once('/') {
            Some((address, bits)) => match bits.parse::<u32>() {
                Ok(bits) => (address, bits),
                Err(_) => return false,
            },
            None => (text.trim(), u32::MAX),
        };
        let written = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => {
                let bits = v4.min(own);
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                let network = std::net::Ipv4Addr::from_bits(address.to_bits() & mask);
                write!(out, "{network}/{bits}")
            }
            Ok(IpAddr::V6(address)) => {
                let bits = v6.min(own);
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                let network = std::net::Ipv6Addr::from_bits(address.to_bits() & mask);
                write!(out, "{network}/{bits}")
            }
            Err(_) => return false,
        };
        written.is_ok()
    }
}

/// Replaces what matches; a text that nothing matches in becomes NULL, for the pattern did not expect it.
pub(super) fn regex_replace(
    spec: &RegexReplaceMask,
) -> Result<impl Fn(&str, &mut String) -> bool + Send + Sync + 'static, MaskRefusal> {
    let pattern: Regex = RegexBuilder::new(&spec.pattern)
        .size_limit(PATTERN_BYTES)
        .build()
        .map_err(|error| MaskRefusal::new("regexReplace.pattern", format!("it cannot be used: {error}")))?;
    let with = spec.with.clone();
    Ok(move |text: &str, out: &mut String| {
        let mut matches = pattern.captures_iter(text).peekable();
        if matches.peek().is_none() {
            // an empty text holds nothing that could have been missed
            return text.is_empty();
        }
        let mut end = 0;
        for captures in matches {
            let Some(found) = captures.get(0) else { continue };
            out.push_str(&text[end..found.start()]);
            captures.expand(&with, out);
            end = found.end();
        }
        out.push_str(&text[end..]);
        true
    })
}
