//! PostgreSQL's patterns as the `regex` crate and DataFusion read them.

use regex::{Regex, RegexBuilder};

use crate::error::{Cause, FederationError};
use crate::values::read::value_error;

pub(super) fn invalid(pattern: &str, reason: &str) -> FederationError {
    value_error(
        "2201B",
        format!("invalid regular expression \"{pattern}\": {reason}"),
    )
}

/// What only PostgreSQL writes so, as the regex crate writes it.
fn translate(pattern: &str) -> Result<String, FederationError> {
    let unsupported = |what: &str| -> FederationError {
        Cause::NotSupported {
            message: format!("{what} in a regular expression is not supported: \"{pattern}\""),
        }
        .into()
    };
    // `***=` makes the rest a literal, `***:` is what it is anyway
    if let Some(literal) = pattern.strip_prefix("***=") {
        return Ok(regex::escape(literal));
    }
    let pattern = pattern.strip_prefix("***:").unwrap_or(pattern);
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut characters = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('m') if !in_class => out.push_str("\\b{start}"),
                Some('M') if !in_class => out.push_str("\\b{end}"),
                Some('y') if !in_class => out.push_str("\\b"),
                Some('Y') if !in_class => out.push_str("\\B"),
                Some('Z') if !in_class => out.push_str("\\z"),
                Some(digit @ '1'..='9') if !in_class => {
                    return Err(unsupported(&format!("the back reference \\{digit}")));
                }
                Some(escaped) => {
                    out.push('\\');
                    // an escaped letter without meaning is the letter
                    if escaped.is_ascii_alphabetic()
                        && !matches!(
                            escaped,
                            'A' | 'z'
                                | 'b'
                                | 'B'
                                | 'd'
                                | 'D'
                                | 's'
                                | 'S'
                                | 'w'
                                | 'W'
                                | 'n'
                                | 'r'
                                | 't'
                                | 'f'
                                | 'v'
                                | 'a'
                                | 'x'
                                | 'u'
                                | 'U'
                        )
                    {
                        out.pop();
                    }
                    out.push(escaped);
                }
                None => return Err(invalid(pattern, "invalid escape \\ sequence")),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // a bracket first in a class is itself
                if characters.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            '[' => match characters.peek() {
                Some(':') => {
                    out.push('[');
                    for inner in characters.by_ref() {
                        out.push(inner);
                        if inner == ']' {
                            break;
                        }
                    }
                }
                _ => out.push_str("\\["),
            },
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            // these mean sets of sets to the regex crate alone
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(character);
            }
            '(' if !in_class => {
                out.push('(');
                if characters.peek() == Some(&'?') {
                    let ahead: String = characters.clone().take(3).collect();
                    if ahead.starts_with("?=") || ahead.starts_with("?!") || ahead.starts_with("?<") {
                        return Err(unsupported("look-around"));
                    }
                }
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

/// A pattern with the flags of `regexp_*`, `g` aside.
pub(super) fn compile(pattern: &str, flags: &str) -> Result<Regex, FederationError> {
    let mut builder_flags = (false, false, true, false);
    for flag in flags.chars() {
        match flag {
            'i' => builder_flags.0 = true,
            'c' => builder_flags.0 = false,
            // newline-sensitive: a dot does not match one, anchors do
            'n' | 'm' => {
                builder_flags.1 = true;
                builder_flags.2 = false;
            }
            'w' => builder_flags.1 = true,
            'p' => builder_flags.2 = false,
            's' => {
                builder_flags.1 = false;
                builder_flags.2 = true;
            }
            'x' => builder_flags.3 = true,
            'g' | 't' | 'e' | 'b' => {}
            'q' => return compile(&format!("***={pattern}"), &flags.replace('q', "")),
            other => {
                return Err(value_error(
                    "22023",
                    format!("invalid regular expression option: \"{other}\""),
                ));
            }
        }
    }
    let (insensitive, multi_line, dot_all, extended) = builder_flags;
    RegexBuilder::new(&translate(pattern)?)
        .case_insensitive(insensitive)
        .multi_line(multi_line)
        .dot_matches_new_line(dot_all)
        .ignore_whitespace(extended)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            invalid(pattern, text.lines().last().unwrap_or_default().trim())
        })
}

/// A pattern of SIMILAR TO as a regular expression for the whole text (similar_escape_internal, regexp.c).
pub(super) fn similar(pattern: &str, escape: Option<char>) -> Result<String, FederationError> {
    let mut out = String::from("^(?:");
    let mut in_class = false;
    let mut quotes = 0;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            let Some(escaped) = characters.next() else {
                return Err(value_error(
                    "22025",
                    "LIKE pattern must not end with escape character",
                ));
            };
            if escaped == '"' && !in_class {
                // what stands between two of these is the substring
                out.push_str(match quotes {
                    0 => "){1,1}?(",
                    1 => "){1,1}(?:",
                    _ => return Err(value_error("2200C", "SQL regular expression may not contain more than two escape-double-quote separators")),
                });
                quotes += 1;
            } else {
                out.push_str(&regex::escape(&escaped.to_string()));
            }
            continue;
        }
        if in_class {
            if character == '\\' {
                out.push('\\');
            }
            in_class = character != ']';
            out.push(character);
            continue;
        }
        match character {
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '[' => {
                in_class = true;
                out.push('[');
            }
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            other => out.push(other),
        }
    }
    out.push_str(")$");
    Ok(out)
}

/// A LIKE pattern with another escape character than the backslash, as one with it; none escapes nothing.
pub(crate) fn like_pattern(pattern: &str, escape: &str) -> String {
    let escape = escape.chars().next();
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            out.push('\\');
            out.extend(characters.next());
        } else if character == '\\' && escape != Some('\\') {
            out.push_str("\\\\");
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_translated() {
        for (pattern, text, expected) in [
            ("\\mhere\\M", "word here", true),
            ("\\mher\\M", "word here", false),
            ("[[:alpha:]]+", "abc", true),
            ("[]x]", "]", true),
            ("a[&&b]", "a&", true),
            ("***=a.b", "axb", false),
            ("\\d{2}", "12", true),
        ] {
            assert_eq!(
                compile(pattern, "").unwrap().is_match(text),
                expected,
                "{pattern}"
            );
        }
        assert_eq!(compile("(", "").unwrap_err().sqlstate(), "2201B");
        assert_eq!(compile("(a)\\1", "").unwrap_err().sqlstate(), "0A000");
        assert_eq!(compile("a(?=b)", "").unwrap_err().sqlstate(), "0A000");
    }

    #[test]
    fn similar_matches_the_whole_text() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("a", "abc", false),
            ("%(b|d)%", "abc", true),
            ("(b|c)%", "abc", false),
            ("a.c", "abc", false),
            ("a{3}", "aaa", true),
            ("[a-b]+", "ab", true),
        ] {
            let regex = compile(&similar(pattern, Some('\\')).unwrap(), "").unwrap();
            assert_eq!(regex.is_match(text), expected, "{pattern}");
        }
    }

    #[test]
    fn like_patterns_change_their_escape() {
        for (pattern, escape, expected) in [
            ("5#%", "#", "5\\%"),
            ("a\\b", "#", "a\\\\b"),
            ("a\\_b", "\\", "a\\_b"),
            ("a\\b", "", "a\\\\b"),
        ] {
            assert_eq!(like_pattern(pattern, escape), expected, "{pattern}");
        }
    }
}
