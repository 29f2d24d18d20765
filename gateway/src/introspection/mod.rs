//! pg_catalog and information_schema: what clients ask a Postgres server about itself.
//!
//! ```text
//! statement ─ rewrite ─▶ federation's planner ─▶ tables: Snapshot of the metadata (PgCatalog)
//!                                            └─▶ functions: pg_get_…, over the same snapshot
//! ```
//!
//! Everything is answered from memory: a store is never asked.

mod functions;
mod layout;
mod names;
mod oid;
mod provider;
mod rewrite;
mod snapshot;

pub use provider::PgCatalog;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::util::pretty::pretty_format_batches;
    use futures::StreamExt as _;
    use lakegate_federation::{Federation, FederationOptions, Session, SessionIdentity};

    use super::PgCatalog;
    use crate::hooks::{ConnectionInfo, Introspection as _};
    use crate::registry::Registry;

    struct Client {
        session: Session,
        catalog: PgCatalog,
    }

    impl Client {
        fn connect() -> Self {
            let federation = Federation::new(FederationOptions::default()).expect("a federation");
            let catalog = PgCatalog::new();
            catalog.install(&federation);
            let identity = SessionIdentity {
                user: "ana".into(),
                database: "lakegate".into(),
            };
            let session = federation.session(identity).expect("a session");
            let registry = Arc::new(Registry::new(1));
            let registration = registry.register("ana").expect("a place");
            let connection = ConnectionInfo {
                backend: Arc::clone(registration.backend()),
                registry: Arc::clone(&registry),
                peer: ([127, 0, 0, 1], 1).into(),
                encrypted: false,
            };
            catalog.open_session(&session, &connection).expect("functions");
            Self { session, catalog }
        }

        async fn ask(&self, sql: &str) -> Result<String, String> {
            let statement = lakegate_federation::parse(sql)
                .map_err(|error| error.to_string())?
                .remove(0);
            let statement = self
                .catalog
                .prepare_statement(&self.session, statement)
                .map_err(|error| error.to_string())?;
            let plan = self
                .session
                .plan(statement, &[])
                .await
                .map_err(|error| error.to_string())?;
            let mut stream = self
                .session
                .execute(plan, sql)
                .map_err(|error| error.to_string())?;
            let mut batches = Vec::new();
            while let Some(batch) = stream.next().await {
                batches.push(batch.map_err(|error| error.to_string())?);
            }
            let table = pretty_format_batches(&batches).map_err(|error| error.to_string())?;
            Ok(table.to_string())
        }
    }

    #[tokio::test]
    async fn every_statement_of_psql_is_answered() {
        let client = Client::connect();
        let oid = client
            .ask("select 'pg_catalog.pg_class'::regclass::oid as relation")
            .await
            .expect("an oid");
        let oid: String = oid.chars().filter(char::is_ascii_digit).collect();
        let statements = include_str!("../../tests/data/psql.sql");
        let mut failures = Vec::new();
        for statement in statements.split(";\n") {
            let statement = statement.replace("'OID'", &format!("'{oid}'"));
            if statement.trim().is_empty() {
                continue;
            }
            match client.ask(&statement).await {
                Ok(_) => {}
                Err(error) => failures.push(format!("{statement}\n  {error}")),
            }
        }
        assert!(
            failures.is_empty(),
            "{} failures:\n{}",
            failures.len(),
            failures.join("\n\n")
        );
    }
}
