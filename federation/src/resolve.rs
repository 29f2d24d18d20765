//! From a name in SQL to what it means.
//!
//! A name has up to three parts: `table`, `schema.table`, `database.schema.table`.
//! The SQL planner has folded unquoted parts to lower case; a part that matches
//! nothing exactly then matches a name that differs only in case, when there is
//! just one.

use std::sync::Arc;

use datafusion::common::TableReference;

use crate::catalog::{Catalog, Snapshot};
use crate::error::{Cause, FederationError};
use crate::metadata::{
    DatabaseMetadata, SYSTEM_SCHEMA, SchemaKind, SchemaMetadata, VIEWS_SCHEMA, VIRTUAL_DATABASE,
};
use crate::time_travel;

/// What a name means.
#[derive(Debug, Clone)]
pub(crate) enum Resolved {
    /// A table of a source.
    Source {
        catalog: Arc<Catalog>,
        schema: String,
        table: String,
    },
    /// A system table.
    System { table: String },
    /// A saved query.
    View { name: String },
    /// A table of a registered extension, seen in `database`.
    Extension {
        database: String,
        schema: String,
        table: String,
    },
}

/// Where names are looked up.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) snapshot: Arc<Snapshot>,
    /// The database of names without one.
    pub(crate) database: String,
    /// The schemas that unqualified names are looked up in, first match wins.
    pub(crate) path: Vec<String>,
    /// Looked up after `path`; an unqualified name must be unique among them.
    pub(crate) fallback: Vec<String>,
    /// Names of extension schemas; the flag says "before `path`".
    pub(crate) extensions: Vec<(String, bool)>,
}

/// The exact name, else the only one that differs in case alone.
pub(crate) fn match_name<'a>(names: impl Iterator<Item = &'a str> + Clone, wanted: &str) -> Option<&'a str> {
    if let Some(exact) = names.clone().find(|name| *name == wanted) {
        return Some(exact);
    }
    // A name with upper case was written in quotes: it means exactly itself.
    if wanted.chars().any(char::is_uppercase) {
        return None;
    }
    let mut folded = names.filter(|name| name.to_lowercase() == wanted);
    match (folded.next(), folded.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

impl Scope {
    /// The scope of a session in `database`.
    ///
    /// The effective path is the schemas of `search_path` that exist. A catalog that
    /// has no schema `public` (SQLite's `main`, a lake's schemas) gets all its schemas
    /// as fallback, so that an unqualified name resolves where it is unique; so does
    /// the virtual database, after `views`.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        database: &str,
        user: &str,
        search_path: &[String],
        extensions: Vec<(String, bool)>,
    ) -> Self {
        let mut path = Vec::new();
        let mut fallback = Vec::new();
        if let Some(metadata) = snapshot.metadata.database(database) {
            let names = metadata.schemas.iter().map(|schema| schema.name.as_str());
            for wanted in search_path {
                let wanted = if wanted == "$user" { user } else { wanted };
                let found = match_name(names.clone(), wanted)
                    .or_else(|| match_name(extensions.iter().map(|(name, _)| name.as_str()), wanted));
                if let Some(found) = found
                    && !path.iter().any(|name| name == found)
                {
                    path.push(found.to_owned());
                }
            }
            if database == VIRTUAL_DATABASE {
                fallback.push(VIEWS_SCHEMA.to_owned());
            }
            if !names.clone().any(|name| name == "public") {
                let sources = metadata.schemas.iter().filter(|s| s.kind == SchemaKind::Source);
                fallback.extend(sources.map(|schema| schema.name.clone()));
            }
            fallback.retain(|name| !path.contains(name));
        }
        Self {
            snapshot,
            database: database.to_owned(),
            path,
            fallback,
            extensions,
        }
    }

    /// The scope a saved query is planned in: the virtual database, where a name
    /// without a schema is another saved query. No fallback, so that a source that
    /// comes later never changes what a view means.
    pub(crate) fn of_views(snapshot: Arc<Snapshot>, extensions: Vec<(String, bool)>) -> Self {
        Self {
            snapshot,
            database: VIRTUAL_DATABASE.to_owned(),
            path: vec![VIEWS_SCHEMA.to_owned()],
            fallback: Vec::new(),
            extensions,
        }
    }

    /// The effective search path, as `current_schemas(false)` shows it.
    pub(crate) fn effective_path(&self) -> Vec<String> {
        self.path.iter().chain(&self.fallback).cloned().collect()
    }

    pub(crate) fn resolve(&self, reference: &TableReference) -> Result<Resolved, FederationError> {
        match reference {
            TableReference::Bare { table } => self.unqualified(table),
            TableReference::Partial { schema, table } => {
                self.in_schema(&self.database, schema, table, reference)
            }
            TableReference::Full {
                catalog,
                schema,
                table,
            } => {
                let databases = self.snapshot.metadata.databases.iter();
                let Some(database) = match_name(databases.map(|d| d.name.as_str()), catalog) else {
                    return Err(FederationError::from(Cause::UnknownDatabase {
                        database: catalog.to_string(),
                    })
                    .with_hint(self.databases_hint()));
                };
                self.in_schema(database, schema, table, reference)
            }
        }
    }

    fn databases_hint(&self) -> String {
        let databases = self.snapshot.metadata.databases.iter();
        let names: Vec<&str> = databases.map(|database| database.name.as_str()).collect();
        format!("Databases here: {}.", names.join(", "))
    }

    fn metadata(&self, database: &str) -> Result<&Arc<DatabaseMetadata>, FederationError> {
        self.snapshot.metadata.database(database).ok_or_else(|| {
            Cause::UnknownDatabase {
                database: database.to_owned(),
            }
            .into()
        })
    }

    fn unqualified(&self, table: &str) -> Result<Resolved, FederationError> {
        let extension = |schema: &str| Resolved::Extension {
            database: self.database.clone(),
            schema: schema.to_owned(),
            table: table.to_owned(),
        };
        for (schema, implicit) in &self.extensions {
            // the planner asks the extension; a table it lacks falls through to the path
            if *implicit && self.extension_has(schema, table) {
                return Ok(extension(schema));
            }
        }
        let metadata = self.metadata(&self.database)?;
        for name in &self.path {
            if let Some(schema) = metadata.schema(name) {
                if let Some(resolved) = self.table_of(schema, table) {
                    return Ok(resolved);
                }
            } else if self.extension_has(name, table) {
                return Ok(extension(name));
            }
        }
        let mut found: Vec<(String, Resolved)> = Vec::new();
        for name in &self.fallback {
            let resolved = metadata
                .schema(name)
                .and_then(|schema| self.table_of(schema, table));
            if let Some(resolved) = resolved {
                found.push((name.clone(), resolved));
            }
        }
        if found.len() > 1 {
            let places: Vec<String> = found
                .iter()
                .map(|(schema, _)| format!("{schema}.{table}"))
                .collect();
            return Err(FederationError::from(Cause::AmbiguousTable {
                relation: table.to_owned(),
            })
            .with_hint(format!("Say which: {}.", places.join(", "))));
        }
        match found.pop() {
            Some((_, resolved)) => Ok(resolved),
            None => Err(self.unknown_table(&self.database, table.to_owned(), table)),
        }
    }

    /// Extension names are all lower case; what tables they have, only they know, so
    /// by convention every table of pg_catalog begins with `pg_`.
    #[allow(clippy::unused_self)]
    fn extension_has(&self, schema: &str, table: &str) -> bool {
        schema != "pg_catalog" || table.starts_with("pg_")
    }

    fn in_schema(
        &self,
        database: &str,
        schema: &str,
        table: &str,
        reference: &TableReference,
    ) -> Result<Resolved, FederationError> {
        let written = reference.to_string();
        if self.extensions.iter().any(|(name, _)| name == schema) {
            return Ok(Resolved::Extension {
                database: database.to_owned(),
                schema: schema.to_owned(),
                table: table.to_owned(),
            });
        }
        let metadata = self.metadata(database)?;
        let names = metadata.schemas.iter().map(|schema| schema.name.as_str());
        if let Some(found) = match_name(names, schema).and_then(|name| metadata.schema(name)) {
            return match self.table_of(found, table) {
                Some(resolved) => Ok(resolved),
                None => self.unlisted(database, found, table, written),
            };
        }
        if let Some(resolved) = self.unlisted_schema(database, schema, table)? {
            return Ok(resolved);
        }
        let error = self.unknown_table(database, written, table);
        Err(match error.hint() {
            Some(_) => error,
            None if self.snapshot.catalogs.contains_key(schema) => error.with_hint(format!(
                "\"{schema}\" is a database: write {schema}.<schema>.{table}, or {} here.",
                format_args!("{schema}__<schema>.{table}")
            )),
            None => {
                let schemas: Vec<&str> = metadata.schemas.iter().map(|s| s.name.as_str()).collect();
                error.with_hint(format!("Schemas of database {database}: {}.", schemas.join(", ")))
            }
        })
    }

    fn table_of(&self, schema: &SchemaMetadata, table: &str) -> Option<Resolved> {
        let names = schema.tables.iter().map(|table| table.name.as_str());
        let table = match match_name(names.clone(), table) {
            Some(table) => table.to_owned(),
            None => self.state_of_table(schema, names, table)?,
        };
        Some(match (&schema.origin, schema.name.as_str()) {
            (Some((catalog, origin)), _) => Resolved::Source {
                catalog: Arc::clone(self.snapshot.catalogs.get(catalog)?),
                schema: origin.clone(),
                table,
            },
            (None, SYSTEM_SCHEMA) => Resolved::System { table },
            (None, _) => Resolved::View { name: table },
        })
    }

    /// A name such as `orders@4711` of a listed table of a lake.
    fn state_of_table<'a>(
        &self,
        schema: &SchemaMetadata,
        names: impl Iterator<Item = &'a str> + Clone,
        name: &str,
    ) -> Option<String> {
        let (table, state) = time_travel::split(name)?;
        let (catalog, _) = schema.origin.as_ref()?;
        let served = self.snapshot.catalogs.get(catalog)?.served.as_ref()?;
        served.source.lake()?;
        match_name(names, table).map(|table| format!("{table}{state}"))
    }

    /// A table the last discovery did not list, in a schema it did: a lake may have
    /// it since.
    fn unlisted(
        &self,
        database: &str,
        schema: &SchemaMetadata,
        table: &str,
        written: String,
    ) -> Result<Resolved, FederationError> {
        if let Some((catalog, origin)) = &schema.origin
            && let Some(catalog) = self.snapshot.catalogs.get(catalog)
            && catalog
                .served
                .as_ref()
                .is_some_and(|served| served.source.versioned())
        {
            return Ok(Resolved::Source {
                catalog: Arc::clone(catalog),
                schema: origin.clone(),
                table: table.to_owned(),
            });
        }
        Err(self.unknown_table(database, written, table))
    }

    /// A schema the last discovery did not list: the source may be down, or be a lake
    /// whose first table of that schema is new.
    fn unlisted_schema(
        &self,
        database: &str,
        schema: &str,
        table: &str,
    ) -> Result<Option<Resolved>, FederationError> {
        let (catalog, origin) = if database == VIRTUAL_DATABASE {
            let mut candidates = self.snapshot.catalogs.values().filter_map(|catalog| {
                let rest = schema.strip_prefix(catalog.name.as_str())?.strip_prefix("__")?;
                Some((catalog, rest))
            });
            match candidates.next() {
                Some(found) => found,
                None => return Ok(None),
            }
        } else {
            match self.snapshot.catalogs.get(database) {
                Some(catalog) => (catalog, schema),
                None => return Ok(None),
            }
        };
        match &catalog.served {
            None => Err(unavailable(catalog)),
            Some(served) if served.source.versioned() => Ok(Some(Resolved::Source {
                catalog: Arc::clone(catalog),
                schema: origin.to_owned(),
                table: table.to_owned(),
            })),
            Some(_) => Ok(None),
        }
    }

    fn unknown_table(&self, database: &str, written: String, table: &str) -> FederationError {
        // A source that never came up has no tables: say that, not "does not exist".
        if let Some(catalog) = self.snapshot.catalogs.get(database)
            && catalog.served.is_none()
        {
            return unavailable(catalog);
        }
        let error = FederationError::from(Cause::UnknownTable { relation: written });
        let folded = table.to_lowercase();
        let mut near = Vec::new();
        for database in &self.snapshot.metadata.databases {
            if database.name == VIRTUAL_DATABASE {
                continue;
            }
            for schema in database.schemas.iter().filter(|s| s.kind == SchemaKind::Source) {
                let same = schema.tables.iter().filter(|t| t.name.to_lowercase() == folded);
                near.extend(same.map(|t| {
                    format!(
                        "{}.{}.{}",
                        crate::settings::quote_identifier(&database.name),
                        crate::settings::quote_identifier(&schema.name),
                        crate::settings::quote_identifier(&t.name)
                    )
                }));
            }
        }
        if near.is_empty() {
            return error;
        }
        near.truncate(5);
        error.with_hint(format!("Perhaps you meant {}.", near.join(" or ")))
    }
}

pub(crate) fn unavailable(catalog: &Catalog) -> FederationError {
    FederationError::from(Cause::SourceUnavailable {
        source_name: catalog.source_name.clone(),
        message: catalog.problem_in_words(),
    })
    .with_hint(format!(
        "See: select * from lakegate.data_sources where name = '{}'.",
        catalog.source_name
    ))
}
