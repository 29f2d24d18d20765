//! A Pod's log as the messages of its worker.

use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};
use tokio::sync::mpsc;

use super::CONTAINER;
use crate::{protocol::WorkerMessage, surroundings::chain};

/// Longest line that is looked at; what is beyond is dropped.
const LINE_LIMIT: u64 = 64 * 1024;

/// A worker says something each ten seconds. After this long without a line the connection is made anew: it may have died
/// without a word.
const SILENCE: Duration = Duration::from_secs(25);

/// First and longest wait before the log is asked for again.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Longest wait for the API server to begin an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Lines in which the newest message is looked for when a log is read for the first time.
const TAIL: i64 = 100;

/// What the log of a Pod brings.
#[derive(Debug, PartialEq)]
pub(super) enum LogEvent {
    /// The worker said something.
    Message(WorkerMessage),

    /// The log is read: silence is the worker's.
    Heard,

    /// The log cannot be read: silence means nothing.
    Deaf,
}

/// Reads a Pod's log for as long as anybody listens.
pub(super) async fn follow_log(pods: Api<Pod>, pod: String, events: mpsc::Sender<LogEvent>) {
    let mut wait = WAITS.0;
    let mut newest: Option<Timestamp> = None;
    loop {
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: true,
            timestamps: true,
            // What is read twice says the same twice, which does no harm.
            since_time: newest,
            tail_lines: newest.is_none().then_some(TAIL),
            ..LogParams::default()
        };
        let trouble = match tokio::time::timeout(PATIENCE, pods.log_stream(&pod, &parameters)).await {
            Ok(Ok(log)) => {
                if events.send(LogEvent::Heard).await.is_err() {
                    return;
                }
                match pass_on(log, SILENCE, &mut newest, &events).await {
                    Ending::Unwanted => return,
                    // Asked again at once; only if that fails, the log is out of reach.
                    Ending::Silent => {
                        wait = WAITS.0;
                        continue;
                    }
                    Ending::Closed => {
                        wait = WAITS.0;
                        "it has ended".to_owned()
                    }
                }
            }
            Ok(Err(error)) => chain(&error),
            Err(_) => "the API server does not answer".to_owned(),
        };
        tracing::debug!(
            pod,
            trouble,
            "the log of a worker cannot be read; it is asked for again"
        );
        if events.send(LogEvent::Deaf).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(WAITS.1),
            () = events.closed() => return,
        }
    }
}

/// How reading ended.
enum Ending {
    /// Nobody listens any more.
    Unwanted,

    /// Nothing came for too long.
    Silent,

    /// The other side closed it.
    Closed,
}

async fn pass_on(
    log: impl AsyncBufRead,
    silence: Duration,
    newest: &mut Option<Timestamp>,
    events: &mpsc::Sender<LogEvent>,
) -> Ending {
    let mut log = std::pin::pin!(log);
    loop {
        let line = tokio::select! {
            line = tokio::time::timeout(silence, next_line(&mut log)) => line,
            () = events.closed() => return Ending::Unwanted,
        };
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => return Ending::Closed,
            Err(_) => return Ending::Silent,
        };
        let (time, text) = split(&line);
        *newest = (*newest).max(time);
        if let Some(message) = message_of(text)
            && events.send(LogEvent::Message(message)).await.is_err()
        {
            return Ending::Unwanted;
        }
    }
}

/// The result among the last lines of a Pod's log, if it is there.
pub(super) async fn last_word(pods: &Api<Pod>, pod: &str) -> Option<WorkerMessage> {
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        tail_lines: Some(TAIL),
        ..LogParams::default()
    };
    let log = match tokio::time::timeout(PATIENCE, pods.logs(pod, &parameters)).await {
        Ok(Ok(log)) => log,
        Ok(Err(error)) => {
            tracing::debug!(
                pod,
                error = chain(&error),
                "the log of a worker that has ended cannot be read"
            );
            return None;
        }
        Err(_) => return None,
    };
    log.lines()
        .rev()
        .filter_map(message_of)
        .find(|message| !matches!(message, WorkerMessage::Progress(_)))
}

/// The next line, cut at [`LINE_LIMIT`]; `None` at the end.
async fn next_line(log: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    let read = (&mut *log)
        .take(LINE_LIMIT)
        .read_until(b'\n', &mut line)
        .await
        .ok()?;
    if read == 0 {
        return None;
    }
    while line.last() != Some(&b'\n') {
        let mut rest = Vec::new();
        let read = (&mut *log)
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut rest)
            .await
            .ok()?;
        if read == 0 || rest.last() == Some(&b'\n') {
            break;
        }
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}

/// The time that the kubelet puts before each line, and the line.
fn split(line: &str) -> (Option<Timestamp>, &str) {
    match line.split_once(' ').map(|(time, text)| (time.parse(), text)) {
        Some((Ok(time), text)) => (Some(time), text),
        _ => (None, line),
    }
}

/// The message that a line is. A log has other lines, too: what the worker logs.
fn message_of(line: &str) -> Option<WorkerMessage> {
    let line = line.trim();
    line.starts_with('{')
        .then(|| serde_json::from_str(line).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;
    use crate::protocol::{Phase, Progress, Report};

    fn progress(rows: u64) -> WorkerMessage {
        WorkerMessage::Progress(Progress {
            phase: Phase::Copying,
            rows,
            bytes: 0,
            total_rows: None,
        })
    }

    #[tokio::test]
    async fn messages_are_found_among_log_lines() {
        let noise = "x".repeat(200_000);
        let log = format!(
            "2026-05-11T00:00:10.000000001Z 2026-05-11T00:00:10Z  INFO worker: reading\n\
             2026-05-11T00:00:11Z {}\n\
             2026-05-11T00:00:12Z {{\"timestamp\":\"2026-05-11T00:00:12Z\",\"level\":\"INFO\",\"fields\":{{}}}}\n\
             2026-05-11T00:00:13Z {noise}\n\
             2026-05-11T00:00:14.5Z {}\n",
            serde_json::to_string(&progress(7)).unwrap(),
            serde_json::to_string(&WorkerMessage::Finished(Report::default())).unwrap(),
        );
        let (sender, mut events) = mpsc::channel(8);
        let mut newest = None;
        let ending = pass_on(futures::io::Cursor::new(log), SILENCE, &mut newest, &sender).await;
        assert!(matches!(ending, Ending::Closed));
        assert_eq!(
            newest,
            Some("2026-05-11T00:00:14.5Z".parse().unwrap()),
            "from here on after a break"
        );
        drop(sender);
        assert_eq!(events.recv().await, Some(LogEvent::Message(progress(7))));
        assert_eq!(
            events.recv().await,
            Some(LogEvent::Message(WorkerMessage::Finished(Report::default())))
        );
        assert_eq!(events.recv().await, None);
    }

    #[tokio::test]
    async fn silence_is_found_out() {
        let (sender, _events) = mpsc::channel(8);
        let mute = futures::stream::pending::<std::io::Result<Vec<u8>>>().into_async_read();
        let ending = pass_on(mute, Duration::from_millis(10), &mut None, &sender).await;
        assert!(matches!(ending, Ending::Silent));
    }
}
