//! A table as loaded at one version.

use std::fmt;

use arrow::datatypes::SchemaRef;

/// `schema.table` of a lake table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LakeTableName {
    pub schema: String,
    pub name: String,
}

impl fmt::Display for LakeTableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.name)
    }
}

/// One committed version of a table.
#[derive(Debug, Clone)]
pub struct LakeTable {
    name: LakeTableName,
    version: u64,
    schema: SchemaRef,
    rows: Option<u64>,
}

impl LakeTable {
    pub fn name(&self) -> &LakeTableName {
        &self.name
    }

    /// N of `vN.metadata.json`.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The columns as queries see them.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows of the current snapshot, by its summary.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }
}
