//! Patterns over paths: `*`, `?` and `[...]` within a segment, `**` over segments.

/// A pattern over `/`-separated paths. A pattern without wildcards stands for that
/// file and for everything below that directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
    literal: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Any number of segments, also none.
    Any,
    One(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    AnyChar,
    AnyRun,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        let mut segments: Vec<Segment> = text
            .split('/')
            .filter(|segment| !segment.is_empty() && *segment != ".")
            .map(|segment| {
                if segment == "**" {
                    Segment::Any
                } else {
                    Segment::One(tokens(segment))
                }
            })
            .collect();
        let literal = segments
            .iter()
            .take_while(|segment| {
                matches!(segment, Segment::One(tokens) if tokens.iter().all(|token| matches!(token, Token::Char(_))))
            })
            .count();
        // A trailing `**` is every file below, and so is a plain directory.
        if literal == segments.len() {
            segments.push(Segment::Any);
        }
        Self { segments, literal }
    }

    /// The leading segments without wildcards: where files are looked for.
    pub fn base(&self) -> Vec<String> {
        self.segments[..self.literal]
            .iter()
            .filter_map(|segment| match segment {
                Segment::One(tokens) => Some(
                    tokens
                        .iter()
                        .filter_map(|token| match token {
                            Token::Char(char) => Some(*char),
                            _ => None,
                        })
                        .collect(),
                ),
                Segment::Any => None,
            })
            .collect()
    }

    /// Whether the path, cut into segments, matches as a whole.
    pub fn matches(&self, path: &[&str]) -> bool {
        // reached[i]: the segments seen so far match the first i of the pattern.
        let mut reached = vec![false; self.segments.len() + 1];
        reached[0] = true;
        self.skip_any(&mut reached);
        for part in path {
            let chars: Vec<char> = part.chars().collect();
            let mut next = vec![false; reached.len()];
            for (index, segment) in self.segments.iter().enumerate() {
                if !reached[index] {
                    continue;
                }
                match segment {
                    Segment::Any => next[index] = true,
                    Segment::One(tokens) => next[index + 1] |= segment_matches(tokens, &chars),
                }
            }
            self.skip_any(&mut next);
            reached = next;
        }
        reached[self.segments.len()]
    }

    fn skip_any(&self, reached: &mut [bool]) {
        for (index, segment) in self.segments.iter().enumerate() {
            if reached[index] && *segment == Segment::Any {
                reached[index + 1] = true;
            }
        }
    }
}

fn tokens(segment: &str) -> Vec<Token> {
    let chars: Vec<char> = segment.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let (token, next) = match chars[at] {
            '*' => (Token::AnyRun, at + 1),
            '?' => (Token::AnyChar, at + 1),
            '[' => class(&chars, at).unwrap_or((Token::Char('['), at + 1)),
            char => (Token::Char(char), at + 1),
        };
        tokens.push(token);
        at = next;
    }
    tokens
}

/// `[a-z_]` or `[!0-9]`; None without its end, which makes `[` a plain character.
fn class(chars: &[char], start: usize) -> Option<(Token, usize)> {
    let mut at = start + 1;
    let negated = matches!(chars.get(at), Some('!' | '^'));
    if negated {
        at += 1;
    }
    let mut ranges = Vec::new();
    loop {
        let first = *chars.get(at)?;
        if first == ']' && !ranges.is_empty() {
            return Some((Token::Class { negated, ranges }, at + 1));
        }
        match (chars.get(at + 1), chars.get(at + 2)) {
            (Some('-'), Some(last)) if *last != ']' => {
                ranges.push((first, *last));
                at += 3;
            }
            _ => {
                ranges.push((first, first));
                at += 1;
            }
        }
    }
}

fn segment_matches(tokens: &[Token], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and how much text it has taken so far.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let one = match tokens.get(p) {
            Some(Token::AnyRun) => {
                retry = Some((p, t));
                p += 1;
                continue;
            }
            Some(Token::AnyChar) => true,
            Some(Token::Char(char)) => *char == text[t],
            Some(Token::Class { negated, ranges }) => {
                ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&text[t]))
                    != *negated
            }
            None => false,
        };
        if one {
            p += 1;
            t += 1;
        } else if let Some((star, taken)) = retry {
            retry = Some((star, taken + 1));
            p = star + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    tokens[p..].iter().all(|token| *token == Token::AnyRun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("orders.csv", "orders.csv", true),
            ("orders", "orders/2024/a.csv", true),
            ("orders", "orders2/a.csv", false),
            ("orders/", "orders/a.csv", true),
            ("alb/**/*.log.gz", "alb/x.log.gz", true),
            ("alb/**/*.log.gz", "alb/2024/01/x.log.gz", true),
            ("alb/**/*.log.gz", "alb/2024/01/x.log", false),
            ("**/*.csv", "a.csv", true),
            ("**", "a/b/c", true),
            ("*.csv", "a/b.csv", false),
            ("*/b.csv", "a/b.csv", true),
            ("a?.csv", "ab.csv", true),
            ("a?.csv", "a.csv", false),
            ("[a-c]x.csv", "bx.csv", true),
            ("[!a-c]x.csv", "bx.csv", false),
            ("[x.csv", "[x.csv", true),
            ("a*b*c", "aXbYbZc", true),
            ("a/**/b/**/c", "a/b/b/x/c", true),
            ("a/**/b/**/c", "a/x/c", false),
            ("é*.csv", "été.csv", true),
        ];
        for (pattern, path, expected) in cases {
            let parts: Vec<&str> = path.split('/').collect();
            assert_eq!(
                Pattern::new(pattern).matches(&parts),
                expected,
                "{pattern} {path}"
            );
        }
        assert_eq!(Pattern::new("a/b/*.csv").base(), ["a", "b"]);
        assert!(Pattern::new("**").base().is_empty());
    }
}
