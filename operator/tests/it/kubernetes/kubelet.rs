//! The one thing of a kubelet that an API server asks for: the logs of its Pods. The tests write them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// All logs, by `namespace/pod`.
#[derive(Default)]
pub struct Kubelet {
    logs: Mutex<HashMap<String, Arc<watch::Sender<Log>>>>,
}

#[derive(Default)]
struct Log {
    lines: Vec<(Timestamp, String)>,
    /// Connections that were made so far, and how many of them are cut.
    connections: usize,
    cut: usize,
    /// The container has ended: what there is is all.
    is_complete: bool,
    /// Nobody is let in.
    is_away: bool,
    /// Queries of the requests.
    asked: Vec<String>,
}

impl Kubelet {
    /// Serves with the certificate of the API server, which takes any.
    pub fn start(pki: &Path) -> (Arc<Self>, SocketAddr) {
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(pki.join("api.crt"))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::from_pem_file(pki.join("api.key")).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let kubelet = Arc::new(Self::default());
        let served = Arc::clone(&kubelet);
        // A runtime of its own: it outlives the tests, each of which has one.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((connection, _)) = listener.accept().await {
                    let (acceptor, kubelet) = (acceptor.clone(), Arc::clone(&served));
                    tokio::spawn(async move {
                        // Whoever hangs up has had enough.
                        let _ = kubelet.serve(acceptor, connection).await;
                    });
                }
            });
        });
        (kubelet, address)
    }

    fn log(&self, pod: &str) -> Arc<watch::Sender<Log>> {
        Arc::clone(self.logs.lock().unwrap().entry(pod.to_owned()).or_default())
    }

    /// A container says something.
    pub fn say(&self, pod: &str, line: &str) {
        self.log(pod)
            .send_modify(|log| log.lines.push((Timestamp::now(), line.to_owned())));
    }

    /// The container has ended.
    pub fn complete(&self, pod: &str) {
        self.log(pod).send_modify(|log| log.is_complete = true);
    }

    /// Every connection that there is breaks.
    pub fn cut(&self, pod: &str) {
        self.log(pod).send_modify(|log| log.cut = log.connections);
    }

    /// No connection is taken any more, or again.
    pub fn set_away(&self, pod: &str, is_away: bool) {
        self.log(pod).send_modify(|log| log.is_away = is_away);
    }

    /// The queries of all requests so far.
    pub fn asked(&self, pod: &str) -> Vec<String> {
        self.log(pod).borrow().asked.clone()
    }

    async fn serve(&self, acceptor: TlsAcceptor, connection: TcpStream) -> std::io::Result<()> {
        let mut stream = acceptor.accept(connection).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head);
        // GET /containerLogs/<namespace>/<pod>/<container>?<query> HTTP/1.1
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let [_, "containerLogs", namespace, pod, "worker"] = parts[..] else {
            return stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
        };
        let log = self.log(&format!("{namespace}/{pod}"));
        let mut mine = 0;
        let mut is_away = false;
        log.send_modify(|log| {
            log.connections += 1;
            log.asked.push(query.to_owned());
            mine = log.connections;
            is_away = log.is_away;
        });
        if is_away {
            return stream
                .write_all(
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                )
                .await;
        }
        let given = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                .map(|value| value.replace("%3A", ":"))
        };
        let since: Option<Timestamp> = given("sinceTime").map(|time| time.parse().unwrap());
        let follow = given("follow").is_some();
        let timestamps = given("timestamps").is_some();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")
            .await?;
        let mut changes = log.subscribe();
        let mut sent = 0;
        loop {
            let (news, is_cut, is_complete) = {
                let log = changes.borrow_and_update();
                (log.lines[sent..].to_vec(), log.cut >= mine, log.is_complete)
            };
            if is_cut {
                // Without the last chunk: it breaks in the middle.
                return Ok(());
            }
            sent += news.len();
            for (time, line) in news {
                // As a kubelet does: by whole seconds.
                if since.is_some_and(|since| time.as_second() < since.as_second()) {
                    continue;
                }
                let line = if timestamps {
                    format!("{time} {line}\n")
                } else {
                    format!("{line}\n")
                };
                let chunk = format!("{:x}\r\n{line}\r\n", line.len());
                stream.write_all(chunk.as_bytes()).await?;
            }
            stream.flush().await?;
            if is_complete || !follow {
                stream.write_all(b"0\r\n\r\n").await?;
                return stream.shutdown().await;
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}
