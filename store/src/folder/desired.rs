//! What the documents of a scan ask for, by object. Pure.

use std::{collections::BTreeMap, fmt, sync::Arc};

use lakegate_crds::conditions::Reason;
use lakegate_crds::manifest::{Class, Document};
use lakegate_crds::validation::{Problem, validate};
use lakegate_crds::{API_VERSION, Kind};
use serde_json::Value;

use super::scan::Scan;
use crate::{
    DEFAULT_NAMESPACE, Key,
    secrets::{SecretManifest, SecretManifests},
    state::Place,
};

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The API accepts it and this version does not act on it.
    Warning,

    /// It is refused.
    Error,
}

/// One thing that is wrong in a folder of manifests.
#[derive(Debug, Clone, PartialEq)]
pub struct FileProblem {
    pub severity: Severity,

    /// Path below the folder.
    pub file: String,

    /// From 1; 0 when the problem is the whole file's.
    pub line: usize,

    /// Empty when the document names none.
    pub kind: String,

    /// Empty when the document names none.
    pub name: String,

    /// `spec.schedule.cron`; empty for the whole object.
    pub field: String,

    pub message: String,

    pub reason: Reason,
}

/// `orders.yaml:12: Export/orders: spec.schedule.cron: message`
impl fmt::Display for FileProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if self.line > 0 {
            write!(formatter, ":{}", self.line)?;
        }
        formatter.write_str(": ")?;
        if self.severity == Severity::Warning {
            formatter.write_str("warning: ")?;
        }
        match (self.kind.as_str(), self.name.as_str()) {
            ("", "") => {}
            (word, "") | ("", word) => write!(formatter, "{word}: ")?,
            (kind, name) => write!(formatter, "{kind}/{name}: ")?,
        }
        if !self.field.is_empty() {
            write!(formatter, "{}: ", self.field)?;
        }
        formatter.write_str(&self.message)
    }
}

/// A document that defines an object.
#[derive(Clone)]
pub(crate) struct Found {
    pub place: Place,
    pub document: Arc<Document>,
}

/// What the folder asks for.
#[derive(Default)]
pub(crate) struct Desired {
    /// More than one document is a conflict.
    pub objects: BTreeMap<(Kind, Key), Vec<Found>>,

    pub secrets: SecretManifests,

    /// Documents that could not be read, by file: objects that stood there may be in them.
    pub broken: BTreeMap<String, Broken>,

    /// Problems of documents that define no object we know.
    pub problems: Vec<FileProblem>,

    /// Kinds that are not ours, with the place of the first.
    pub skipped: BTreeMap<String, Place>,
}

#[derive(Clone)]
pub(crate) struct Broken {
    pub line: usize,
    pub problem: Problem,
}

impl Broken {
    pub fn origin(&self, file: &str) -> String {
        if self.line > 0 {
            format!("{file}:{}", self.line)
        } else {
            file.to_owned()
        }
    }
}

impl Desired {
    pub fn new(scan: &Scan) -> Self {
        let mut desired = Self::default();
        let mut secrets: BTreeMap<Key, Vec<(Place, Arc<Document>)>> = BTreeMap::new();
        for (path, message) in &scan.unreadable {
            desired.problems.push(problem(
                path,
                0,
                ("", ""),
                "",
                message.clone(),
                Reason::Unreadable,
            ));
        }
        for (path, file) in &scan.files {
            for document in file.documents.iter() {
                match document {
                    Ok(document) => desired.add(path, document, &mut secrets),
                    Err(error) => {
                        let message = &error.message;
                        desired.problems.push(problem(
                            path,
                            error.line,
                            ("", ""),
                            "",
                            message.clone(),
                            Reason::Unreadable,
                        ));
                        desired.broken.entry(path.clone()).or_insert(Broken {
                            line: error.line,
                            problem: Problem::new("", Reason::Unreadable, message),
                        });
                    }
                }
            }
        }
        for (key, found) in secrets {
            desired.add_secret(key, &found);
        }
        desired
    }

    fn add(
        &mut self,
        path: &str,
        document: &Arc<Document>,
        secrets: &mut BTreeMap<Key, Vec<(Place, Arc<Document>)>>,
    ) {
        let place = Place {
            file: path.to_owned(),
            line: document.line,
        };
        let kind = document.kind().unwrap_or_default();
        let name = document.name().unwrap_or_default();
        let key = Key::new(
            document
                .namespace()
                .filter(|text| !text.is_empty())
                .unwrap_or(DEFAULT_NAMESPACE),
            name,
        );
        match document.class() {
            Class::Foreign => {
                let what = format!("{} {kind}", document.api_version().unwrap_or_default());
                self.skipped.entry(what).or_insert(place);
            }
            Class::Secret if name.is_empty() => {
                let problem = Problem::invalid("metadata.name", "metadata.name is required");
                self.refuse(path, document, &[problem]);
            }
            Class::Secret => secrets
                .entry(key)
                .or_default()
                .push((place, Arc::clone(document))),
            Class::Lakegate => {
                let Some(kind) = identify(document) else {
                    let problems = validate(&document.value, None).err().unwrap_or_default();
                    return self.refuse(path, document, &problems);
                };
                if kind == Kind::ExportRun {
                    self.problems.push(run_in_folder(document, path));
                }
                let found = Found {
                    place,
                    document: Arc::clone(document),
                };
                self.objects.entry((kind, key)).or_default().push(found);
            }
        }
    }

    /// Reports a document that cannot be told to be any object. Whatever object of this file it was before its
    /// edit keeps its last good version.
    fn refuse(&mut self, path: &str, document: &Document, problems: &[Problem]) {
        let named = (
            document.kind().unwrap_or_default(),
            document.name().unwrap_or_default(),
        );
        self.problems.extend(problems.iter().map(|wrong| {
            let line = document.line_of(&wrong.field);
            problem(
                path,
                line,
                named,
                &wrong.field,
                wrong.message.clone(),
                wrong.reason,
            )
        }));
        if let Some(first) = problems.first() {
            let broken = Broken {
                line: document.line_of(&first.field),
                problem: first.clone(),
            };
            self.broken.entry(path.to_owned()).or_insert(broken);
        }
    }

    fn add_secret(&mut self, key: Key, found: &[(Place, Arc<Document>)]) {
        if let [(place, document)] = found {
            match SecretManifest::parse(key.clone(), &place.file, &document.value) {
                Ok(secret) => {
                    self.secrets.secrets.insert(key, secret);
                }
                Err(wrong) => {
                    let line = document.line_of(&wrong.field);
                    let origin = Place {
                        file: place.file.clone(),
                        line,
                    };
                    self.secrets.rejected.insert(
                        key.clone(),
                        format!("{} in {origin} {}", wrong.field, wrong.message),
                    );
                    self.problems.push(problem(
                        &place.file,
                        line,
                        ("Secret", &key.name),
                        &wrong.field,
                        wrong.message,
                        Reason::InvalidSpec,
                    ));
                }
            }
            return;
        }
        let message = duplicate_message("Secret", &key, found.iter().map(|(place, _)| place));
        for (place, document) in found {
            self.problems.push(problem(
                &place.file,
                document.line_of("metadata.name"),
                ("Secret", &key.name),
                "metadata.name",
                message.clone(),
                Reason::DuplicateObject,
            ));
        }
        self.secrets.rejected.insert(key, message);
    }
}

/// Which object a document defines; `None` when it lacks what that takes. `validate` tells what.
fn identify(document: &Document) -> Option<Kind> {
    let kind = document.kind()?;
    document.api_version().filter(|version| *version == API_VERSION)?;
    document.name().filter(|name| !name.is_empty())?;
    // `parse` takes plural and short names too; a manifest needs the kind itself.
    kind.parse::<Kind>().ok().filter(|parsed| parsed.as_str() == kind)
}

/// A run is an act, not a wish: a file that stays would ask for it again and again.
fn run_in_folder(document: &Document, path: &str) -> FileProblem {
    let export = document
        .value
        .pointer("/spec/exportRef/name")
        .and_then(Value::as_str)
        .unwrap_or("NAME");
    let message = format!("is not started from a folder: start it with `lakegate run export/{export}`");
    let named = (Kind::ExportRun.as_str(), document.name().unwrap_or_default());
    FileProblem {
        severity: Severity::Warning,
        ..problem(path, document.line, named, "", message, Reason::NotImplemented)
    }
}

/// `DataSource default/shop is defined 2 times; none is applied until one is left: a.yaml:1, b.yaml:3`
pub(crate) fn duplicate_message<'a>(
    kind: &str,
    key: &Key,
    places: impl Iterator<Item = &'a Place>,
) -> String {
    let mut places: Vec<_> = places.collect();
    places.sort();
    let listed: Vec<_> = places.iter().map(ToString::to_string).collect();
    format!(
        "{kind} {}/{} is defined {} times; none is applied until one is left: {}",
        key.namespace,
        key.name,
        listed.len(),
        listed.join(", ")
    )
}

pub(crate) fn problem(
    file: &str,
    line: usize,
    (kind, name): (&str, &str),
    field: &str,
    message: String,
    reason: Reason,
) -> FileProblem {
    FileProblem {
        severity: Severity::Error,
        file: file.to_owned(),
        line,
        kind: kind.to_owned(),
        name: name.to_owned(),
        field: field.to_owned(),
        message,
        reason,
    }
}
