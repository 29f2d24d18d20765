//! The parts of a text that says a date or a time.

use super::{Wrong, month_by_name};

/// A run of a text that belongs together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Digits, possibly with a fraction behind a point.
    Number(&'a str),
    /// Begins with digits and has `-`, `/` or `.` within.
    Date(&'a str),
    /// Digits with colons.
    Clock(&'a str),
    Word(&'a str),
    /// A sign and digits.
    Offset(&'a str),
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    let run = |from: usize, belongs: &dyn Fn(u8) -> bool| {
        bytes[from..]
            .iter()
            .position(|byte| !belongs(*byte))
            .map_or(bytes.len(), |length| from + length)
    };
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            byte if byte.is_ascii_whitespace() || byte == b',' => at += 1,
            byte if byte.is_ascii_digit() => {
                at = run(at, &|byte| byte.is_ascii_digit());
                match bytes.get(at) {
                    Some(b':') => {
                        at = run(at, &|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
                        tokens.push(Token::Clock(&text[start..at]));
                    }
                    Some(b'-' | b'/') if bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) => {
                        at = run(at, &|byte| {
                            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/')
                        });
                        // `2024-01-02T03:04`: the time is its own
                        let date = &text[start..at];
                        if let Some(t) = date.rfind(['T', 't'])
                            && date[..t].ends_with(|c: char| c.is_ascii_digit())
                        {
                            at = start + t;
                        }
                        tokens.push(Token::Date(&text[start..at]));
                    }
                    Some(b'.') => {
                        at = run(at, &|byte| byte.is_ascii_digit() || byte == b'.');
                        let number = &text[start..at];
                        let parts = number.matches('.').count();
                        tokens.push(if parts > 1 {
                            Token::Date(number)
                        } else {
                            Token::Number(number)
                        });
                    }
                    _ => tokens.push(Token::Number(&text[start..at])),
                }
            }
            byte if byte.is_ascii_alphabetic() => {
                at = run(at, &|byte| byte.is_ascii_alphabetic());
                let zone_like =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+');
                match bytes.get(at) {
                    // Feb-29-2024
                    Some(b'-')
                        if bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
                            && month_by_name(&text[start..at]).is_some() =>
                    {
                        at = run(at, &|byte| byte.is_ascii_digit() || byte == b'-');
                        tokens.push(Token::Date(&text[start..at]));
                    }
                    // America/New_York
                    Some(b'/' | b'_') => {
                        at = run(at, &zone_like);
                        tokens.push(Token::Word(&text[start..at]));
                    }
                    _ => tokens.push(Token::Word(&text[start..at])),
                }
            }
            b'+' | b'-' => {
                at = run(at + 1, &|byte| byte.is_ascii_digit() || byte == b':');
                if at == start + 1 {
                    at = run(at, &|byte| byte.is_ascii_alphabetic());
                    if at == start + 1 {
                        return Err(Wrong::Syntax);
                    }
                    tokens.push(Token::Word(&text[start..at]));
                } else {
                    tokens.push(Token::Offset(&text[start..at]));
                }
            }
            b'.' if matches!(tokens.last(), Some(Token::Word(_))) => at += 1,
            _ => return Err(Wrong::Syntax),
        }
    }
    Ok(tokens)
}
