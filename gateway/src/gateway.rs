//! The listeners.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lakegate_federation::Federation;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Users, UsersFailure};
use crate::hooks::Introspection;
use crate::http::{self, HttpState};
use crate::registry::Registry;
use crate::session;
use crate::tls::{TlsFailure, TlsFiles};

/// How long their connections may take to end after that.
const LAST_WORDS_TIME: Duration = Duration::from_secs(2);

/// What the gateway listens on, and whom it lets in.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// The Postgres protocol; port 0 takes a free one.
    pub listen: SocketAddr,
    /// HTTP: health, metrics and the catalog of lakes. None serves no HTTP.
    pub http: Option<SocketAddr>,
    /// PEM file of the certificate and its issuers; with `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's key.
    pub tls_key: Option<PathBuf>,
    /// File of users; see [`crate::auth`]. None trusts every name, on a loopback address only.
    pub users: Option<PathBuf>,
    /// Sessions at one time.
    pub max_connections: usize,
    /// How long statements may go on after shutdown was asked for.
    pub drain: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        GatewayOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 5432)),
            http: None,
            tls_cert: None,
            tls_key: None,
            users: None,
            max_connections: 100,
            drain: Duration::from_secs(10),
        }
    }
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayFailure {
    /// Anyone on the network could read everything.
    #[error(
        "refusing to listen on {0} without users: everyone who reaches it could read every store; \
         give --users FILE (see `lakegate user add`), or listen on a loopback address such as 127.0.0.1"
    )]
    Unprotected(SocketAddr),
    /// The address is taken or not one of this machine's.
    #[error("cannot listen on {address} ({option}): {reason}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The option that gave it.
        option: &'static str,
        /// What the system says.
        reason: String,
    },
    /// One of two files is missing.
    #[error("--tls-cert and --tls-key belong together: give both or none")]
    HalfTls,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// The users cannot be read.
    #[error(transparent)]
    Users(#[from] UsersFailure),
    /// The file of users has none.
    #[error("the users file {0} has no user: nobody could connect; add one with `lakegate user add`")]
    NoUsers(String),
}

/// What every connection shares.
pub struct Shared {
    pub(crate) federation: Arc<Federation>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) users: Option<Arc<Users>>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) introspection: Arc<dyn Introspection>,
    pub(crate) draining: CancellationToken,
    /// What is waited for at shutdown: connections, and queries over HTTP.
    pub(crate) connections: TaskTracker,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Where HTTP finds what connections share, once there is something to query.
pub(crate) type SharedLater = Arc<OnceLock<Arc<Shared>>>;

/// Listeners that are bound and do not serve yet.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    http: Option<TcpListener>,
    http_address: Option<SocketAddr>,
    stop_http: CancellationToken,
    shared: SharedLater,
    users: Option<Arc<Users>>,
    tls: Option<TlsFiles>,
    max_connections: usize,
    drain: Duration,
}

impl Gateway {
    /// Checks the options and takes the addresses.
    pub async fn bind(options: GatewayOptions) -> Result<Self, GatewayFailure> {
        if options.users.is_none() && !options.listen.ip().is_loopback() {
            return Err(GatewayFailure::Unprotected(options.listen));
        }
        let users = options
            .users
            .as_deref()
            .map(Users::open)
            .transpose()?
            .map(Arc::new);
        if let (Some(users), Some(path)) = (&users, &options.users)
            && users.is_empty()
        {
            return Err(GatewayFailure::NoUsers(path.display().to_string()));
        }
        let tls = match (&options.tls_cert, &options.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles::open(certificate, key)?),
            (None, None) => None,
            _ => return Err(GatewayFailure::HalfTls),
        };
        let (listener, address) = listen(options.listen, "--listen").await?;
        let (http, http_address) = match options.http {
            Some(address) => {
                let (listener, address) = listen(address, "--http").await?;
                (Some(listener), Some(address))
            }
            None => (None, None),
        };
        Ok(Gateway {
            listener,
            address,
            http,
            http_address,
            stop_http: CancellationToken::new(),
            shared: SharedLater::default(),
            users,
            tls,
            max_connections: options.max_connections,
            drain: options.drain,
        })
    }

    /// Where the Postgres protocol is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where HTTP is served.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Whether connections may be encrypted.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves HTTP from here on, until the gateway has ended: also before there is anything to query.
    pub fn start_http(&mut self, state: HttpState, federation: &Arc<Federation>) {
        if let (Some(listener), Some(address)) = (self.http.take(), self.http_address) {
            let routes = http::gateway_router(
                state,
                Arc::clone(federation),
                Arc::clone(&self.shared),
                self.users.clone(),
                address.ip().is_loopback(),
            );
            tokio::spawn(http::serve(listener, routes, self.stop_http.clone()));
        }
    }

    /// Serves until `shutdown`; then no connection is taken any more, idle sessions end (57P01), running
    /// statements have [`GatewayOptions::drain`] to finish, and what is left is cancelled.
    pub async fn serve(
        self,
        federation: Arc<Federation>,
        introspection: Arc<dyn Introspection>,
        shutdown: CancellationToken,
    ) {
        introspection.install(&federation);
        let connections = TaskTracker::new();
        let shared = Arc::new(Shared {
            federation,
            registry: Arc::new(Registry::new(self.max_connections)),
            users: self.users,
            tls: self.tls,
            introspection,
            draining: CancellationToken::new(),
            connections: connections.clone(),
        });
        // there was none before: a gateway serves once
        let _ = self.shared.set(Arc::clone(&shared));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                // connections that have no session yet are bounded too; a cancel request needs one
                Ok((_, peer))
                    if connections.len() >= self.max_connections.saturating_mul(2).saturating_add(64) =>
                {
                    tracing::debug!(%peer, "too many connections; this one is closed at once");
                }
                Ok((stream, peer)) => {
                    connections.spawn(session::connection(Arc::clone(&shared), stream, peer));
                }
                Err(error) => {
                    // out of file descriptors: the ones in use come back
                    tracing::warn!(%error, "cannot take a connection; trying again in 100 ms");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        shared.draining.cancel();
        connections.close();
        if tokio::time::timeout(self.drain, connections.wait())
            .await
            .is_err()
        {
            for backend in shared.registry.backends() {
                backend.terminate();
                backend.cancel();
            }
            if tokio::time::timeout(LAST_WORDS_TIME, connections.wait())
                .await
                .is_err()
            {
                tracing::info!(
                    connections = connections.len(),
                    "clients that do not read are left"
                );
            }
        }
        self.stop_http.cancel();
    }
}

async fn listen(
    address: SocketAddr,
    option: &'static str,
) -> Result<(TcpListener, SocketAddr), GatewayFailure> {
    let failure = |error: io::Error| GatewayFailure::Bind {
        address,
        option,
        reason: error.to_string(),
    };
    let listener = TcpListener::bind(address).await.map_err(failure)?;
    let bound = listener.local_addr().map_err(failure)?;
    Ok((listener, bound))
}
