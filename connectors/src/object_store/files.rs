//! Which files a table is made of, and what their paths say.

use std::sync::Arc;

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::TryStreamExt;
use lakegate_crds::{FileCompression, FileFormat};
use lakegate_store::s3::S3Error;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::glob::Pattern;
use super::text::CsvDialect;
use arrow::datatypes::DataType;

/// Formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    Parquet,
    Csv,
    JsonLines,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::JsonLines => "json",
        }
    }

    /// None for a format that no code reads yet.
    pub fn of(format: FileFormat) -> Option<Self> {
        match format {
            FileFormat::Parquet => Some(Self::Parquet),
            FileFormat::Csv => Some(Self::Csv),
            FileFormat::JsonLines => Some(Self::JsonLines),
            FileFormat::AlbLog => None,
        }
    }
}

/// How a column's type was come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedColumn {
    pub name: String,
    pub data_type: DataType,
}

/// One table, as the manifest defines it or as the directory shows it.
#[derive(Debug, Clone)]
pub struct Definition {
    pub name: String,
    pub pattern: Pattern,
    /// The pattern as written, for people.
    pub path: String,
    /// Files of another format are left out; None takes the one format there is.
    pub format: Option<Format>,
    pub compression: Option<FileCompression>,
    pub csv: CsvDialect,
    /// Empty: as found in the files.
    pub columns: Vec<TypedColumn>,
    /// None: as found in the paths.
    pub partitions: Option<Vec<TypedColumn>>,
    pub comment: Option<String>,
}

/// One file of a table.
#[derive(Debug, Clone)]
pub struct Found {
    pub meta: ObjectMeta,
    /// Format and compression by the name's ending.
    pub ending: Option<Format>,
    pub compression: FileCompression,
    /// Tab-separated by its ending.
    pub tabs: bool,
    /// `key=value` segments below the pattern's base; None is Hive's NULL.
    pub partitions: Vec<(String, Option<String>)>,
    /// Path below the source's directory, for people.
    pub shown: String,
}

impl Found {
    pub fn new(meta: ObjectMeta, relative: &[&str], base: usize) -> Self {
        let name = relative.last().copied().unwrap_or_default();
        let (ending, compression, tabs) = by_ending(name);
        let folders = relative
            .get(base..relative.len().saturating_sub(1))
            .unwrap_or_default();
        Self {
            meta,
            ending,
            compression,
            tabs,
            partitions: folders.iter().filter_map(|folder| partition(folder)).collect(),
            shown: relative.join("/"),
        }
    }
}

/// `key=value`, with Hive's escapes decoded.
fn partition(folder: &str) -> Option<(String, Option<String>)> {
    let (key, value) = folder.split_once('=')?;
    if key.is_empty() {
        return None;
    }
    let value = (value != "__HIVE_DEFAULT_PARTITION__").then(|| unescape(value));
    Some((unescape(key), value))
}

/// Decodes `%3A` and its like; anything else stays as it is.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = hex {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

/// Format, compression and whether tabs separate, by a file name's ending.
pub fn by_ending(name: &str) -> (Option<Format>, FileCompression, bool) {
    let lower = name.to_ascii_lowercase();
    let (stem, compression) = match lower.rsplit_once('.') {
        Some((stem, "gz" | "gzip")) => (stem, FileCompression::Gzip),
        Some((stem, "zst" | "zstd")) => (stem, FileCompression::Zstd),
        Some((stem, "bz2")) => (stem, FileCompression::Bzip2),
        Some((stem, "xz")) => (stem, FileCompression::Xz),
        _ => (lower.as_str(), FileCompression::None),
    };
    let ending = stem.rsplit_once('.').map(|(_, ending)| ending);
    let format = match ending {
        Some("parquet" | "pq") if compression == FileCompression::None => Some(Format::Parquet),
        Some("csv" | "tsv") => Some(Format::Csv),
        Some("jsonl" | "ndjson" | "json") => Some(Format::JsonLines),
        _ => None,
    };
    (format, compression, ending == Some("tsv"))
}

/// A file name without its known endings.
pub fn stem(name: &str) -> &str {
    let mut stem = name;
    for known in [
        &["gz", "gzip", "zst", "zstd", "bz2", "xz"][..],
        &["parquet", "pq", "csv", "tsv", "jsonl", "ndjson", "json"][..],
    ] {
        if let Some((rest, ending)) = stem.rsplit_once('.')
            && known.iter().any(|known| ending.eq_ignore_ascii_case(known))
        {
            stem = rest;
        }
    }
    stem
}

/// The decoder of DataFusion for a compression.
pub fn decompression(compression: FileCompression) -> FileCompressionType {
    match compression {
        FileCompression::None => FileCompressionType::UNCOMPRESSED,
        FileCompression::Gzip => FileCompressionType::GZIP,
        FileCompression::Zstd => FileCompressionType::ZSTD,
        FileCompression::Bzip2 => FileCompressionType::BZIP2,
        FileCompression::Xz => FileCompressionType::XZ,
    }
}

/// A directory, or a part of a bucket, and the store it is read through.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Its absolute path in the store.
    pub root: Path,
    pub store: Arc<dyn ObjectStore>,
    /// The address of the store in a query's environment.
    pub url: ObjectStoreUrl,
}

impl Directory {
    /// The files of a table, in the order of their paths. Empty files, and those
    /// with a `.` or `_` before their name or a folder's, are none.
    pub async fn list(&self, definition: &Definition) -> Result<Vec<Found>, object_store::Error> {
        let base = definition.pattern.base();
        let mut prefix = self.root.clone();
        for segment in &base {
            prefix = prefix.join(segment.as_str());
        }
        let mut found = Vec::new();
        // A path without wildcards may be a file itself.
        if !base.is_empty()
            && definition
                .pattern
                .matches(&base.iter().map(String::as_str).collect::<Vec<_>>())
            && let Ok(meta) = self.store.head(&prefix).await
        {
            let parts: Vec<&str> = base.iter().map(String::as_str).collect();
            return Ok(vec![Found::new(meta, &parts, base.len())]
                .into_iter()
                .filter(|file| file.meta.size > 0)
                .collect());
        }
        let mut listed = self.store.list(Some(&prefix));
        while let Some(meta) = listed.try_next().await? {
            if meta.size == 0 {
                continue;
            }
            let parts: Vec<String> = match meta.location.prefix_match(&self.root) {
                Some(parts) => parts.map(|part| part.as_ref().to_owned()).collect(),
                None => continue,
            };
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let hidden = parts[base.len().min(parts.len())..]
                .iter()
                .any(|part| part.starts_with(['.', '_']) && !part.contains('='));
            if !hidden && definition.pattern.matches(&parts) {
                found.push(Found::new(meta.clone(), &parts, base.len()));
            }
        }
        found.sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
        Ok(found)
    }

    /// The files of a table that are of its format.
    ///
    /// # Errors
    /// The directory cannot be listed, or the files are of several formats and the
    /// manifest names none.
    pub async fn files(&self, definition: &Definition) -> Result<(Option<Format>, Vec<Found>), ListError> {
        let listed = self.list(definition).await?;
        let format = definition
            .format
            .map_or_else(|| only_format(&listed), |format| Ok(Some(format)))?;
        let files = listed
            .into_iter()
            .filter(|file| definition.format.is_some() && file.ending.is_none() || file.ending == format)
            .collect();
        Ok((format, files))
    }
}

/// The one format that the files' endings name; None without files.
fn only_format(files: &[Found]) -> Result<Option<Format>, ListError> {
    let mut formats: Vec<Format> = files.iter().filter_map(|file| file.ending).collect();
    formats.sort_unstable();
    formats.dedup();
    match (formats.as_slice(), files) {
        ([], []) => Ok(None),
        ([], [file, ..]) => Err(ListError::UnknownFormat(file.shown.clone())),
        ([one], _) => Ok(Some(*one)),
        ([one, other, ..], _) => Err(ListError::SeveralFormats(*one, *other)),
    }
}

/// Why the files of a table are not known.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("its files cannot be listed{}", S3Error::of(.0).map(|known| format!(": {known}")).unwrap_or_default())]
    Store(#[from] object_store::Error),
    #[error("the ending of {0} names no format; set the table's format")]
    UnknownFormat(String),
    #[error("its files are {} and {}; set the table's format", .0.name(), .1.name())]
    SeveralFormats(Format, Format),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings() {
        use FileCompression::{Gzip, None as Plain, Zstd};
        let cases = [
            ("a.parquet", Some(Format::Parquet), Plain, "a"),
            ("a.csv", Some(Format::Csv), Plain, "a"),
            ("A.CSV.GZ", Some(Format::Csv), Gzip, "A"),
            ("a.b.jsonl.zst", Some(Format::JsonLines), Zstd, "a.b"),
            ("a.json", Some(Format::JsonLines), Plain, "a"),
            ("a.parquet.gz", None, Gzip, "a"),
            ("README.md", None, Plain, "README.md"),
            ("csv", None, Plain, "csv"),
        ];
        for (name, format, compression, expected) in cases {
            assert_eq!(by_ending(name), (format, compression, false), "{name}");
            assert_eq!(stem(name), expected, "{name}");
        }
        assert!(by_ending("a.tsv").2);
    }

    #[test]
    fn hive_folders() {
        assert_eq!(
            partition("day=2024-01-01"),
            Some(("day".to_owned(), Some("2024-01-01".to_owned())))
        );
        assert_eq!(
            partition("t=10%3A30"),
            Some(("t".to_owned(), Some("10:30".to_owned())))
        );
        assert_eq!(
            partition("x=__HIVE_DEFAULT_PARTITION__"),
            Some(("x".to_owned(), None))
        );
        assert_eq!(partition("x="), Some(("x".to_owned(), Some(String::new()))));
        assert_eq!(partition("plain"), None);
        assert_eq!(unescape("100%"), "100%");
    }
}
