//! A few connections to the servers of one source, never more than `limits.maxConnections` to all of them together.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::lag::{Measured, Record};
use super::replicas::Pin;
use super::{Address, Server, Standing};
use crate::ConnectorError;

/// Connecting, TLS and authentication together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
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

    /// The same for another server of the source.
    fn at(&self, address: &Address) -> Self;

    /// Asks a replica how far it is behind. The connection is in no transaction, before and after.
    fn standing(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Standing, ConnectorError>> + Send;

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
    site: usize,
    connection: C,
    measured: Option<Measured>,
    since: Instant,
}

/// One server of the source.
pub(super) struct Site<D> {
    pub driver: D,
    /// What became of it lately; of a replica only.
    pub record: Record,
}

/// The place of the primary among the sites; replicas follow it.
pub(super) const PRIMARY: usize = 0;

/// Connections in use hold a permit, and one is opened only while those in use and the idle ones together stay within
/// the permits.
pub(crate) struct Pool<D: Driver> {
    pub(super) sites: Vec<Site<D>>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle<D::Connection>>>,
    /// Connections live on the runtime that made the pool, so that a query on a
    /// busy or ending runtime does not stall or kill them.
    runtime: Handle,
    /// Counts choices, so that replicas take turns.
    pub(super) turn: AtomicUsize,
    pub(super) pin: Mutex<Pin>,
}

impl<D: Driver> fmt::Debug for Pool<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("driver", self.driver())
            .field("replicas", &self.server().replicas)
            .field("free", &self.permits.available_permits())
            .finish_non_exhaustive()
    }
}

impl<D: Driver> Pool<D> {
    /// Must be called within the Tokio runtime that will carry the connections.
    /// `driver` is the primary's.
    pub(crate) fn new(driver: D) -> Result<Self, ConnectorError> {
        let server = driver.server();
        let runtime = Handle::try_current().map_err(|error| ConnectorError::Store {
            catalog: server.catalog.clone(),
            message: "connections need a Tokio runtime".to_owned(),
            source: Some(Box::new(error)),
        })?;
        let permits = Arc::new(Semaphore::new(server.max_connections));
        let replicas = server.replicas.iter().map(|address| driver.at(address));
        let replicas: Vec<D> = replicas.collect();
        let site = |driver| Site {
            driver,
            record: Record::default(),
        };
        Ok(Self {
            sites: std::iter::once(driver).chain(replicas).map(site).collect(),
            permits,
            idle: Mutex::new(Vec::new()),
            runtime,
            turn: AtomicUsize::new(0),
            pin: Mutex::new(Pin::Free),
        })
    }

    /// The primary's: catalog, limits and settings are the same for all servers.
    pub(crate) fn driver(&self) -> &D {
        &self.sites[PRIMARY].driver
    }

    pub(crate) fn server(&self) -> &Server {
        self.driver().server()
    }

    /// `host:port` of what is read: the replicas, else the primary.
    pub(crate) fn addresses(&self) -> String {
        let replicas = self.sites.get(PRIMARY + 1..).unwrap_or_default();
        if replicas.is_empty() {
            return self.server().address();
        }
        let addresses: Vec<String> = replicas
            .iter()
            .map(|site| site.driver.server().address())
            .collect();
        addresses.join(",")
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

    /// A connection to one server, which the permit is for; an idle one where there is one.
    pub(super) async fn connect(
        self: &Arc<Self>,
        site: usize,
        permit: OwnedSemaphorePermit,
    ) -> Result<Lease<D>, ConnectorError> {
        let found = loop {
            let idle = {
                let mut all = self.locked();
                let newest = all.iter().rposition(|idle| idle.site == site);
                newest.map(|at| all.remove(at))
            };
            match idle {
                Some(idle) if D::is_closed(&idle.connection) => {}
                Some(idle) if idle.since.elapsed() > LONGEST_IDLE => close::<D>(idle.connection).await,
                found => break found,
            }
        };
        let reused = found.is_some();
        let (connection, measured) = match found {
            Some(idle) => (idle.connection, idle.measured),
            None => {
                self.make_room().await;
                (self.open(site).await?, None)
            }
        };
        Ok(Lease {
            pool: Arc::clone(self),
            site,
            held: Some((connection, permit)),
            measured,
            reused,
        })
    }

    /// Closes idle connections to other servers that one more connection has no room beside.
    async fn make_room(&self) {
        loop {
            let oldest = {
                let mut idle = self.locked();
                // The caller's permit is not among the available ones.
                (idle.len() > self.permits.available_permits()).then(|| idle.remove(0))
            };
            match oldest {
                Some(idle) => close::<D>(idle.connection).await,
                None => return,
            }
        }
    }

    /// The servers that idle connections lead to, where another connection would cost one of these.
    pub(super) fn only_idle(&self) -> Option<Vec<usize>> {
        let idle = self.locked();
        (idle.len() >= self.permits.available_permits()).then(|| idle.iter().map(|idle| idle.site).collect())
    }

    pub(super) fn has_idle(&self, site: usize) -> bool {
        self.locked().iter().any(|idle| idle.site == site)
    }

    /// Closes the idle connections to some servers.
    pub(super) async fn close_idle(&self, of: impl Fn(usize) -> bool) {
        let closed: Vec<_> = self.locked().extract_if(.., |idle| of(idle.site)).collect();
        for idle in closed {
            close::<D>(idle.connection).await;
        }
    }

    /// Leave to hold one more connection.
    pub(super) async fn permit(&self, patience: Duration) -> Result<OwnedSemaphorePermit, ConnectorError> {
        let server = self.server();
        let busy = || ConnectorError::Busy {
            catalog: server.catalog.clone(),
            endpoint: self.addresses(),
            connections: server.max_connections,
            seconds: patience.as_secs(),
        };
        timeout(patience, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())
    }

    /// Leave to hold one more connection, if nobody has to wait for it.
    pub(super) fn permit_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Idle<D::Connection>>> {
        // A list of connections is whole whatever panicked beside it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(self: &Arc<Self>, site: usize) -> Result<D::Connection, ConnectorError> {
        let pool = Arc::clone(self);
        let mut connecting = AbortOnDrop(
            self.runtime
                .spawn(async move { pool.sites[site].driver.open().await }),
        );
        let server = self.sites[site].driver.server();
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

    /// Runs something behind the caller's back, on the runtime of the connections.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
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
    pub(super) site: usize,
    held: Option<(D::Connection, OwnedSemaphorePermit)>,
    /// How far its server was behind, and when; of a replica only.
    pub(super) measured: Option<Measured>,
    /// Whether it served before, and so may have died in the meantime.
    pub(crate) reused: bool,
}

impl<D: Driver> Lease<D> {
    /// Of the server that this connection leads to.
    pub(crate) fn driver(&self) -> &D {
        &self.pool.sites[self.site].driver
    }

    /// Whether the server follows another one.
    pub(crate) fn is_replica(&self) -> bool {
        self.site != PRIMARY
    }

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

    /// Hands a connection that is in no transaction to the next user.
    pub(super) fn put_back(mut self) {
        let Some((connection, permit)) = self.held.take() else {
            return;
        };
        self.pool.locked().push(Idle {
            site: self.site,
            connection,
            measured: self.measured.take(),
            since: Instant::now(),
        });
        drop(permit);
    }

    /// Another connection to the same server, without waiting for one: only if two are
    /// free, so that one stays for the next query. None is no failure; whoever asks
    /// goes on with what it has.
    pub(crate) async fn another(&self) -> Option<Self> {
        let mut two = Arc::clone(&self.pool.permits).try_acquire_many_owned(2).ok()?;
        let permit = two.split(1)?;
        drop(two);
        match self.pool.connect(self.site, permit).await {
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
        let (site, measured) = (self.site, self.measured.take());
        self.pool.runtime.spawn(async move {
            // Everything is read-only; what was begun is not worth committing.
            match timeout(FAREWELL_TIMEOUT, D::reset(&mut connection)).await {
                Ok(true) => pool.locked().push(Idle {
                    site,
                    connection,
                    measured,
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
        let site = self.site;
        // The request to stop may reach the server late and hit whatever runs
        // then, so the connection is never used again.
        self.pool.runtime.spawn(async move {
            if !D::is_closed(&connection)
                && timeout(FAREWELL_TIMEOUT, pool.sites[site].driver.cancel(&connection))
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
