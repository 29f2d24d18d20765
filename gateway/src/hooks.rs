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

/// A statement as the planner gets it.
#[derive(Debug, Clone)]
pub struct PreparedStatement {
    /// What is planned.
    pub statement: Ast,
    /// The names of the result columns where they differ from the plan's; the same length as the result.
    pub output_names: Option<Vec<String>>,
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
    fn prepare_statement(
        &self,
        _session: &Session,
        statement: Ast,
    ) -> Result<PreparedStatement, FederationError> {
        Ok(PreparedStatement {
            statement,
            output_names: None,
        })
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
