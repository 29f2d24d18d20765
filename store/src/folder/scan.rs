//! Reading the manifests folder: which files, and their documents. Writes nothing, knows no objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use lakegate_crds::manifest::{self, Document, ParseProblem};
use walkdir::{DirEntry, WalkDir};

use crate::StoreError;

/// A manifest is written by people; a larger file is data that lies in the folder by mistake.
const MAX_BYTES: u64 = 8 << 20;

/// JSON is a data format too (the metadata of a lake, JSON lines): only a small file is looked into.
const MAX_JSON_BYTES: u64 = 1 << 20;

pub(crate) type Documents = Vec<Result<Arc<Document>, ParseProblem>>;

/// One manifest file as it was read.
#[derive(Clone)]
pub(crate) struct File {
    bytes: Arc<[u8]>,
    pub documents: Arc<Documents>,
}

/// What the folder held at one moment.
#[derive(Clone, Default)]
pub(crate) struct Scan {
    /// By path below the folder, with `/`.
    pub files: BTreeMap<String, File>,

    /// Files and folders that could not be read, with the reason; "" is the folder itself. What they defined is
    /// unknown, which is not the same as gone.
    pub unreadable: BTreeMap<String, String>,

    /// JSON files that are no manifests, with their size and time: a lake in the folder may have thousands, which
    /// are not to be read at each look.
    data: BTreeMap<String, (u64, Option<SystemTime>)>,
}

impl Scan {
    /// Whether both saw the same content.
    pub fn same(&self, other: &Self) -> bool {
        self.unreadable == other.unreadable
            && self.files.len() == other.files.len()
            && self
                .files
                .iter()
                .zip(&other.files)
                .all(|((left, a), (right, b))| left == right && a.bytes == b.bytes)
    }

    /// Whether `file` may hold documents that this scan could not see.
    pub fn is_hidden(&self, file: &str) -> Option<&str> {
        self.unreadable
            .iter()
            .find(|(path, _)| {
                path.is_empty()
                    || file
                        .strip_prefix(path.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .map(|(_, reason)| reason.as_str())
    }
}

/// Reads `folder` (or a single file). Files whose content is that of `previous` are not parsed again.
///
/// Fails only when the folder itself cannot be read.
pub(crate) fn scan(folder: &Path, skip: &BTreeSet<PathBuf>, previous: &Scan) -> Result<Scan, StoreError> {
    let mut scan = Scan::default();
    let keep = |entry: &DirEntry| {
        entry.depth() == 0
            || !(is_temporary(entry.file_name())
                || entry.file_type().is_dir()
                    && entry.path().canonicalize().is_ok_and(|path| skip.contains(&path)))
    };
    // Links are followed: a mounted ConfigMap is nothing but links (`orders.yaml -> ..data/orders.yaml`).
    for entry in WalkDir::new(folder)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(keep)
    {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_manifest(entry.path()) => {
                let name = below(folder, entry.path());
                let stamp = entry
                    .metadata()
                    .ok()
                    .map(|meta| (meta.len(), meta.modified().ok()));
                if let Some(stamp) = stamp
                    && previous.data.get(&name) == Some(&stamp)
                {
                    scan.data.insert(name, stamp);
                    continue;
                }
                match read(entry.path()) {
                    Ok(Some(bytes)) => {
                        let documents = match previous.files.get(&name).filter(|file| *file.bytes == *bytes) {
                            Some(file) => Arc::clone(&file.documents),
                            None => Arc::new(parse(entry.path(), &bytes)),
                        };
                        scan.files.insert(
                            name,
                            File {
                                bytes: bytes.into(),
                                documents,
                            },
                        );
                    }
                    Ok(None) => scan.data.extend(stamp.map(|stamp| (name, stamp))),
                    Err(error) => {
                        scan.unreadable.insert(name, error.to_string());
                    }
                }
            }
            Ok(_) => {}
            Err(error) if error.depth() == 0 => {
                return Err(StoreError::FolderUnreadable {
                    folder: folder.to_owned(),
                    source: error.into(),
                });
            }
            Err(error) => {
                // A temporary file that went while the folder was read says nothing about manifests.
                let path = error.path().unwrap_or(folder).to_owned();
                if path.extension().is_none() || is_manifest(&path) {
                    let reason = error
                        .io_error()
                        .map_or_else(|| error.to_string(), |error| format!("cannot be read: {error}"));
                    scan.unreadable.insert(below(folder, &path), reason);
                }
            }
        }
    }
    Ok(scan)
}

/// Names that editors and mounts use for themselves: `.x`, `..data`, `x~`, `x.swp`, `#x#`.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || name.ends_with('~') || name.ends_with(".swp") || name.starts_with('#')
}

pub(crate) fn is_manifest(path: &Path) -> bool {
    path.file_name().is_some_and(|name| !is_temporary(name))
        && path.extension().and_then(OsStr::to_str).is_some_and(|extension| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        })
}

fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn below(folder: &Path, path: &Path) -> String {
    match path.strip_prefix(folder) {
        // A single file was given as the folder.
        Ok(rest) if rest.as_os_str().is_empty() && folder.is_file() => folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        Ok(rest) => rest.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/"),
        Err(_) => path.to_string_lossy().into_owned(),
    }
}

/// `None`: a data file that only looks like a manifest.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let bytes = path.metadata()?.len();
    if is_json(path) && bytes > MAX_JSON_BYTES {
        return Ok(None);
    }
    if bytes > MAX_BYTES {
        return Err(io::Error::other(format!(
            "is larger than {} MiB, which no manifest is",
            MAX_BYTES >> 20
        )));
    }
    let bytes = std::fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot be read: {error}")))?;
    Ok((!is_json(path) || looks_like_manifest(&bytes)).then_some(bytes))
}

/// A JSON file is a manifest when it names an API version; others are somebody's data.
fn looks_like_manifest(bytes: &[u8]) -> bool {
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    has(b"\"apiVersion\"") && has(b"\"kind\"")
}

fn parse(path: &Path, bytes: &[u8]) -> Documents {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => manifest::parse(text)
            .into_iter()
            .map(|document| document.map(Arc::new))
            .collect(),
        Err(error) => {
            // The bytes up to there are text, and a newline ends a line.
            let line = 1 + bytes[..error.valid_up_to()]
                .split(|byte| *byte == b'\n')
                .skip(1)
                .count();
            tracing::debug!(path = %path.display(), line, "manifest is not UTF-8");
            vec![Err(ParseProblem {
                line,
                message: "is not UTF-8 text: save the file as UTF-8".to_owned(),
            })]
        }
    }
}
