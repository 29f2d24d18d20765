//! A few connections to one server, never more than `limits.maxConnections`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::Server;
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

/// How connections of one kind of server are made and ended.
pub(crate) trait Driver: fmt::Debug + Send + Sync + 'static {
    type Connection: Send + Sync + 'static;

    fn server(&self) -> &Server;

    /// Connects, encrypts, authenticates. Bounded in time by the caller.
    fn open(&self) -> impl Future<Output = Result<Self::Connection, ConnectorError>> + Send;

    /// Whether the connection is known to be of no more use, without asking.
    fn is_closed(connection: &Self::Connection) -> bool;

    /// Ends the transaction; true if the connection can serve again.
    fn reset(connection: &mut Self::Connection) -> impl Future<Output = bool> + Send;

    /// Stops whatever the connection runs in the server.
    fn cancel(&self, connection: &Self::Connection) -> impl Future<Output = ()> + Send;

    /// Says goodbye and waits until the server's side is gone too.
    fn close(connection: Self::Connection) -> impl Future<Output = ()> + Send;
}

struct Idle<C> {
    connection: C,
    since: Instant,
}

/// Connections in use hold a permit and idle ones were in use before, so both
/// together never exceed the permits.
pub(crate) struct Pool<D: Driver> {
    driver: D,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle<D::Connection>>>,
    /// Connections live on the runtime that made the pool, so that a query on a
    /// busy or ending runtime does not stall or kill them.
    runtime: Handle,
}

impl<D: Driver> fmt::Debug for Pool<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("driver", &self.driver)
            .field("free", &self.permits.available_permits())
            .finish_non_exhaustive()
    }
}

impl<D: Driver> Pool<D> {
    /// Must be called within the Tokio runtime that will carry the connections.
    pub(crate) fn new(driver: D) -> Result<Self, ConnectorError> {
        let server = driver.server();
        let runtime = Handle::try_current().map_err(|error| ConnectorError::Store {
            catalog: server.catalog.clone(),
            message: "connections need a Tokio runtime".to_owned(),
            source: Some(Box::new(error)),
        })?;
        Ok(Self {
            permits: Arc::new(Semaphore::new(server.max_connections)),
            idle: Mutex::new(Vec::new()),
            driver,
            runtime,
        })
    }

    pub(crate) fn driver(&self) -> &D {
        &self.driver
    }

    pub(crate) fn server(&self) -> &Server {
        self.driver.server()
    }

    /// How long a query waits for a connection.
    pub(crate) fn patience_of_a_query(&self) -> Duration {
        self.server().statement_timeout.min(LONGEST_WAIT)
    }

    /// How long discovery waits: that queries keep every connection busy must
    /// not look like a store that is down, and each of them ends by then.
    pub(crate) fn patience_of_discovery(&self) -> Duration {
        self.server().statement_timeout
    }

    /// A connection of its own for the caller; an idle one where there is one.
    ///
    /// # Errors
    /// `Busy` when none becomes free in time, or why no connection can be made.
    pub(crate) async fn acquire(self: &Arc<Self>, patience: Duration) -> Result<Lease<D>, ConnectorError> {
        let permit = self.permit(patience).await?;
        self.lease(permit).await
    }

    /// An idle connection where there is one, else a new one.
    async fn lease(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Lease<D>, ConnectorError> {
        let found = loop {
            let idle = self.locked().pop();
            match idle {
                Some(idle) if D::is_closed(&idle.connection) => {}
                Some(idle) if idle.since.elapsed() > LONGEST_IDLE => close::<D>(idle.connection).await,
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
    pub(crate) async fn acquire_fresh(
        self: &Arc<Self>,
        patience: Duration,
    ) -> Result<Lease<D>, ConnectorError> {
        let stale = std::mem::take(&mut *self.locked());
        for idle in stale {
            close::<D>(idle.connection).await;
        }
        self.acquire(patience).await
    }

    async fn permit(&self, patience: Duration) -> Result<OwnedSemaphorePermit, ConnectorError> {
        let server = self.server();
        let busy = || ConnectorError::Busy {
            catalog: server.catalog.clone(),
            endpoint: server.address(),
            connections: server.max_connections,
            seconds: patience.as_secs(),
        };
        timeout(patience, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Idle<D::Connection>>> {
        // A list of connections is whole whatever panicked beside it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(self: &Arc<Self>) -> Result<D::Connection, ConnectorError> {
        let pool = Arc::clone(self);
        let mut connecting = AbortOnDrop(self.runtime.spawn(async move { pool.driver.open().await }));
        let server = self.server();
        timeout(CONNECT_TIMEOUT, &mut connecting.0)
            .await
            .map_err(|_| ConnectorError::TimedOut {
                catalog: server.catalog.clone(),
                endpoint: server.address(),
                seconds: CONNECT_TIMEOUT.as_secs(),
            })?
            .map_err(|error| ConnectorError::Store {
                catalog: server.catalog.clone(),
                message: "the task that connects was stopped".to_owned(),
                source: Some(Box::new(error)),
            })?
    }
}

/// A connection attempt nobody waits for any more must not go on.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A server that does not answer the goodbye is left.
async fn close<D: Driver>(connection: D::Connection) {
    if timeout(FAREWELL_TIMEOUT, D::close(connection)).await.is_err() {
        tracing::debug!("a connection was not closed in time");
    }
}

/// A connection in use. [`Lease::release`] keeps it for the next user; dropping
/// it stops whatever runs on it in the server, closes it, and only then lets
/// another connection take its place.
pub(crate) struct Lease<D: Driver> {
    pool: Arc<Pool<D>>,
    held: Option<(D::Connection, OwnedSemaphorePermit)>,
    /// Whether it served before, and so may have died in the meantime.
    pub(crate) reused: bool,
}

impl<D: Driver> Lease<D> {
    pub(crate) fn connection(&self) -> Result<&D::Connection, ConnectorError> {
        match &self.held {
            Some((connection, _)) => Ok(connection),
            None => Err(released(&self.pool)),
        }
    }

    pub(crate) fn connection_mut(&mut self) -> Result<&mut D::Connection, ConnectorError> {
        match &mut self.held {
            Some((connection, _)) => Ok(connection),
            None => Err(released(&self.pool)),
        }
    }

    /// Another connection of the same pool, without waiting for one: only if two are
    /// free, so that one stays for the next query. None is no failure; whoever asks
    /// goes on with what it has.
    pub(crate) async fn another(&self) -> Option<Self> {
        let mut two = Arc::clone(&self.pool.permits).try_acquire_many_owned(2).ok()?;
        let permit = two.split(1)?;
        drop(two);
        match self.pool.lease(permit).await {
            Ok(lease) => Some(lease),
            Err(error) => {
                tracing::debug!(%error, "a scan goes on with fewer connections");
                None
            }
        }
    }

    /// Ends the transaction and hands the connection to the next user.
    pub(crate) fn release(mut self) {
        let Some((mut connection, permit)) = self.held.take() else {
            return;
        };
        let pool = Arc::clone(&self.pool);
        self.pool.runtime.spawn(async move {
            // Everything is read-only; what was begun is not worth committing.
            match timeout(FAREWELL_TIMEOUT, D::reset(&mut connection)).await {
                Ok(true) => pool.locked().push(Idle {
                    connection,
                    since: Instant::now(),
                }),
                _ => close::<D>(connection).await,
            }
            drop(permit);
        });
    }
}

fn released<D: Driver>(pool: &Pool<D>) -> ConnectorError {
    ConnectorError::Store {
        catalog: pool.server().catalog.clone(),
        message: "a released connection was used".to_owned(),
        source: None,
    }
}

impl<D: Driver> Drop for Lease<D> {
    fn drop(&mut self) {
        let Some((connection, permit)) = self.held.take() else {
            return;
        };
        let pool = Arc::clone(&self.pool);
        // The request to stop may reach the server late and hit whatever runs
        // then, so the connection is never used again.
        self.pool.runtime.spawn(async move {
            if !D::is_closed(&connection)
                && timeout(FAREWELL_TIMEOUT, pool.driver.cancel(&connection))
                    .await
                    .is_err()
            {
                tracing::debug!("a query was not cancelled in time");
            }
            close::<D>(connection).await;
            drop(permit);
        });
    }
}
