//! The catalogs and views that are served now, as one immutable snapshot that is
//! swapped whole: a query keeps the snapshot it was planned with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::metadata::{
    DatabaseMetadata, FunctionMetadata, Metadata, RelationKind, SYSTEM_SCHEMA, SchemaKind, SchemaMetadata,
    TableMetadata, VIEWS_SCHEMA, VIRTUAL_DATABASE,
};
use crate::source::{CatalogSource, DiscoveredTable};
use crate::system_schema;
use crate::view_parameters::Parameter;

/// A table as served, its provider opened once.
#[derive(Debug)]
pub(crate) struct ServedTable {
    pub(crate) discovered: DiscoveredTable,
    provider: OnceCell<Arc<dyn TableProvider>>,
}

impl ServedTable {
    fn new(discovered: DiscoveredTable) -> Self {
        Self {
            discovered,
            provider: OnceCell::new(),
        }
    }

    async fn provider(
        &self,
        source: &Arc<dyn CatalogSource>,
    ) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        self.provider
            .get_or_try_init(|| source.open(&self.discovered))
            .await
            .cloned()
    }
}

/// The tables of one source, as last discovered.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) source: Arc<dyn CatalogSource>,
    pub(crate) schemas: BTreeMap<String, BTreeMap<String, Arc<ServedTable>>>,
    metadata: BTreeMap<String, Arc<Vec<Arc<TableMetadata>>>>,
}

impl Served {
    /// The tables of a discovery. Providers that `previous` opened for tables that are
    /// still the same are kept.
    pub(crate) fn new(
        source: Arc<dyn CatalogSource>,
        tables: Vec<DiscoveredTable>,
        previous: Option<&Self>,
    ) -> Self {
        let previous = previous.filter(|previous| Arc::ptr_eq(&previous.source, &source));
        let mut schemas: BTreeMap<String, BTreeMap<String, Arc<ServedTable>>> = BTreeMap::new();
        for table in tables {
            let kept = previous
                .and_then(|previous| previous.schemas.get(&table.schema)?.get(&table.metadata.name))
                .filter(|kept| source.same(&kept.discovered, &table))
                .map(Arc::clone);
            schemas.entry(table.schema.clone()).or_default().insert(
                table.metadata.name.clone(),
                kept.unwrap_or_else(|| Arc::new(ServedTable::new(table))),
            );
        }
        let metadata = schemas
            .iter()
            .map(|(name, tables)| {
                let tables = tables
                    .values()
                    .map(|table| Arc::clone(&table.discovered.metadata))
                    .collect();
                (name.clone(), Arc::new(tables))
            })
            .collect();
        Self {
            source,
            schemas,
            metadata,
        }
    }

    /// True when both show the same tables and columns.
    pub(crate) fn shows_same(&self, other: &Self) -> bool {
        self.metadata == other.metadata
    }

    /// A number that tells these tables and columns from others, in whichever process. How many rows a store guesses
    /// and what it has for comments is not in it.
    pub(crate) fn revision(&self) -> u64 {
        let mut text = String::new();
        let mut hasher = Sha256::new();
        for (schema, tables) in &self.metadata {
            for table in tables.iter() {
                text.clear();
                table.describe_shape(schema, &mut text);
                hasher.update(&text);
            }
        }
        let digest = hasher.finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    pub(crate) fn table_count(&self) -> u64 {
        self.schemas.values().map(|tables| tables.len() as u64).sum()
    }

    /// Opens a table: the newest version where the source has versions.
    pub(crate) async fn open(
        &self,
        schema: &str,
        table: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if let Some(newest) = self.source.newest(schema, table).await {
            return match newest? {
                Some(table) => self.source.open(&table).await.map(Some),
                None => Ok(None),
            };
        }
        match self.schemas.get(schema).and_then(|tables| tables.get(table)) {
            Some(table) => table.provider(&self.source).await.map(Some),
            None => Ok(None),
        }
    }
}

/// One catalog by its name; `served` is None until its source first came up.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    pub(crate) name: String,
    /// The DataSource's name, for messages.
    pub(crate) source_name: String,
    pub(crate) description: Option<String>,
    pub(crate) served: Option<Arc<Served>>,
    /// Why there is nothing served.
    pub(crate) problem: Option<String>,
}

impl Catalog {
    /// Why nothing is served.
    pub(crate) fn problem_in_words(&self) -> String {
        let waiting = || "it is still being connected".to_owned();
        self.problem.clone().unwrap_or_else(waiting)
    }
}

/// A saved query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewDefinition {
    /// The name in the schema `views`.
    pub(crate) name: String,
    pub(crate) sql: String,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Vec<Parameter>,
    /// The columns it returned when it was last planned.
    pub(crate) columns: Vec<crate::metadata::ColumnMetadata>,
}

impl ViewDefinition {
    /// What it takes, as others see it.
    pub(crate) fn function(&self) -> FunctionMetadata {
        FunctionMetadata {
            name: self.name.clone(),
            parameters: self.parameters.iter().map(Parameter::metadata).collect(),
        }
    }
}

/// Everything served at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) catalogs: BTreeMap<String, Arc<Catalog>>,
    pub(crate) views: BTreeMap<String, Arc<ViewDefinition>>,
    pub(crate) metadata: Arc<Metadata>,
}

/// The name under which `schema` of `catalog` shows in the virtual database.
pub(crate) fn virtual_schema(catalog: &str, schema: &str) -> String {
    format!("{catalog}__{schema}")
}

impl Snapshot {
    /// Whether the first look at this DataSource has not ended yet.
    pub(crate) fn is_being_connected(&self, source_name: &str) -> bool {
        self.catalogs.values().any(|catalog| {
            catalog.source_name == source_name && catalog.served.is_none() && catalog.problem.is_none()
        })
    }

    fn build(
        revision: u64,
        catalogs: BTreeMap<String, Arc<Catalog>>,
        views: BTreeMap<String, Arc<ViewDefinition>>,
    ) -> Self {
        let system = Arc::new(SchemaMetadata {
            name: SYSTEM_SCHEMA.into(),
            kind: SchemaKind::System,
            origin: None,
            tables: system_schema::metadata(),
        });
        let view_tables = views
            .values()
            .map(|view| {
                Arc::new(TableMetadata {
                    name: view.name.clone(),
                    kind: if view.parameters.is_empty() {
                        RelationKind::View
                    } else {
                        RelationKind::TableFunction
                    },
                    comment: view.description.clone(),
                    rows: None,
                    columns: view.columns.clone(),
                    primary_key: Vec::new(),
                    definition: Some(view.sql.clone()),
                })
            })
            .collect();
        let saved = Arc::new(SchemaMetadata {
            name: VIEWS_SCHEMA.into(),
            kind: SchemaKind::Views,
            origin: None,
            tables: Arc::new(view_tables),
        });
        let mut all = vec![Arc::clone(&system), Arc::clone(&saved)];
        let mut databases = Vec::with_capacity(catalogs.len() + 1);
        for catalog in catalogs.values() {
            let mut schemas = vec![Arc::clone(&system), Arc::clone(&saved)];
            for (schema, tables) in catalog.served.iter().flat_map(|served| &served.metadata) {
                let shown = |name: String| {
                    Arc::new(SchemaMetadata {
                        name,
                        kind: SchemaKind::Source,
                        origin: Some((catalog.name.clone(), schema.clone())),
                        tables: Arc::clone(tables),
                    })
                };
                schemas.push(shown(schema.clone()));
                all.push(shown(virtual_schema(&catalog.name, schema)));
            }
            schemas.sort_by(|a, b| a.name.cmp(&b.name));
            databases.push(Arc::new(DatabaseMetadata {
                name: catalog.name.clone(),
                comment: catalog.description.clone(),
                schemas,
            }));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        databases.push(Arc::new(DatabaseMetadata {
            name: VIRTUAL_DATABASE.into(),
            comment: Some("every schema of every catalog, as catalog__schema".into()),
            schemas: all,
        }));
        databases.sort_by(|a, b| a.name.cmp(&b.name));
        let functions = views
            .values()
            .filter(|view| !view.parameters.is_empty())
            .map(|view| view.function())
            .collect();
        let metadata = Arc::new(Metadata {
            revision,
            databases,
            functions: Arc::new(functions),
        });
        Self {
            catalogs,
            views,
            metadata,
        }
    }
}

/// The current snapshot; writers take turns, readers never wait for one.
#[derive(Debug)]
pub(crate) struct Catalogs {
    current: RwLock<Arc<Snapshot>>,
    writer: Mutex<()>,
}

impl Default for Catalogs {
    fn default() -> Self {
        let snapshot = Snapshot::build(1, BTreeMap::new(), BTreeMap::new());
        Self {
            current: RwLock::new(Arc::new(snapshot)),
            writer: Mutex::new(()),
        }
    }
}

impl Catalogs {
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Arc<Catalog>>, &mut BTreeMap<String, Arc<ViewDefinition>>),
    ) -> u64 {
        let _turn: MutexGuard<'_, ()> = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.current();
        let (mut catalogs, mut views) = (old.catalogs.clone(), old.views.clone());
        change(&mut catalogs, &mut views);
        let revision = old.metadata.revision + 1;
        let snapshot = Arc::new(Snapshot::build(revision, catalogs, views));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        revision
    }

    pub(crate) fn put(&self, catalog: Catalog) -> u64 {
        self.change(|catalogs, _| {
            catalogs.insert(catalog.name.clone(), Arc::new(catalog));
        })
    }

    pub(crate) fn remove(&self, name: &str) {
        self.change(|catalogs, _| {
            catalogs.remove(name);
        });
    }

    /// Replaces the saved queries; nothing changes when they are the same.
    pub(crate) fn set_views(&self, definitions: BTreeMap<String, Arc<ViewDefinition>>) {
        if self.current().views == definitions {
            return;
        }
        self.change(|_, views| *views = definitions);
    }
}
