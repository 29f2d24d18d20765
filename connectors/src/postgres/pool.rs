//! A few connections to one database, never more than `limits.maxConnections`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Client, Config};

use super::failure::failure;
use super::guard::{Guard, Oversized};
use super::settings::Settings;
use super::tls;
use crate::ConnectorError;

/// Connecting, TLS and authentication together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A query's wait for a free connection ends at the statement timeout, or here.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// A connection unused for longer is closed instead of used again: routers and
/// poolers forget silent ones.
const LONGEST_IDLE: Duration = Duration::from_mins(5);
/// For the last words to a server that may be gone.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection and the task that moves its bytes.
struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    guard: Guard,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Connections in use hold a permit and idle ones were in use before, so both
/// together never exceed the permits.
pub(super) struct Pool {
    settings: Settings,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// Connections live on the runtime that made the pool, so that a query on a
    /// busy or ending runtime does not stall or kill them.
    runtime: Handle,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("settings", &self.settings)
            .field("free", &self.permits.available_permits())
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(settings: Settings, runtime: Handle) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(settings.max_connections)),
            idle: Mutex::new(Vec::new()),
            settings,
            runtime,
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How long a query waits for a connection.
    pub(super) fn patience_of_a_query(&self) -> Duration {
        self.settings.statement_timeout.min(LONGEST_WAIT)
    }

    /// How long discovery waits: that queries keep every connection busy must
    /// not look like a store that is down, and each of them ends by then.
    pub(super) fn patience_of_discovery(&self) -> Duration {
        self.settings.statement_timeout
    }

    /// A connection of its own for the caller; an idle one where there is one.
    ///
    /// # Errors
    /// `Busy` when none becomes free in time, or why no connection can be made.
    pub(super) async fn acquire(self: &Arc<Self>, patience: Duration) -> Result<Lease, ConnectorError> {
        let permit = self.permit(patience).await?;
        let found = loop {
            let idle = self.locked().pop();
            match idle {
                Some(idle) if idle.connection.client.is_closed() => {}
                Some(idle) if idle.since.elapsed() > LONGEST_IDLE => close(idle.connection).await,
                Some(idle) => break Some(idle.connection),
                None => break None,
            }
        };
        let reused = found.is_some();
        let connection = match found {
            Some(connection) => connection,
            None => self.open().await?,
        };
        Ok(Lease {
            pool: Arc::clone(self),
            held: Some((connection, permit)),
            reused,
        })
    }

    /// Like [`Self::acquire`], for use after an idle connection turned out to be
    /// dead: the other idle ones are as old and are closed first.
    pub(super) async fn acquire_fresh(self: &Arc<Self>, patience: Duration) -> Result<Lease, ConnectorError> {
        let stale = std::mem::take(&mut *self.locked());
        for idle in stale {
            close(idle.connection).await;
        }
        self.acquire(patience).await
    }

    async fn permit(&self, patience: Duration) -> Result<OwnedSemaphorePermit, ConnectorError> {
        let busy = || ConnectorError::Busy {
            catalog: self.settings.catalog.clone(),
            endpoint: self.settings.address(),
            connections: self.settings.max_connections,
            seconds: patience.as_secs(),
        };
        timeout(patience, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        // A list of connections is whole whatever panicked beside it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<Connection, ConnectorError> {
        let settings = &self.settings;
        let username = settings.secret(&settings.username).await?;
        let password = settings.secret(&settings.password).await?;
        let guard = Guard {
            tls: tls::connector(settings).await?,
            oversized: Oversized::default(),
        };
        let negotiation = if guard.tls.is_some() {
            SslNegotiation::Postgres
        } else {
            SslNegotiation::Direct
        };
        let mut config = Config::new();
        config
            .host(&settings.host)
            .port(settings.port)
            .dbname(&settings.database)
            .user(username.expose())
            .password(password.expose())
            .application_name("lakegate")
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(negotiation)
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3);
        let connect_guard = guard.clone();
        let catalog = settings.catalog.clone();
        let mut connecting = AbortOnDrop(self.runtime.spawn(async move {
            let (client, connection) = config.connect(connect_guard).await?;
            let driver = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(catalog, %error, "a connection to PostgreSQL ended");
                }
            });
            Ok((client, driver))
        }));
        let timed_out = || ConnectorError::TimedOut {
            catalog: settings.catalog.clone(),
            endpoint: settings.address(),
            seconds: CONNECT_TIMEOUT.as_secs(),
        };
        let (client, driver) = timeout(CONNECT_TIMEOUT, &mut connecting.0)
            .await
            .map_err(|_| timed_out())?
            .map_err(|error| ConnectorError::Store {
                catalog: settings.catalog.clone(),
                message: "the task that connects was stopped".to_owned(),
                source: Some(Box::new(error)),
            })?
            .map_err(|error| failure(settings, &error))?;
        Ok(Connection {
            client,
            driver,
            guard,
        })
    }
}

/// A connection attempt nobody waits for any more must not go on.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says goodbye and waits until the server's side is gone too.
async fn close(connection: Connection) {
    let Connection {
        client, mut driver, ..
    } = connection;
    drop(client);
    if timeout(FAREWELL_TIMEOUT, &mut driver).await.is_err() {
        driver.abort();
    }
}

/// A connection in use. [`Lease::release`] keeps it for the next user; dropping
/// it stops whatever runs on it in the server, closes it, and only then lets
/// another connection take its place.
pub(super) struct Lease {
    pool: Arc<Pool>,
    held: Option<(Connection, OwnedSemaphorePermit)>,
    /// Whether it served before, and so may have died in the meantime.
    pub(super) reused: bool,
}

impl Lease {
    pub(super) fn client(&self) -> Result<&Client, ConnectorError> {
        match &self.held {
            Some((connection, _)) => Ok(&connection.client),
            None => Err(ConnectorError::Store {
                catalog: self.pool.settings.catalog.clone(),
                message: "a released connection was used".to_owned(),
                source: None,
            }),
        }
    }

    /// The size of the row that was too large to be read, if that is what ended
    /// the connection.
    pub(super) fn oversized(&self) -> Option<u32> {
        let (connection, _) = self.held.as_ref()?;
        connection.guard.oversized.bytes()
    }

    /// Ends the transaction and hands the connection to the next user.
    pub(super) fn release(mut self) {
        let Some((connection, permit)) = self.held.take() else {
            return;
        };
        let pool = Arc::clone(&self.pool);
        self.pool.runtime.spawn(async move {
            // Everything is read-only; what was begun is not worth committing.
            let ended = connection.client.batch_execute("ROLLBACK");
            match timeout(FAREWELL_TIMEOUT, ended).await {
                Ok(Ok(())) => pool.locked().push(Idle {
                    connection,
                    since: Instant::now(),
                }),
                _ => close(connection).await,
            }
            drop(permit);
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((connection, permit)) = self.held.take() else {
            return;
        };
        // A cancel request may reach the server late and hit whatever runs then,
        // so the connection is never used again.
        self.pool.runtime.spawn(async move {
            if !connection.client.is_closed() {
                let token = connection.client.cancel_token();
                let cancel = token.cancel_query(connection.guard.clone());
                match timeout(FAREWELL_TIMEOUT, cancel).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a query was not cancelled"),
                    Err(_) => tracing::debug!("a query was not cancelled in time"),
                }
            }
            close(connection).await;
            drop(permit);
        });
    }
}
