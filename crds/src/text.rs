//! How messages show what a manifest says.

/// Longest text of a manifest that a message repeats, in characters.
const EXCERPT: usize = 64;

/// A text as a message repeats it: cut where it is long, because messages go into statuses,
/// events and logs.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
