//! Array literals.

use super::value_error;
use crate::error::FederationError;

/// The elements of a literal of one dimension, None for NULL: `{1,NULL,"a b"}`.
///
/// # Errors
/// 22P02; 0A000 for a literal of more dimensions.
pub fn elements(text: &str) -> Result<Vec<Option<String>>, FederationError> {
    let malformed = || value_error("22P02", format!("malformed array literal: \"{text}\""));
    let mut inner = text.trim();
    // explicit bounds: [1:3]={…}; they are not kept
    if inner.starts_with('[')
        && let Some((_, rest)) = inner.split_once('=')
    {
        inner = rest.trim_start();
    }
    let inner = inner
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(malformed)?;
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Ok(elements);
    }
    let mut rest = inner.chars().peekable();
    loop {
        while rest.next_if(|character| character.is_whitespace()).is_some() {}
        let mut item = String::new();
        let mut quoted = false;
        // blanks count within the item, not behind it
        let mut kept = 0;
        if rest.next_if_eq(&'"').is_some() {
            quoted = true;
            loop {
                match rest.next().ok_or_else(malformed)? {
                    '"' => break,
                    '\\' => item.push(rest.next().ok_or_else(malformed)?),
                    other => item.push(other),
                }
            }
            kept = item.len();
            while rest.next_if(|character| character.is_whitespace()).is_some() {}
        } else {
            while let Some(character) = rest.next_if(|character| *character != ',') {
                match character {
                    '{' if item.is_empty() => {
                        return Err(value_error(
                            "0A000",
                            "array literals of more than one dimension are not supported",
                        ));
                    }
                    '{' | '}' | '"' => return Err(malformed()),
                    '\\' => {
                        item.push(rest.next().ok_or_else(malformed)?);
                        kept = item.len();
                    }
                    other => {
                        item.push(other);
                        if !other.is_whitespace() {
                            kept = item.len();
                        }
                    }
                }
            }
        }
        item.truncate(kept);
        if !quoted && item.eq_ignore_ascii_case("null") {
            elements.push(None);
        } else if !quoted && item.is_empty() {
            return Err(malformed());
        } else {
            elements.push(Some(item));
        }
        match rest.next() {
            None => return Ok(elements),
            Some(',') => {}
            Some(_) => return Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_taken_apart() {
        let read = |text: &str| {
            elements(text).map(|elements| {
                elements
                    .into_iter()
                    .map(|element| element.unwrap_or_else(|| "∅".into()))
                    .collect::<Vec<_>>()
                    .join("|")
            })
        };
        for (text, expected) in [
            ("{1,2}", "1|2"),
            (" { 1 , 2 } ", "1|2"),
            ("{}", ""),
            ("{NULL,null,\"NULL\"}", "∅|∅|NULL"),
            ("{\"a b\",c d,\"\"}", "a b|c d|"),
            ("{a\\,b,\"\\\"\"}", "a,b|\""),
            ("[0:1]={5,6}", "5|6"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, code) in [
            ("1,2", "22P02"),
            ("{1,2", "22P02"),
            ("{1,}", "22P02"),
            ("{a\"b}", "22P02"),
            ("{\"a\"b}", "22P02"),
            ("{{1},{2}}", "0A000"),
        ] {
            assert_eq!(read(text).unwrap_err().sqlstate(), code, "{text}");
        }
    }
}
