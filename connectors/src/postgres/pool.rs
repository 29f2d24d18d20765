//! How connections to PostgreSQL are made, stopped and ended.

use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::failure;
use super::guard::{Guard, Outlet, Oversized};
use super::settings::Settings;
use super::standing::standing;
use crate::ConnectorError;
use crate::server::{Address, Driver, Server, Standing};

pub(super) type Pool = crate::server::Pool<Settings>;
pub(super) type Lease = crate::server::Lease<Settings>;

/// A connection and the task that moves its bytes.
pub(super) struct Connection {
    pub client: Client,
    driver: AbortOnDrop,
    guard: Guard,
}

impl Connection {
    /// The size of the row that was too large to be read, if that is what ended
    /// the connection.
    pub(super) fn oversized(&self) -> Option<u32> {
        self.guard.oversized.bytes()
    }

    /// The rows of the COPY that is sent next, past the driver.
    pub(super) fn divert(&self) -> mpsc::Receiver<Bytes> {
        self.guard.outlet.divert()
    }
}

/// A connection that is not closed in time is cut.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Driver for Settings {
    type Connection = Connection;

    fn server(&self) -> &Server {
        &self.server
    }

    fn at(&self, address: &Address) -> Self {
        Self {
            server: self.server.at(address),
            database: self.database.clone(),
            unconstrained_numeric: self.unconstrained_numeric,
        }
    }

    async fn standing(&self, connection: &mut Connection) -> Result<Standing, ConnectorError> {
        standing(&connection.client)
            .await
            .map_err(|error| failure(self, &error))
    }

    async fn open(&self) -> Result<Connection, ConnectorError> {
        let username = self.secret(&self.username).await?;
        let password = self.secret(&self.password).await?;
        let guard = Guard {
            tls: self.tls_config().await?.map(MakeRustlsConnect::new),
            oversized: Oversized::default(),
            outlet: Outlet::default(),
        };
        let negotiation = if guard.tls.is_some() {
            SslNegotiation::Postgres
        } else {
            SslNegotiation::Direct
        };
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(&self.database)
            .user(username.expose())
            .password(password.expose())
            .application_name("lakegate")
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(negotiation)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3);
        let (client, connection) = config
            .connect(guard.clone())
            .await
            .map_err(|error| failure(self, &error))?;
        let catalog = self.catalog.clone();
        let driver = AbortOnDrop(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(catalog, %error, "a connection to PostgreSQL ended");
            }
        }));
        Ok(Connection {
            client,
            driver,
            guard,
        })
    }

    fn is_closed(connection: &Connection) -> bool {
        connection.client.is_closed()
    }

    async fn reset(connection: &mut Connection) -> bool {
        connection.client.batch_execute("ROLLBACK").await.is_ok()
    }

    async fn cancel(&self, connection: &Connection) {
        let token = connection.client.cancel_token();
        if let Err(error) = token.cancel_query(connection.guard.clone()).await {
            tracing::debug!(%error, "a query was not cancelled");
        }
    }

    async fn close(connection: Connection) {
        let Connection {
            client, mut driver, ..
        } = connection;
        drop(client);
        // Ends with the server's side of the connection.
        let _ = (&mut driver.0).await;
    }
}
