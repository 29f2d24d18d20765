//! A proxy before the S3 server that loses replies, answers in its place, stays silent, or is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support::until;

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// It is performed, and the connection breaks before the reply.
    LoseReply,
    /// It is performed, and the reply is that the server is busy.
    BusyAfter,
    /// It is not performed, and the reply is that the server is busy.
    BusyBefore,
    /// It is not performed, and the reply is a conflict, as for two writers at the same moment.
    Conflict,
    /// It is not performed, and the connection breaks.
    Break,
    /// It is not performed, and nothing comes back: the connection stays open.
    Hang,
    /// It is performed, and nothing comes back.
    HangAfter,
    /// It is performed when the proxy is told to, whoever has gone meanwhile, and nothing comes back.
    Late,
}

type Rule = dyn Fn(&str) -> Fate + Send + Sync;

pub struct Proxy {
    pub port: u16,
    task: JoinHandle<()>,
    late: Arc<Late>,
}

/// The request that is late.
#[derive(Default)]
struct Late {
    begun: AtomicUsize,
    released: Notify,
    performed: AtomicUsize,
}

impl Proxy {
    /// Forwards to a port of this machine; `rule` decides by the head of a request.
    pub async fn start(upstream: u16, rule: impl Fn(&str) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self::serve(listener, upstream, rule)
    }

    /// The same on a port that was another proxy's.
    pub async fn start_on(port: u16, upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        Self::serve(listener, upstream, |_| Fate::Pass)
    }

    fn serve(
        listener: TcpListener,
        upstream: u16,
        rule: impl Fn(&str) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let rule: Arc<Rule> = Arc::new(rule);
        let late = Arc::<Late>::default();
        let held = Arc::clone(&late);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (rule, late) = (Arc::clone(&rule), Arc::clone(&held));
                connections.spawn(async move {
                    // a connection that breaks is what this is for
                    let _ = forward(client, upstream, rule.as_ref(), &late).await;
                });
            }
        });
        Self { port, task, late }
    }

    /// Whether a request is late.
    pub fn holds_one(&self) -> bool {
        self.late.begun.load(Ordering::SeqCst) > 0
    }

    /// Performs the late request.
    pub async fn release(&self) {
        self.late.released.notify_one();
        until(|| self.late.performed.load(Ordering::SeqCst) > 0).await;
    }

    /// Nobody listens any more and every connection is closed.
    pub async fn stop(mut self) -> u16 {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.port
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, upstream: u16, rule: &Rule, late: &Late) -> std::io::Result<()> {
    let mut server: Option<TcpStream> = None;
    loop {
        let Some(request) = message(&mut client, false).await? else {
            return Ok(());
        };
        let head = request.head.to_lowercase();
        let fate = rule(&request.head);
        if fate == Fate::Late {
            late.begun.fetch_add(1, Ordering::SeqCst);
            late.released.notified().await;
        }
        let performed = !matches!(fate, Fate::BusyBefore | Fate::Conflict | Fate::Break | Fate::Hang);
        let mut reply = Vec::new();
        if performed {
            let server = match &mut server {
                Some(server) => server,
                none => none.insert(TcpStream::connect(("127.0.0.1", upstream)).await?),
            };
            server.write_all(&request.bytes).await?;
            if let Some(answer) = message(server, head.starts_with("head ")).await? {
                reply = answer.bytes;
            }
        }
        match fate {
            Fate::Pass => client.write_all(&reply).await?,
            Fate::LoseReply | Fate::Break => return Ok(()),
            Fate::Late => {
                late.performed.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            Fate::Hang | Fate::HangAfter => std::future::pending().await,
            Fate::BusyAfter | Fate::BusyBefore => {
                client
                    .write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                    .await?;
            }
            Fate::Conflict => {
                client
                    .write_all(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
                    .await?;
            }
        }
    }
}

struct Message {
    head: String,
    bytes: Vec<u8>,
}

/// One request or reply, whole; none at the end of the stream.
async fn message(stream: &mut TcpStream, without_body: bool) -> std::io::Result<Option<Message>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let value = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    // the server waits for nobody to say that it may go on
    assert!(value("expect").is_none());
    if without_body {
        return Ok(Some(Message { head, bytes }));
    }
    if value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        while !bytes[end..].ends_with(b"0\r\n\r\n") {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
        }
        return Ok(Some(Message { head, bytes }));
    }
    let length: usize = value("content-length").map_or(0, |value| value.parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Message { head, bytes }))
}
