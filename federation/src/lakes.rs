//! The catalogs that are lakes, for who shows their tables to other engines. What is listed is what SQL lists.

use std::sync::Arc;

use lakegate_lake::{Lake, LakeError, MetadataFile};

use crate::Federation;
use crate::catalog::Served;
use crate::source::SourceError;

/// Why a catalog cannot be shown to another engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LakeCatalogError {
    /// There is no such catalog.
    #[error("there is no catalog \"{catalog}\"")]
    Unknown { catalog: String },
    /// It is the catalog of a store.
    #[error("catalog \"{catalog}\" is not a lake; only tables of a lake can be read by other engines")]
    NotALake { catalog: String },
    /// Its source never came up.
    #[error("catalog \"{catalog}\" is not reachable: {message}")]
    Unavailable { catalog: String, message: String },
}

/// A lake with its tables as last discovered.
#[derive(Debug, Clone)]
pub struct LakeCatalog {
    served: Arc<Served>,
    lake: Arc<Lake>,
}

impl Federation {
    /// The names of the lakes that are served, sorted.
    pub fn lakes(&self) -> Vec<String> {
        let snapshot = self.catalogs().current();
        let lakes = snapshot.catalogs.values().filter(|catalog| {
            let served = catalog.served.as_ref();
            served.is_some_and(|served| served.source.lake().is_some())
        });
        lakes.map(|catalog| catalog.name.clone()).collect()
    }

    /// The lake that is served under exactly this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn lake(&self, catalog: &str) -> Result<LakeCatalog, LakeCatalogError> {
        let snapshot = self.catalogs().current();
        let Some(found) = snapshot.catalogs.get(catalog) else {
            return Err(LakeCatalogError::Unknown {
                catalog: catalog.to_owned(),
            });
        };
        let Some(served) = &found.served else {
            return Err(LakeCatalogError::Unavailable {
                catalog: catalog.to_owned(),
                message: found.problem_in_words(),
            });
        };
        match served.source.lake() {
            Some(lake) => Ok(LakeCatalog {
                lake: Arc::clone(lake),
                served: Arc::clone(served),
            }),
            None => Err(LakeCatalogError::NotALake {
                catalog: catalog.to_owned(),
            }),
        }
    }
}

impl LakeCatalog {
    /// The schemas that hold a table, sorted.
    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        self.served.schemas.keys().map(String::as_str)
    }

    /// Whether a schema holds a table.
    pub fn has_schema(&self, schema: &str) -> bool {
        self.served.schemas.contains_key(schema)
    }

    /// The tables of a schema, sorted; None for a schema without any.
    pub fn tables(&self, schema: &str) -> Option<impl Iterator<Item = &str>> {
        let tables = self.served.schemas.get(schema)?;
        Some(tables.keys().map(String::as_str))
    }

    /// Whether a table is there now, listed or not yet.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn has_table(&self, schema: &str, table: &str) -> Result<bool, SourceError> {
        match self.lake.load(schema, table).await {
            Ok(table) => Ok(table.is_some()),
            // no table of a lake can have such a name
            Err(LakeError::BadName { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The newest metadata of a table, listed or not yet; None when there is no such table.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn metadata_file(
        &self,
        schema: &str,
        table: &str,
    ) -> Result<Option<MetadataFile>, SourceError> {
        match self.lake.metadata_file(schema, table).await {
            Err(LakeError::BadName { .. }) => Ok(None),
            other => Ok(other?),
        }
    }
}
