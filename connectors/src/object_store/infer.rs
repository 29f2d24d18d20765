//! The columns of a table, from its files and their paths.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DataFusionError;
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use futures::{StreamExt, TryStreamExt};

use super::files::{Definition, Directory, Format, Found};
use super::memory::{Memory, Shape};
use super::parquet;
use super::provider::partition_field;
use super::text::{self, Evidence, Fields, TextFailure, TextFile};

/// At most so many files are looked into, spread evenly.
const MAX_FILES: usize = 1000;

/// So much decompressed text is read over all files of a table, but at least
/// [`MIN_TEXT_BYTES`] of each.
const MAX_TEXT_BYTES: usize = 64 << 20;
const MIN_TEXT_BYTES: usize = 256 << 10;

const FILES_IN_FLIGHT: usize = 8;

/// What the files say.
#[derive(Debug, Default)]
pub struct Inferred {
    pub fields: Vec<Field>,
    pub rows: Option<u64>,
}

/// Why a file's columns are not known.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    #[error("{file} cannot be read: {source}")]
    Unreadable { file: String, source: DataFusionError },
    #[error("{file}: {message}")]
    Malformed { file: String, message: String },
}

/// The columns that the manifest declares.
pub fn declared(definition: &Definition) -> Inferred {
    Inferred {
        fields: definition
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.data_type.clone(), true))
            .collect(),
        rows: None,
    }
}

/// The columns that stand in the paths: whole numbers and dates if every value is
/// one in canonical form (`month=01` is not), else text.
pub fn partitions(definition: &Definition, files: &[Found], text: &BTreeSet<String>) -> Vec<FieldRef> {
    if let Some(declared) = &definition.partitions {
        return declared
            .iter()
            .map(|column| partition_field(&column.name, column.data_type.clone()))
            .collect();
    }
    let mut fields = Fields::default();
    for file in files {
        for (name, value) in &file.partitions {
            let evidence = fields.entry(name);
            if let Some(value) = value {
                evidence.see_text(value);
            }
        }
    }
    fields
        .iter()
        .map(|(name, evidence)| {
            let data_type = match evidence.data_type() {
                known @ (DataType::Int64 | DataType::Date32) if !text.contains(name) => known,
                _ => DataType::Utf8,
            };
            partition_field(name, data_type)
        })
        .collect()
}

/// The union of the columns of the files, by name.
///
/// # Errors
/// A file that is not of its format, or cannot be read.
pub async fn columns(
    directory: &Directory,
    definition: &Arc<Definition>,
    format: Format,
    files: &[Found],
    memory: &Memory,
    runtime: &Arc<RuntimeEnv>,
) -> Result<Inferred, InferError> {
    let step = files.len().div_ceil(MAX_FILES).max(1);
    let sampled: Vec<Found> = files.iter().step_by(step).cloned().collect();
    let limit = (MAX_TEXT_BYTES / sampled.len().max(1)).max(MIN_TEXT_BYTES);
    let state = SessionStateBuilder::new()
        .with_runtime_env(Arc::clone(runtime))
        .build();
    let looks: Vec<(Found, Shape)> = futures::stream::iter(sampled)
        .map(|file| {
            let state = &state;
            async move {
                let shape = match memory.shape(&definition.name, &file) {
                    Some(shape) => shape,
                    None => look(directory, definition, format, &file, limit, state).await?,
                };
                Ok::<_, InferError>((file, shape))
            }
        })
        .buffered(FILES_IN_FLIGHT)
        .try_collect()
        .await?;
    memory.set_shapes(&definition.name, &looks);

    let mut typed = Vec::new();
    let mut evidence = Fields::default();
    for (_, shape) in &looks {
        match shape {
            Shape::Parquet(schema) => parquet::union(&mut typed, schema.fields()),
            Shape::Text(fields) => evidence.merge(fields),
        }
    }
    for column in memory.text_columns(&definition.name) {
        // Only of a column there is: a partition's name may be among them.
        if evidence.iter().any(|(name, _)| name == column) {
            evidence.entry(&column).merge(&Evidence::text());
        }
    }
    typed.extend(evidence.columns());
    Ok(Inferred {
        fields: typed,
        rows: None,
    })
}

async fn look(
    directory: &Directory,
    definition: &Definition,
    format: Format,
    file: &Found,
    limit: usize,
    state: &SessionState,
) -> Result<Shape, InferError> {
    let unreadable = |source: DataFusionError| InferError::Unreadable {
        file: file.shown.clone(),
        source,
    };
    if format == Format::Parquet {
        let schema = parquet::format()
            .infer_schema(state, &directory.store, std::slice::from_ref(&file.meta))
            .await
            .map_err(unreadable)?;
        return Ok(Shape::Parquet(schema));
    }
    let text_file = TextFile {
        location: file.meta.location.clone(),
        format,
        compression: definition.compression.unwrap_or(file.compression),
        tabs: file.tabs,
        dialect: definition.csv.clone(),
    };
    match text::infer(&text_file, directory.store.as_ref(), limit).await {
        Ok((fields, _complete)) => Ok(Shape::Text(Arc::new(fields))),
        Err(TextFailure::Store(source)) => Err(unreadable(source)),
        Err(TextFailure::Format(message)) => Err(InferError::Malformed {
            file: file.shown.clone(),
            message,
        }),
        Err(TextFailure::Value { column, row, message }) => Err(InferError::Malformed {
            file: file.shown.clone(),
            message: format!("column \"{column}\" of row {row} is {message}"),
        }),
    }
}
