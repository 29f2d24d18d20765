//! What a worker says.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::protocol::{Failure, WorkerMessage};

/// Longest message that the kubelet takes from a container that has ended, in bytes.
const LAST_WORD_LIMIT: usize = 4096;

/// Writes messages, one line each, from any thread.
#[derive(Clone)]
pub(super) struct Reporter {
    out: Arc<Mutex<Box<dyn Write + Send>>>,
    last_word: Option<PathBuf>,
}

impl Reporter {
    pub(super) fn new(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Arc::new(Mutex::new(Box::new(out))),
            last_word: None,
        }
    }

    /// Also leaves the last message in a file, which outlasts the log.
    pub(super) fn leave_last_word(self, path: &Path) -> Self {
        Self {
            last_word: Some(path.to_owned()),
            ..self
        }
    }

    pub(super) fn send(&self, message: &WorkerMessage) {
        let Ok(mut line) = serde_json::to_vec(message) else {
            return;
        };
        line.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever does not read any more has ended, and with it our standard input: the watch acts on that.
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }

    /// The result.
    pub(super) fn send_last(&self, message: &WorkerMessage) {
        if let Some(path) = &self.last_word {
            let word = fitting(message, LAST_WORD_LIMIT);
            // The file is there already, made by who wants to read it.
            let file = OpenOptions::new().write(true).truncate(true).open(path);
            if let Err(error) = file.and_then(|mut file| file.write_all(&word)) {
                tracing::warn!(path = %path.display(), %error, "the last word could not be left; it is in the log");
            }
        }
        self.send(message);
    }
}

/// The message as JSON of at most `limit` bytes. What is cut, where need be, is the end of a failure's words.
fn fitting(message: &WorkerMessage, limit: usize) -> Vec<u8> {
    let json = serde_json::to_vec(message).unwrap_or_default();
    let WorkerMessage::Failed(failure) = message else {
        return json;
    };
    if json.len() <= limit {
        return json;
    }
    // What the mark of the cut takes, too.
    let mut excess = json.len() - limit + '…'.len_utf8();
    let mut words = failure.message.clone();
    while excess > 0
        && let Some(character) = words.pop()
    {
        // Without the quotes: as it stands within a text.
        let size = serde_json::to_string(&character).map_or(1, |json| json.len() - 2);
        excess = excess.saturating_sub(size);
    }
    words.push('…');
    let cut = WorkerMessage::Failed(Failure {
        message: words,
        ..failure.clone()
    });
    serde_json::to_vec(&cut).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_fits_and_can_be_read() {
        let failed = |words: String| {
            WorkerMessage::Failed(Failure {
                reason: "ReadFailed".to_owned(),
                message: words,
                terminal: false,
            })
        };
        let short = failed("no".to_owned());
        assert_eq!(fitting(&short, 4096), serde_json::to_vec(&short).unwrap());
        for words in [
            "x".repeat(9000),
            "가".repeat(3000),
            "\"\n".repeat(3000),
            "\u{1}".repeat(4000),
        ] {
            let json = fitting(&failed(words.clone()), 4096);
            assert!(json.len() <= 4096, "{}", json.len());
            let WorkerMessage::Failed(read) = serde_json::from_slice(&json).unwrap() else {
                panic!("{json:?}")
            };
            let kept = read.message.trim_end_matches('…');
            assert!(
                words.starts_with(kept) && read.message != kept,
                "{}",
                read.message
            );
            assert!(json.len() > 4080, "no more is cut than must be: {}", json.len());
        }
    }

    #[test]
    fn the_last_word_is_left_where_it_is_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("termination-log");
        let message = WorkerMessage::Finished(crate::protocol::Report::default());
        let reporter = Reporter::new(std::io::sink()).leave_last_word(&path);
        reporter.send_last(&message);
        assert!(!path.exists(), "nobody looks for it");
        std::fs::write(&path, "old").unwrap();
        reporter.send_last(&message);
        let left: WorkerMessage = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(left, message);
    }
}
