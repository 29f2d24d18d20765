//! `bytea` and `uuid`.

use super::{invalid, value_error};
use crate::error::FederationError;

/// A `bytea` in hexadecimal (`\x00ff`) or escape form (`a\\b\000`).
///
/// # Errors
/// 22P02 and, for wrong hexadecimal, 22023.
pub fn bytea(text: &str) -> Result<Vec<u8>, FederationError> {
    if let Some(digits) = text.strip_prefix("\\x") {
        return hex(digits);
    }
    let wrong = || invalid("bytea", text);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next().ok_or_else(wrong)? {
            b'\\' => bytes.push(b'\\'),
            high @ b'0'..=b'3' => {
                let mut octal = || match rest.next() {
                    Some(digit @ b'0'..=b'7') => Ok(digit - b'0'),
                    _ => Err(wrong()),
                };
                bytes.push((high - b'0') << 6 | octal()? << 3 | octal()?);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(bytes)
}

/// Pairs of hexadecimal digits; blanks between them do not count.
///
/// # Errors
/// 22023.
pub fn hex(digits: &str) -> Result<Vec<u8>, FederationError> {
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut rest = digits.chars().filter(|digit| !digit.is_ascii_whitespace());
    let value = |digit: char| {
        digit
            .to_digit(16)
            .map(|value| value as u8)
            .ok_or_else(|| value_error("22023", format!("invalid hexadecimal digit: \"{digit}\"")))
    };
    while let Some(high) = rest.next() {
        let low = rest
            .next()
            .ok_or_else(|| value_error("22023", "invalid hexadecimal data: odd number of digits"))?;
        bytes.push(value(high)? << 4 | value(low)?);
    }
    Ok(bytes)
}

/// A `uuid` in PostgreSQL's one spelling: braces and dashes taken off or put in, lower case.
///
/// # Errors
/// 22P02.
pub fn uuid(text: &str) -> Result<String, FederationError> {
    let trimmed = text.trim();
    let inner = match (trimmed.strip_prefix('{'), trimmed.strip_suffix('}')) {
        (Some(_), Some(_)) => &trimmed[1..trimmed.len() - 1],
        (None, None) => trimmed,
        _ => return Err(invalid("uuid", text)),
    };
    let mut uuid = String::with_capacity(36);
    let mut digits = 0;
    let mut after_dash = true;
    for character in inner.chars() {
        match character {
            // a dash may stand behind every group of four digits
            '-' if digits % 4 == 0 && digits < 32 && !after_dash => after_dash = true,
            digit if digit.is_ascii_hexdigit() && digits < 32 => {
                if matches!(digits, 8 | 12 | 16 | 20) {
                    uuid.push('-');
                }
                uuid.push(digit.to_ascii_lowercase());
                digits += 1;
                after_dash = false;
            }
            _ => return Err(invalid("uuid", text)),
        }
    }
    if digits == 32 && !after_dash {
        Ok(uuid)
    } else {
        Err(invalid("uuid", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read() {
        assert_eq!(bytea("\\x00fF"), Ok(vec![0, 255]));
        assert_eq!(bytea("a\\\\b\\001"), Ok(b"a\\b\x01".to_vec()));
        assert_eq!(bytea("\\x0").unwrap_err().sqlstate(), "22023");
        assert_eq!(bytea("\\9").unwrap_err().sqlstate(), "22P02");
    }

    #[test]
    fn uuids_have_one_spelling() {
        let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(uuid(text).as_deref(), Ok(canonical), "{text}");
        }
        for text in [
            "",
            "a0eebc99",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "z0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(uuid(text).unwrap_err().sqlstate(), "22P02", "{text}");
        }
    }
}
