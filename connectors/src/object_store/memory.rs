//! What is remembered between discoveries.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use object_store::path::Path;

use super::files::{Definition, Found};
use super::text::Fields;

/// What one file says about its columns.
#[derive(Debug, Clone)]
pub enum Shape {
    Parquet(SchemaRef),
    Text(Arc<Fields>),
}

/// A version of a file: inferring twice what has not changed is waste.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    size: u64,
    tag: Option<String>,
    modified: i64,
}

impl Version {
    fn of(file: &Found) -> Self {
        Self {
            size: file.meta.size,
            tag: file.meta.e_tag.clone(),
            modified: file.meta.last_modified.timestamp_micros(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    tables: HashMap<String, Arc<Definition>>,
    /// By table and file.
    shapes: HashMap<String, HashMap<Path, (Version, Shape)>>,
    /// Columns by table in which a value was met that its inferred type has no
    /// place for: text from then on.
    text: HashMap<String, BTreeSet<String>>,
}

/// Kept as long as the connector lives; a lock is never held over an await.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the maps whole: each write is one insertion.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_tables(&self, tables: HashMap<String, Arc<Definition>>) {
        let mut state = self.state();
        state.shapes.retain(|table, _| tables.contains_key(table));
        state.tables = tables;
    }

    pub fn table(&self, name: &str) -> Option<Arc<Definition>> {
        self.state().tables.get(name).cloned()
    }

    pub fn shape(&self, table: &str, file: &Found) -> Option<Shape> {
        let state = self.state();
        let (version, shape) = state.shapes.get(table)?.get(&file.meta.location)?;
        (*version == Version::of(file)).then(|| shape.clone())
    }

    /// Replaces the shapes of a table: those of vanished files go.
    pub fn set_shapes(&self, table: &str, shapes: &[(Found, Shape)]) {
        let shapes = shapes
            .iter()
            .map(|(file, shape)| (file.meta.location.clone(), (Version::of(file), shape.clone())))
            .collect();
        self.state().shapes.insert(table.to_owned(), shapes);
    }

    /// Notes that a column holds more than its inferred type.
    pub fn is_text(&self, table: &str, column: &str) {
        self.state()
            .text
            .entry(table.to_owned())
            .or_default()
            .insert(column.to_owned());
    }

    pub fn text_columns(&self, table: &str) -> BTreeSet<String> {
        self.state().text.get(table).cloned().unwrap_or_default()
    }
}
