//! How connections to PostgreSQL are made, stopped and ended.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::channel::mpsc;
use tokio::net::lookup_host;
use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::failure;
use super::guard::{Guard, Oversized};
use super::outlet::Outlet;
use super::settings::Settings;
use super::socket::Socket;
use super::standing::standing;
use crate::ConnectorError;
use crate::server::{Address, Driver, Server, Standing};

pub(super) type Pool = crate::server::Pool<Settings>;
pub(super) type Lease = crate::server::Lease<Settings>;

/// A connection and the task that moves its bytes.
pub(super) struct Connection {
    pub client: Client,
    /// Which of the addresses of its name the server has.
    address: SocketAddr,
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
            host: self.host.clone(),
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
            .dbname(&self.database)
            .user(username.expose())
            .password(password.expose())
            .application_name("lakegate")
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(negotiation);
        let addresses = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| self.unreachable(&error))?;
        let mut failed = None;
        for address in addresses {
            match self.connect(address, &config, &guard).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| self.unreachable(&io::Error::other("the name has no address"))))
    }

    fn is_closed(connection: &Connection) -> bool {
        connection.client.is_closed()
    }

    async fn reset(connection: &mut Connection) -> bool {
        connection.client.batch_execute("ROLLBACK").await.is_ok()
    }

    async fn cancel(&self, connection: &Connection) {
        // To this address and no other: the name may lead to several servers.
        let socket = match Socket::connect(connection.address, Outlet::default()).await {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%error, "a query was not cancelled");
                return;
            }
        };
        let guard = Guard {
            outlet: Outlet::default(),
            ..connection.guard.clone()
        };
        let token = connection.client.cancel_token();
        if let Err(error) = token.cancel_query_raw(socket, guard).await {
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

impl Settings {
    async fn connect(
        &self,
        address: SocketAddr,
        config: &Config,
        guard: &Guard,
    ) -> Result<Connection, ConnectorError> {
        let socket = Socket::connect(address, guard.outlet.clone())
            .await
            .map_err(|error| self.unreachable(&error))?;
        let (client, connection) = config
            .connect_raw(socket, guard.clone())
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
            address,
            driver,
            guard: guard.clone(),
        })
    }

    fn unreachable(&self, error: &io::Error) -> ConnectorError {
        ConnectorError::Unreachable {
            catalog: self.catalog.clone(),
            endpoint: self.address(),
            message: error.to_string(),
            source: None,
        }
    }
}
