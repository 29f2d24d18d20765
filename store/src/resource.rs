use std::{fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;
use futures::stream::BoxStream;
use lakegate_crds::validation::{Problem, summary};
use lakegate_crds::{
    DEFAULT_NAMESPACE, DataSource, Export, ExportRun, LakegateResource, RetentionPolicy, View,
};

use crate::{Notices, Secrets, StoreError};

/// The identity of an object within its kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub namespace: String,

    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of `name` in the namespace `default`.
    pub fn named(name: impl Into<String>) -> Self {
        Self::new(DEFAULT_NAMESPACE, name)
    }

    /// The key of an object: an absent namespace is `default`, an absent name is empty.
    pub fn of<K: kube::Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(
            meta.namespace
                .as_deref()
                .filter(|text| !text.is_empty())
                .unwrap_or(DEFAULT_NAMESPACE),
            meta.name.as_deref().unwrap_or_default(),
        )
    }
}

/// `name` in the namespace `default`, else `namespace/name`.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace == DEFAULT_NAMESPACE {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}

impl FromStr for Key {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Self::named(text),
        })
    }
}

/// Why the newest edit of an object is not what runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    pub problems: Vec<Problem>,

    /// Where the edit stands: `orders.yaml:12`.
    pub origin: String,
}

/// `orders.yaml:12: spec.schedule.cron: message; …`
impl fmt::Display for Rejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.origin, summary(&self.problems))
    }
}

/// One object as a store knows it.
#[derive(Debug, Clone)]
pub struct Entry<K: LakegateResource> {
    pub key: Key,

    /// The last good version, with uid, generation, creation time and status filled. `None` when there never
    /// was a good one.
    pub object: Option<Arc<K>>,

    /// The status last written, also while there is no good version.
    pub status: Option<K::Status>,

    /// Set while the newest edit is invalid.
    pub rejected: Option<Rejected>,

    /// Stable over restarts, edits and a short absence; a new one means another object of the same name.
    pub uid: String,

    /// Rises when the spec of the good version changes; 0 when there never was a good one.
    ///
    /// In a cluster it is the API server's, which counts edits that are rejected here as well: a status is of today
    /// for those who read it (kubectl, Flux) only when it names that number. The good version's own is in its metadata.
    pub generation: i64,
}

/// A change of one object. Every entry is complete: a receiver never needs to remember the one before.
#[derive(Debug, Clone)]
pub enum Event<K: LakegateResource> {
    /// The object is new or changed (spec, metadata, status or rejection).
    Applied(Entry<K>),

    /// The object is gone; the entry is what was known last.
    Deleted(Entry<K>),

    /// All objects that existed when the watch began have been sent. Once per watch.
    Synced,
}

/// What came of a create: that the name is taken is an answer, not an error.
#[derive(Debug, Clone)]
pub enum Created<K: LakegateResource> {
    New(Entry<K>),

    Already(Entry<K>),
}

impl<K: LakegateResource> Created<K> {
    pub fn entry(&self) -> &Entry<K> {
        match self {
            Self::New(entry) | Self::Already(entry) => entry,
        }
    }

    pub fn into_entry(self) -> Entry<K> {
        match self {
            Self::New(entry) | Self::Already(entry) => entry,
        }
    }

    pub fn is_new(&self) -> bool {
        matches!(self, Self::New(_))
    }
}

/// One kind of object in one home.
#[async_trait]
pub trait Store<K: LakegateResource>: Send + Sync {
    /// The current objects as `Applied`, then `Synced`, then changes, until the store is dropped.
    ///
    /// A slow reader misses intermediate versions of an object, never the last one, and never that an object was
    /// replaced by another of the same name (`Deleted` of the old uid precedes `Applied` of the new).
    fn watch(&self) -> BoxStream<'static, Event<K>>;

    async fn get(&self, key: &Key) -> Result<Option<Entry<K>>, StoreError>;

    /// All objects, ordered by key.
    async fn list(&self) -> Result<Vec<Entry<K>>, StoreError>;

    /// Durable when it returns. The store fills uid, generation 1 and the creation time; a status in `object` is
    /// dropped.
    async fn create(&self, object: K) -> Result<Created<K>, StoreError>;

    /// Replaces the status; neither writes nor notifies when it equals what is there.
    ///
    /// Fails with [`StoreError::Gone`] when the object with this uid no longer exists.
    async fn write_status(&self, key: &Key, uid: &str, status: K::Status) -> Result<(), StoreError>;

    /// Deletes the object with this uid; one that is already gone, or was replaced by another, is no error.
    async fn delete(&self, key: &Key, uid: &str) -> Result<(), StoreError>;
}

/// Everything the code above a store needs of it, used as `Arc<dyn ResourceStore>`.
///
/// `Arc<dyn ResourceStore>` coerces to `Arc<dyn Store<Export>>`, `Arc<dyn Secrets>` and so on; generic code uses
/// [`StoreOf`].
pub trait ResourceStore:
    Store<DataSource>
    + Store<Export>
    + Store<ExportRun>
    + Store<RetentionPolicy>
    + Store<View>
    + Secrets
    + Notices
    + 'static
{
}

impl<T> ResourceStore for T where
    T: Store<DataSource>
        + Store<Export>
        + Store<ExportRun>
        + Store<RetentionPolicy>
        + Store<View>
        + Secrets
        + Notices
        + 'static
{
}

/// Picks the store of one kind out of a [`ResourceStore`] in code that is generic over the kind.
pub trait StoreOf<K: LakegateResource> {
    fn of(&self) -> &dyn Store<K>;
}

macro_rules! store_of {
    ($($kind:ty),*) => {$(
        impl StoreOf<$kind> for dyn ResourceStore {
            fn of(&self) -> &dyn Store<$kind> {
                self
            }
        }
    )*};
}
store_of!(DataSource, Export, ExportRun, RetentionPolicy, View);
