//! The receiving half of a connection: reads ahead of the session, so that a client that hangs up is
//! noticed while its query runs.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;
use crate::wire::frontend::{self, Frontend, LARGE_MESSAGE};
use crate::wire::transport::Transport;

/// Bytes of messages that may wait for the session. Beyond them the socket is not read, and its buffers
/// hold the client back.
const READ_AHEAD: usize = 1 << 20;

type Waiting = (Result<Frontend, Fault>, Option<OwnedSemaphorePermit>);

/// The messages of a client in their order.
pub(super) struct Inbox {
    messages: mpsc::UnboundedReceiver<Waiting>,
    task: JoinHandle<()>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inbox {
    /// Reads `stream`, of which `input` is read already. `gone` is cancelled when the client hangs up.
    pub(super) fn new(stream: ReadHalf<Transport>, input: BytesMut, gone: CancellationToken) -> Self {
        // unbounded in number, bounded in bytes
        let (sender, messages) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            read(stream, input, &sender).await;
            gone.cancel();
        });
        Inbox { messages, task }
    }

    /// The next message; None when there will be none.
    pub(super) async fn next(&mut self) -> Option<Result<Frontend, Fault>> {
        self.messages.recv().await.map(|(message, _permit)| message)
    }
}

async fn read(mut stream: ReadHalf<Transport>, mut input: BytesMut, sender: &mpsc::UnboundedSender<Waiting>) {
    let budget = Arc::new(Semaphore::new(READ_AHEAD));
    loop {
        let message = match frontend::split_frame(&mut input, LARGE_MESSAGE) {
            Ok(Some((kind, body))) => frontend::parse(kind, body),
            Ok(None) => {
                if input.capacity() - input.len() < 4 << 10 {
                    input.reserve(16 << 10);
                }
                match stream.read_buf(&mut input).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => continue,
                }
            }
            Err(fault) => Err(fault),
        };
        let fatal = message.is_err();
        let size = message.as_ref().map_or(1, Frontend::size).min(READ_AHEAD);
        let permit = Arc::clone(&budget).acquire_many_owned(size as u32).await.ok();
        if sender.send((message, permit)).is_err() {
            return;
        }
        if fatal {
            // where the next message begins is not known; the session tells the client and ends
            std::future::pending::<()>().await;
        }
    }
}
