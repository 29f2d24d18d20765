//! What the introspection of the system catalogs contributes to sessions and statements.

use std::net::SocketAddr;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Statement as Ast;
use lakegate_federation::{Federation, FederationError, Session};

use crate::encode::RegNames;
use crate::registry::{Backend, Registry};

/// The connection a session belongs to.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// This connection.
    pub backend: Arc<Backend>,
    /// All of them: `pg_cancel_backend`, `pg_stat_activity`.
    pub registry: Arc<Registry>,
    /// The client's address: `inet_client_addr()`.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

/// The system catalogs: their tables, functions and rewrites.
pub trait Introspection: Send + Sync {
    /// Adds schemas and functions; called once before the first session.
    fn install(&self, _federation: &Arc<Federation>) {}

    /// Adds what belongs to one session; called once before its first statement.
    fn open_session(&self, _session: &Session, _connection: &ConnectionInfo) -> Result<(), FederationError> {
        Ok(())
    }

    /// Rewrites a statement before it is planned.
    fn prepare_statement(&self, _session: &Session, statement: Ast) -> Result<Ast, FederationError> {
        Ok(statement)
    }

    /// Called before each plan is run: what the functions of the catalogs say is as of now.
    fn before_execution(&self, _session: &Session) {}

    /// The name that a client sees of a result column.
    fn output_name<'a>(&self, name: &'a str) -> &'a str {
        name
    }

    /// The names that `regclass` columns and their kin print.
    fn reg_names(&self, _session: &Session) -> Option<Arc<dyn RegNames>> {
        None
    }
}

/// No system catalogs at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoIntrospection;

impl Introspection for NoIntrospection {}
