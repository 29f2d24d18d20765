//! A connection from its first byte to its last.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use lakegate_federation::{Session, SessionIdentity, VIRTUAL_DATABASE};
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::{Authentication, BackendKeyData, SecretKey};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::reader::Inbox;
use super::transaction::Transaction;
use super::{Connection, Trouble};
use crate::fault::{Fault, Severity};
use crate::gateway::Shared;
use crate::hooks::ConnectionInfo;
use crate::registry::Registration;
use crate::startup::{self, Opened, Purpose, Refusal};
use crate::wire::outbox::Outbox;

/// Longest time from the first byte to the proof of identity.
const STARTUP_TIME: Duration = Duration::from_secs(30);

/// Serves one connection to its end.
pub async fn connection(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    // small answers must not wait for more
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the client is gone");
        return;
    }
    let started = tokio::time::timeout(STARTUP_TIME, start(&shared, stream, peer)).await;
    let outcome = match started {
        Ok(Ok(Some(mut connection))) => {
            metrics::counter!("lakegate_gateway_connections_total", "outcome" => "accepted").increment(1);
            metrics::gauge!("lakegate_gateway_connections").increment(1);
            connection.run().await;
            metrics::gauge!("lakegate_gateway_connections").decrement(1);
            return;
        }
        // a cancel request
        Ok(Ok(None)) => return,
        Ok(Err(Refusal::Told(fault))) => {
            tracing::debug!(%peer, code = fault.code, message = fault.message, "connection refused");
            "refused"
        }
        Ok(Err(Refusal::Gone(error))) => {
            tracing::debug!(%peer, %error, "the client is gone");
            "gone"
        }
        Err(_) => "timeout",
    };
    metrics::counter!("lakegate_gateway_connections_total", "outcome" => outcome).increment(1);
}

async fn start(
    shared: &Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Result<Option<Connection>, Refusal> {
    let mut opened = match startup::open(stream, shared.tls.as_ref()).await? {
        Purpose::Session(opened) => opened,
        Purpose::Cancel { pid, secret } => {
            // whether it hit is not told, so that secrets cannot be guessed
            let hit = shared.registry.cancel(pid, secret);
            tracing::debug!(%peer, pid, hit, "cancel request");
            return Ok(None);
        }
    };
    if shared.draining.is_cancelled() {
        let fault = Fault::fatal("57P03", "the database system is shutting down");
        return startup::refuse(&mut opened.transport, fault).await;
    }
    let Some(registration) = shared.registry.register(opened.user()) else {
        let fault = Fault::fatal("53300", "sorry, too many clients already").with_hint(format!(
            "This server takes {} connections; see --max-connections.",
            shared.registry.maximum()
        ));
        return startup::refuse(&mut opened.transport, fault).await;
    };
    let input = match &shared.users {
        Some(users) => startup::authenticate(&mut opened, users, peer).await?,
        None => BytesMut::new(),
    };
    let session = match open_session(shared, &opened, &registration, peer) {
        Ok(session) => session,
        Err(fault) => {
            let fault = Fault {
                severity: Severity::Fatal,
                position: None,
                ..fault
            };
            return startup::refuse(&mut opened.transport, fault).await;
        }
    };
    let (reader, writer) = tokio::io::split(opened.transport);
    let gone = CancellationToken::new();
    let mut connection = Connection {
        shared: Arc::clone(shared),
        session,
        inbox: Inbox::new(reader, input, gone.clone()),
        outbox: Outbox::new(writer, gone.clone()),
        gone,
        registration,
        transaction: Transaction::default(),
        statements: HashMap::new(),
        portals: HashMap::new(),
        reported: BTreeMap::new(),
        skipping: false,
    };
    connection.welcome().await.map_err(|trouble| match trouble {
        Trouble::Gone(error) => Refusal::Gone(error),
        Trouble::Fault(fault) => Refusal::Gone(io::Error::other(fault.message)),
    })?;
    Ok(Some(connection))
}

impl Connection {
    async fn welcome(&mut self) -> Result<(), Trouble> {
        self.outbox.put(&Authentication::Ok)?;
        self.report_settings()?;
        let backend = self.registration.backend();
        self.outbox.put(&BackendKeyData::new(
            backend.pid(),
            SecretKey::I32(backend.secret()),
        ))?;
        self.outbox.ready(TransactionStatus::Idle)?;
        self.outbox.flush().await?;
        Ok(())
    }
}

fn open_session(
    shared: &Arc<Shared>,
    opened: &Opened,
    registration: &Registration,
    peer: SocketAddr,
) -> Result<Session, Fault> {
    let database = opened.parameters.get("database").filter(|name| !name.is_empty());
    let identity = SessionIdentity {
        user: opened.user().to_owned(),
        database: database.map_or(VIRTUAL_DATABASE, String::as_str).to_owned(),
    };
    let session = shared
        .federation
        .session(identity)
        .map_err(|error| Fault::of(&error, ""))?;
    {
        let mut settings = session.settings();
        let told = |error| Fault::of(&error, "");
        if opened.is_encrypted() {
            settings.set_default("ssl", "on").map_err(told)?;
        }
        let mut wanted = Vec::new();
        if let Some(options) = opened.parameters.get("options") {
            wanted.extend(start_up_options(options)?);
        }
        wanted.extend(
            opened
                .parameters
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "user" | "database" | "options" | "replication"))
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        for (name, value) in wanted {
            // what a client may not SET it may not bring along either
            settings.clone().set(&name, &value).map_err(told)?;
            settings.set_default(&name, &value).map_err(told)?;
        }
    }
    let info = ConnectionInfo {
        backend: Arc::clone(registration.backend()),
        registry: Arc::clone(&shared.registry),
        peer,
        encrypted: opened.is_encrypted(),
    };
    shared
        .introspection
        .open_session(&session, &info)
        .map_err(|error| Fault::of(&error, ""))?;
    Ok(session)
}

/// `-c name=value --name=value`, as in `PGOPTIONS`; a backslash keeps the next character.
fn start_up_options(options: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    let mut wanted = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let pair = match word.as_str() {
            "-c" => words.next(),
            other => other
                .strip_prefix("--")
                .or_else(|| other.strip_prefix("-c"))
                .map(str::to_owned),
        };
        let Some((name, value)) = pair.as_deref().and_then(|pair| pair.split_once('=')) else {
            return Err(Fault::fatal(
                "42601",
                format!("invalid command-line argument for server process: {word}"),
            )
            .with_hint("Give settings as options='-c name=value'."));
        };
        // --statement-timeout names statement_timeout
        wanted.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_postgres_splits_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            start_up_options(r"-c statement_timeout=5s -csearch_path=a\ b  --work-mem=1MB").unwrap(),
            [
                pair("statement_timeout", "5s"),
                pair("search_path", "a b"),
                pair("work_mem", "1MB")
            ]
        );
        assert_eq!(start_up_options("").unwrap(), []);
        for bad in ["-c", "-x", "-c name"] {
            assert_eq!(start_up_options(bad).unwrap_err().code, "42601", "{bad}");
        }
    }
}
