//! The catalog schemas as the federation mounts them in every database, and a session's side of them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

use async_trait::async_trait;
use datafusion::{
    catalog::{MemTable, SchemaProvider, TableProvider},
    common::Result as DataFusionResult,
    sql::sqlparser::ast::Statement,
};
use lakegate_federation::{Federation, FederationError, SchemaContext, SchemaExtension, Session};

use super::{
    functions::{self, Current, SessionCatalog},
    layout::{Cell, LAYOUT},
    names, rewrite,
    snapshot::{OWNER, OWNER_OID, Snapshot, Snapshots},
};
use crate::hooks::{ConnectionInfo, Introspection};

/// `pg_catalog` and `information_schema` of every database. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PgCatalog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    snapshots: Snapshots,
    /// What the functions of each session answer from, by the session's number. The session's functions own it,
    /// so that a session that has ended leaves nothing behind.
    sessions: Mutex<HashMap<u64, Weak<SessionCatalog>>>,
}

impl PgCatalog {
    pub fn new() -> Self {
        Self::default()
    }

    fn session(&self, session: &Session) -> Option<Arc<SessionCatalog>> {
        let sessions = self
            .shared
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.get(&session.id()).and_then(Weak::upgrade)
    }

    /// Make the catalog functions of a session answer as of now.
    fn refresh(&self, session: &Session) {
        if let Some(catalog) = self.session(session) {
            let context = session.schema_context();
            let snapshot = self
                .shared
                .snapshots
                .get(&context.metadata, &context.current_database);
            let current = snapshot.map(|snapshot| Current {
                context,
                snapshot,
                backend: catalog.backend,
            });
            *catalog.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        }
    }
}

impl Introspection for PgCatalog {
    fn install(&self, federation: &Arc<Federation>) {
        federation.register_extension(Arc::new(self.clone()));
    }

    fn open_session(&self, session: &Session, connection: &ConnectionInfo) -> Result<(), FederationError> {
        let catalog = Arc::new(SessionCatalog {
            backend: connection.backend.pid(),
            current: RwLock::default(),
        });
        let mut registered = Ok(());
        session.customize(|state| registered = functions::register(state, &catalog));
        registered?;
        let mut sessions = self
            .shared
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.strong_count() > 0);
        sessions.insert(session.id(), Arc::downgrade(&catalog));
        Ok(())
    }

    fn prepare_statement(
        &self,
        session: &Session,
        mut statement: Statement,
    ) -> Result<Statement, FederationError> {
        self.refresh(session);
        rewrite::rewrite(&mut statement);
        Ok(statement)
    }

    fn before_execution(&self, session: &Session) {
        self.refresh(session);
    }

    fn output_name<'a>(&self, name: &'a str) -> &'a str {
        names::shown(name)
    }
}

impl SchemaExtension for PgCatalog {
    fn schema_names(&self) -> Vec<String> {
        LAYOUT.keys().map(|name| (*name).to_owned()).collect()
    }

    fn schema(&self, name: &str, context: &SchemaContext) -> Option<Arc<dyn SchemaProvider>> {
        let (schema, _) = LAYOUT.get_key_value(name)?;
        let snapshot = self.shared.snapshots.get(&context.metadata, &context.database)?;
        Some(Arc::new(CatalogSchema {
            schema,
            snapshot,
            context: context.clone(),
        }))
    }
}

/// One of the two schemas, as a session sees it.
struct CatalogSchema {
    schema: &'static str,
    snapshot: Arc<Snapshot>,
    context: SchemaContext,
}

impl fmt::Debug for CatalogSchema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CatalogSchema")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl CatalogSchema {
    /// Rows that depend on who asks.
    fn session_rows(&self, relation: &str) -> Vec<HashMap<&'static str, Cell>> {
        match (self.schema, relation) {
            ("pg_catalog", "pg_roles" | "pg_user" | "pg_authid") => self.roles(relation),
            ("pg_catalog", "pg_settings") => self
                .context
                .settings
                .all()
                .into_iter()
                .map(|(name, value, description)| {
                    HashMap::from([
                        ("name", Cell::Text(name)),
                        ("setting", Cell::Text(value)),
                        ("short_desc", Cell::from(description)),
                        ("category", Cell::from("Lakegate")),
                        ("context", Cell::from("user")),
                        ("vartype", Cell::from("string")),
                        ("source", Cell::from("session")),
                    ])
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn roles(&self, relation: &str) -> Vec<HashMap<&'static str, Cell>> {
        let mut roles = vec![(OWNER_OID, OWNER.to_owned())];
        if self.context.user != OWNER {
            roles.push((OWNER_OID + 1, self.context.user.clone()));
        }
        roles
            .into_iter()
            .map(|(oid, name)| {
                if relation == "pg_user" {
                    return HashMap::from([
                        ("usename", Cell::Text(name)),
                        ("usesysid", Cell::Int(oid)),
                        ("usecreatedb", Cell::Bool(false)),
                        ("usesuper", Cell::Bool(false)),
                        ("userepl", Cell::Bool(false)),
                        ("usebypassrls", Cell::Bool(false)),
                    ]);
                }
                HashMap::from([
                    ("oid", Cell::Int(oid)),
                    ("rolname", Cell::Text(name)),
                    ("rolsuper", Cell::Bool(false)),
                    ("rolinherit", Cell::Bool(true)),
                    ("rolcreaterole", Cell::Bool(false)),
                    ("rolcreatedb", Cell::Bool(false)),
                    ("rolcanlogin", Cell::Bool(true)),
                    ("rolreplication", Cell::Bool(false)),
                    ("rolconnlimit", Cell::Int(-1)),
                    ("rolbypassrls", Cell::Bool(false)),
                ])
            })
            .collect()
    }
}

#[async_trait]
impl SchemaProvider for CatalogSchema {
    fn table_names(&self) -> Vec<String> {
        LAYOUT
            .get(self.schema)
            .into_iter()
            .flat_map(|relations| relations.keys())
            .map(|name| (*name).to_owned())
            .collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let Some(batch) = self.snapshot.batch(self.schema, name, &self.session_rows(name)) else {
            return Ok(None);
        };
        let batch = batch?;
        Ok(Some(Arc::new(MemTable::try_new(
            batch.schema(),
            vec![vec![batch]],
        )?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        LAYOUT
            .get(self.schema)
            .is_some_and(|relations| relations.contains_key(name))
    }
}
