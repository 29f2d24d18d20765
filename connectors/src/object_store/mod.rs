//! Files in a directory or a bucket, read as tables: Parquet, CSV and JSON lines.

mod bucket;
mod files;
mod glob;
mod infer;
mod memory;
mod parquet;
mod provider;
mod text;
mod types;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::Schema;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::TryStreamExt;
use lakegate_crds::{DiscoverySpec, ObjectStoreSpec, S3Spec};
use lakegate_store::s3::{self, Patience, S3Context, S3Error};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

use self::bucket::Mounted;
use self::files::{Definition, Directory, Format, TypedColumn};
use self::glob::Pattern;
use self::memory::Memory;
use self::provider::{FilesTable, partition_field};
use self::text::CsvDialect;
use crate::{ColumnDetails, ConnectContext, Connector, ConnectorError, Probe, SourceKind, TableDescription};

/// The schema every table of files is in.
pub const SCHEMA: &str = "default";

/// The address of local files in a query's environment. Paths below it are
/// absolute, so that one store serves every directory and caches never mix them.
const STORE_URL: &str = "lakegate-file:///";

/// Fact of a column: its values stand in the paths.
const FACT_PARTITION: &str = "partition";

/// Where the files are.
#[derive(Debug)]
enum Root {
    /// May be absent: that is looked at each time.
    Directory(PathBuf),
    Bucket {
        /// The last part of its name: a table of everything in it is called so.
        name: String,
        /// `s3://bucket/prefix`.
        uri: String,
        directory: Directory,
    },
}

/// A directory or bucket of files as a DataSource.
#[derive(Debug)]
pub struct ObjectStoreConnector {
    catalog: String,
    root: Root,
    /// The tables of the manifest; empty shows every file and folder as one.
    defined: Vec<Arc<Definition>>,
    discovery: DiscoverySpec,
    memory: Arc<Memory>,
    runtime: Arc<RuntimeEnv>,
}

impl ObjectStoreConnector {
    /// # Errors
    /// A format that is not implemented; an option that cannot be.
    pub fn new(
        spec: &ObjectStoreSpec,
        discovery: DiscoverySpec,
        context: &ConnectContext,
    ) -> Result<Self, ConnectorError> {
        let catalog = &context.catalog;
        let invalid = |field: String, message: String| ConnectorError::InvalidSpec {
            catalog: catalog.clone(),
            field,
            message,
        };
        let root = match (&spec.directory, &spec.s3) {
            (Some(directory), None) => {
                let path = std::path::absolute(context.base_dir.join(&directory.path)).map_err(|error| {
                    invalid("spec.objectStore.directory.path".to_owned(), error.to_string())
                })?;
                Root::Directory(path)
            }
            (None, Some(bucket)) => open_bucket(bucket, context)?,
            _ => {
                let message = "set exactly one of s3 and directory".to_owned();
                return Err(invalid("spec.objectStore".to_owned(), message));
            }
        };
        let mut defined = Vec::new();
        for (index, table) in spec.tables.iter().enumerate() {
            let field = |name: &str| format!("spec.objectStore.tables[{index}].{name}");
            let format = match table.format {
                None => None,
                Some(format) => Some(Format::of(format).ok_or_else(|| ConnectorError::NotImplemented {
                    catalog: catalog.clone(),
                    field: format!("{} {format:?}", field("format")),
                })?),
            };
            let csv = match &table.csv {
                None => CsvDialect::default(),
                Some(options) => {
                    CsvDialect::new(options).map_err(|(name, message)| invalid(field(name), message))?
                }
            };
            let typed = |columns: &[lakegate_crds::DeclaredColumn], name: &str| {
                columns
                    .iter()
                    .enumerate()
                    .map(|(position, column)| {
                        let data_type = types::sql_type(&column.data_type).ok_or_else(|| {
                            invalid(
                                field(&format!("{name}[{position}].dataType")),
                                format!("{} is no type that is read from files", column.data_type),
                            )
                        })?;
                        Ok(TypedColumn {
                            name: column.name.clone(),
                            data_type,
                        })
                    })
                    .collect::<Result<Vec<_>, ConnectorError>>()
            };
            defined.push(Arc::new(Definition {
                name: table.name.clone(),
                pattern: Pattern::new(&table.path),
                path: table.path.clone(),
                format,
                compression: table.compression,
                csv,
                columns: typed(&table.columns, "columns")?,
                partitions: match table.partition_columns.as_slice() {
                    [] => None,
                    columns => Some(typed(columns, "partitionColumns")?),
                },
                comment: table.description.clone(),
            }));
        }
        Ok(Self {
            catalog: catalog.clone(),
            root,
            defined,
            discovery,
            memory: Arc::new(Memory::default()),
            runtime: Arc::clone(&context.runtime),
        })
    }

    /// The directory, if it is there; a bucket is taken to be.
    async fn directory(&self) -> Result<Directory, ConnectorError> {
        let path = match &self.root {
            Root::Directory(path) => path,
            Root::Bucket { directory, .. } => return Ok(directory.clone()),
        };
        let missing = || ConnectorError::DirectoryMissing {
            catalog: self.catalog.clone(),
            path: path.clone(),
        };
        let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| self.unreadable(error);
        match tokio::fs::metadata(path).await {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(missing()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(unreadable(Box::new(error))),
        }
        let root = Path::from_absolute_path(path).map_err(|error| unreadable(Box::new(error)))?;
        Ok(Directory {
            root,
            store: Arc::new(LocalFileSystem::new()),
            url: ObjectStoreUrl::parse(STORE_URL).map_err(|error| unreadable(Box::new(error)))?,
        })
    }

    /// The failure of a look at the directory or bucket.
    fn unreadable(&self, source: Box<dyn std::error::Error + Send + Sync>) -> ConnectorError {
        let catalog = self.catalog.clone();
        match (&self.root, S3Error::of(source.as_ref())) {
            (_, Some(known)) => ConnectorError::Bucket {
                catalog,
                source: known.clone(),
            },
            (Root::Directory(path), None) => ConnectorError::FileUnreadable {
                catalog,
                path: path.clone(),
                source,
            },
            (Root::Bucket { .. }, None) => ConnectorError::Store {
                catalog,
                message: source.to_string(),
                source: Some(source),
            },
        }
    }

    /// The tables to offer: those of the manifest, else one for each file and each
    /// folder with files of a known ending. Folders `key=value` right below the
    /// directory make it one table, named after it.
    async fn definitions(&self, directory: &Directory) -> Result<Vec<Arc<Definition>>, ConnectorError> {
        if !self.defined.is_empty() {
            return Ok(self.defined.clone());
        }
        let everything = Definition {
            name: String::new(),
            pattern: Pattern::new("**"),
            path: "**".to_owned(),
            format: None,
            compression: None,
            csv: CsvDialect::default(),
            columns: Vec::new(),
            partitions: None,
            comment: None,
        };
        let listed = directory
            .list(&everything)
            .await
            .map_err(|error| self.unreadable(Box::new(error)))?;
        // By name, the formats found under it and the path that has them.
        let mut names: BTreeMap<String, BTreeMap<Format, String>> = BTreeMap::new();
        for file in listed {
            let Some(format) = file.ending else { continue };
            let (name, path) = match file.shown.split_once('/') {
                None => (files::stem(&file.shown).to_owned(), file.shown.clone()),
                Some((folder, _)) if folder.contains('=') => {
                    let name = match &self.root {
                        Root::Directory(path) => {
                            path.file_name().map(|name| name.to_string_lossy().into_owned())
                        }
                        Root::Bucket { name, .. } => Some(name.clone()),
                    };
                    (name.unwrap_or_else(|| "files".to_owned()), "*=*/**".to_owned())
                }
                Some((folder, _)) => (folder.to_owned(), format!("{}/**", escape(folder))),
            };
            names.entry(name).or_default().entry(format).or_insert(path);
        }
        let mut definitions = Vec::new();
        for (name, formats) in names {
            let several = formats.len() > 1;
            for (format, path) in formats {
                definitions.push(Arc::new(Definition {
                    name: if several {
                        format!("{name}_{}", format.name())
                    } else {
                        name.clone()
                    },
                    pattern: Pattern::new(&path),
                    path,
                    format: Some(format),
                    ..everything.clone()
                }));
            }
        }
        Ok(definitions)
    }

    /// The columns of a table; None when it has no files and no declared columns.
    async fn describe(
        &self,
        directory: &Directory,
        definition: &Arc<Definition>,
    ) -> Result<Option<TableDescription>, ConnectorError> {
        let failed = |message: String, source: Box<dyn std::error::Error + Send + Sync>| {
            ConnectorError::TableUnreadable {
                catalog: self.catalog.clone(),
                schema: SCHEMA.to_owned(),
                table: definition.name.clone(),
                message,
                source: Some(source),
            }
        };
        let (format, files) = directory
            .files(definition)
            .await
            .map_err(|error| failed(error.to_string(), Box::new(error)))?;
        let text = self.memory.text_columns(&definition.name);
        let partitions = infer::partitions(definition, &files, &text);
        let inferred = if definition.columns.is_empty() {
            let Some(format) = format.filter(|_| !files.is_empty()) else {
                return Ok(None);
            };
            infer::columns(directory, definition, format, &files, &self.memory, &self.runtime)
                .await
                .map_err(|error| failed(error.to_string(), Box::new(error)))?
        } else {
            infer::declared(definition)
        };
        // What stands in a path wins over a column of that name in the file.
        let columns: Vec<_> = inferred
            .fields
            .into_iter()
            .filter(|field| {
                partitions
                    .iter()
                    .all(|partition| partition.name() != field.name())
            })
            .map(Arc::new)
            .collect();
        let mut details: Vec<ColumnDetails> = columns
            .iter()
            .map(|field| ColumnDetails {
                declared_type: field.data_type().to_string(),
                ..ColumnDetails::default()
            })
            .collect();
        details.extend(partitions.iter().map(|field| ColumnDetails {
            declared_type: field.data_type().to_string(),
            comment: Some("from the path".to_owned()),
            facts: BTreeMap::from([(FACT_PARTITION.to_owned(), String::new())]),
        }));
        Ok(Some(TableDescription {
            schema: SCHEMA.to_owned(),
            name: definition.name.clone(),
            kind: crate::TableKind::Files,
            columns: Arc::new(Schema::new(
                columns.into_iter().chain(partitions).collect::<Vec<_>>(),
            )),
            details,
            comment: definition.comment.clone(),
            rows: inferred.rows,
            primary_key: Vec::new(),
            facts: BTreeMap::new(),
        }))
    }
}

/// A bucket whose keys and address in a query's environment are its own.
fn open_bucket(spec: &S3Spec, context: &ConnectContext) -> Result<Root, ConnectorError> {
    let bucket = |source| ConnectorError::Bucket {
        catalog: context.catalog.clone(),
        source,
    };
    let opened = s3::open(
        spec,
        &S3Context {
            field: "spec.objectStore.s3",
            namespace: &context.namespace,
            secrets: &context.secrets,
            patience: Patience::Short,
        },
    )
    .map_err(bucket)?;
    let at = Path::from_iter(["s3:", opened.endpoint.as_str(), spec.bucket.as_str()]);
    // The keys are this DataSource's own, whoever else reads the bucket.
    let url = format!("lakegate-bucket://{}", uuid::Uuid::new_v4().simple());
    let url = ObjectStoreUrl::parse(url).map_err(|error| ConnectorError::InvalidSpec {
        catalog: context.catalog.clone(),
        field: "spec.objectStore.s3".to_owned(),
        message: error.to_string(),
    })?;
    Ok(Root::Bucket {
        name: opened.prefix.filename().unwrap_or(&spec.bucket).to_owned(),
        uri: opened.uri,
        directory: Directory {
            root: at.parts().chain(opened.prefix.parts()).collect(),
            store: Arc::new(Mounted {
                inner: opened.store,
                at,
            }),
            url,
        },
    })
}

/// A folder's name as a pattern that matches only it.
fn escape(folder: &str) -> String {
    let mut escaped = String::new();
    for char in folder.chars() {
        match char {
            '*' | '?' | '[' => escaped.extend(['[', char, ']']),
            char => escaped.push(char),
        }
    }
    escaped
}

#[async_trait]
impl Connector for ObjectStoreConnector {
    fn kind(&self) -> SourceKind {
        SourceKind::ObjectStore
    }

    fn endpoint(&self) -> String {
        match &self.root {
            Root::Directory(path) => path.display().to_string(),
            Root::Bucket { uri, .. } => uri.clone(),
        }
    }

    async fn probe(&self) -> Result<Probe, ConnectorError> {
        let directory = self.directory().await?;
        if let Root::Bucket { .. } = self.root {
            // the first page of the listing is enough
            directory
                .store
                .list(Some(&directory.root))
                .try_next()
                .await
                .map_err(|error| self.unreadable(Box::new(error)))?;
        }
        Ok(Probe::default())
    }

    async fn discover(&self) -> Result<Vec<TableDescription>, ConnectorError> {
        let directory = self.directory().await?;
        let definitions: Vec<Arc<Definition>> = self
            .definitions(&directory)
            .await?
            .into_iter()
            .filter(|definition| self.discovery.offers(SCHEMA, &definition.name))
            .collect();
        self.memory.set_tables(
            definitions
                .iter()
                .map(|definition| (definition.name.clone(), Arc::clone(definition)))
                .collect::<HashMap<_, _>>(),
        );
        let mut tables = Vec::new();
        for definition in &definitions {
            match self.describe(&directory, definition).await {
                Ok(Some(table)) => tables.push(table),
                Ok(None) => tracing::warn!(
                    catalog = %self.catalog,
                    table = %definition.name,
                    path = %definition.path,
                    "no file matches the table's path, so it has no columns and is not offered"
                ),
                Err(error) => tracing::warn!(
                    catalog = %self.catalog,
                    table = %definition.name,
                    error = %error,
                    "table cannot be described and is not offered"
                ),
            }
        }
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }

    async fn open(&self, table: &TableDescription) -> Result<Arc<dyn TableProvider>, ConnectorError> {
        let directory = self.directory().await?;
        let definition = match self.memory.table(&table.name) {
            Some(definition) => definition,
            None => self
                .definitions(&directory)
                .await?
                .into_iter()
                .find(|definition| definition.name == table.name)
                .ok_or_else(|| ConnectorError::TableMissing {
                    catalog: self.catalog.clone(),
                    schema: table.schema.clone(),
                    table: table.name.clone(),
                })?,
        };
        let is_partition = |index: usize| {
            table
                .details
                .get(index)
                .is_some_and(|details| details.facts.contains_key(FACT_PARTITION))
        };
        let mut columns = Vec::new();
        let mut partitions = Vec::new();
        for (index, field) in table.columns.fields().iter().enumerate() {
            if is_partition(index) {
                partitions.push(partition_field(field.name(), field.data_type().clone()));
            } else {
                columns.push(Arc::clone(field));
            }
        }
        Ok(Arc::new(FilesTable {
            catalog: self.catalog.clone(),
            directory,
            definition,
            memory: Arc::clone(&self.memory),
            schema: Arc::clone(&table.columns),
            file_schema: Arc::new(Schema::new(columns)),
            partitions,
        }))
    }
}
