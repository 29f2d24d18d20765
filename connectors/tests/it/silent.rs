//! A proxy before a server that stops passing bytes on while all its connections stay open.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub struct SilentProxy {
    pub port: u16,
    silent: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl SilentProxy {
    /// Forwards to a port of this machine.
    pub async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (silent, _) = watch::channel(false);
        let silent = Arc::new(silent);
        let heard = Arc::clone(&silent);
        let task = tokio::spawn(async move {
            let mut directions = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else {
                    continue;
                };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                directions.spawn(pass(from_client, to_server, heard.subscribe()));
                directions.spawn(pass(from_server, to_client, heard.subscribe()));
            }
        });
        Self { port, silent, task }
    }

    /// From now on nothing passes, on any connection, old or new.
    pub fn be_silent(&self) {
        self.silent.send_replace(true);
    }

    /// New connections work again; what was kept back of the old ones passes, too.
    pub fn recover(&self) {
        self.silent.send_replace(false);
    }
}

impl Drop for SilentProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silent: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let passes = silent.wait_for(|silent| !silent).await.is_ok();
        if !passes || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
