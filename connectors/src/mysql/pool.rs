//! How connections to MySQL are made, stopped and ended.

use std::sync::Arc;

use super::failure::failure;
use super::settings::{Settings, Version};
use super::standing::standing;
use super::wire::{Client, Statement, Target, WireError};
use crate::ConnectorError;
use crate::server::{Address, Driver, Server, Standing};

pub(super) type Pool = crate::server::Pool<Settings>;
pub(super) type Lease = crate::server::Lease<Settings>;

/// A session with pinned settings.
pub(super) struct Connection {
    pub client: Client,
    pub version: Version,
    /// Of the scan under way.
    pub statement: Option<Statement>,
}

impl Settings {
    /// A client without any session settings yet.
    async fn connect(&self) -> Result<Client, ConnectorError> {
        let username = self.secret(&self.username).await?;
        let password = self.secret(&self.password).await?;
        let target = Target {
            host: &self.host,
            port: self.port,
            username: username.expose(),
            password: password.expose(),
            database: self.database.as_deref(),
            tls: self.tls_config().await?.map(Arc::new),
            patience: self.patience(),
        };
        Client::connect(&target)
            .await
            .map_err(|error| failure(self, &error))
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
            ..self.clone()
        }
    }

    async fn standing(&self, connection: &mut Connection) -> Result<Standing, ConnectorError> {
        let Connection { client, version, .. } = connection;
        standing(client, version)
            .await
            .map_err(|error| failure(self, &error))
    }

    async fn open(&self) -> Result<Connection, ConnectorError> {
        let mut client = self.connect().await?;
        let version = Version::of(&client);
        if !version.is_supported() {
            return Err(ConnectorError::Store {
                catalog: self.catalog.clone(),
                message: format!(
                    "MySQL {} is not supported; MySQL 5.7, MariaDB 10.2 or newer is",
                    version.text
                ),
                source: None,
            });
        }
        for pin in self.pins(version.flavor) {
            client.run(&pin).await.map_err(|error| failure(self, &error))?;
        }
        Ok(Connection {
            client,
            version,
            statement: None,
        })
    }

    fn is_closed(connection: &Connection) -> bool {
        connection.client.is_broken()
    }

    async fn reset(connection: &mut Connection) -> bool {
        let Connection {
            client, statement, ..
        } = connection;
        let ended: Result<(), WireError> = async {
            if let Some(statement) = statement.take() {
                client.forget(&statement).await?;
            }
            client.run("ROLLBACK").await
        }
        .await;
        ended.is_ok()
    }

    async fn cancel(&self, connection: &Connection) {
        if !connection.client.is_busy() {
            return;
        }
        // The protocol has no other way: a second connection of the same user
        // may stop the first one's statement.
        let stopped = async {
            let mut client = self.connect().await?;
            let kill = format!("KILL QUERY {}", connection.client.id);
            let killed = client.run(&kill).await;
            client.quit().await;
            killed.map_err(|error| failure(self, &error))
        };
        if let Err(error) = stopped.await {
            tracing::debug!(%error, "a query was not cancelled");
        }
    }

    async fn close(connection: Connection) {
        connection.client.quit().await;
    }
}
