//! The catalog schemas as the federation mounts them in every database, and a session's side of them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use datafusion::{
    catalog::{MemTable, SchemaProvider, TableProvider},
    common::Result as DataFusionResult,
    sql::sqlparser::ast::Statement,
};
use lakegate_federation::{Federation, SchemaContext, SchemaExtension, Session};

use super::{
    functions::{self, Current},
    layout::{Cell, LAYOUT},
    rewrite,
    snapshot::{OWNER, OWNER_OID, Snapshot, Snapshots},
};

/// `pg_catalog` and `information_schema` of every database.
#[derive(Debug, Default)]
pub struct PgCatalog {
    snapshots: Snapshots,
}

impl PgCatalog {
    /// Mount the schemas in every database of a federation.
    pub fn install(federation: &Federation) -> Arc<Self> {
        let catalog = Arc::new(Self::default());
        federation.register_extension(Arc::<Self>::clone(&catalog));
        catalog
    }
}

impl SchemaExtension for PgCatalog {
    fn schema_names(&self) -> Vec<String> {
        LAYOUT.keys().map(|name| (*name).to_owned()).collect()
    }

    fn schema(&self, name: &str, context: &SchemaContext) -> Option<Arc<dyn SchemaProvider>> {
        let (schema, _) = LAYOUT.get_key_value(name)?;
        let snapshot = self.snapshots.get(&context.metadata, &context.database)?;
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

/// A session's catalog functions and statement rewriting.
#[derive(Debug)]
pub struct SessionCatalog {
    catalog: Arc<PgCatalog>,
    current: Arc<RwLock<Option<Current>>>,
    backend: i32,
}

impl SessionCatalog {
    /// Give a session the functions of pg_catalog. `backend` is what `pg_backend_pid()` shows.
    ///
    /// # Errors
    /// If the engine refuses a function, which is a mistake of ours.
    pub fn attach(catalog: &Arc<PgCatalog>, session: &Session, backend: i32) -> DataFusionResult<Self> {
        let current = Arc::default();
        let mut registered = Ok(());
        session.customize(|state| registered = functions::register(state, &current));
        registered?;
        Ok(Self {
            catalog: Arc::clone(catalog),
            current,
            backend,
        })
    }

    /// Make a statement ready to be planned, and the catalog functions answer as of now. Result columns must be
    /// shown by [`super::shown`].
    pub fn prepare(&self, session: &Session, statement: &mut Statement) {
        self.refresh(session);
        rewrite::rewrite(statement);
    }

    /// Make the catalog functions answer as of now; a prepared statement that runs again needs only this.
    pub fn refresh(&self, session: &Session) {
        let context = session.schema_context();
        let snapshot = self
            .catalog
            .snapshots
            .get(&context.metadata, &context.current_database);
        let current = snapshot.map(|snapshot| Current {
            context,
            snapshot,
            backend: self.backend,
        });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }
}
