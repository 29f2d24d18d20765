//! The object store below a lake: keys, URIs, and errors that say what was being done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use lakegate_store::s3::S3Error;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::{LakeError, is_storage_full};
use crate::name::LakeTableName;

/// Tries of an idempotent request before its error is reported.
const TRIES: u32 = 4;

/// A store with the URI its root has in Iceberg metadata.
#[derive(Clone)]
pub(crate) struct Objects {
    pub store: Arc<dyn ObjectStore>,
    /// Absolute URI of the root without a trailing slash, such as `file:///data/lake`. Raw text, not
    /// percent-encoded: readers take the part after the scheme as it is.
    pub base: Arc<str>,
    /// True when a failed request is known to have had no effect once it returned (a local disk). A bucket may
    /// still apply a request that timed out.
    pub failures_are_final: bool,
}

impl fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Objects")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Objects {
    pub fn uri(&self, path: &Path) -> String {
        format!("{}/{path}", self.base)
    }

    /// The key of a URI found in the metadata of `table`.
    ///
    /// Java writers put `file:/x` where others put `file:///x`. When the lake was moved, the part from
    /// `/<schema>/<table>/` on still tells the object.
    pub fn path_of(&self, table: &LakeTableName, uri: &str) -> Result<Path, LakeError> {
        let foreign = || LakeError::ForeignLocation {
            table: table.clone(),
            uri: uri.to_owned(),
            location: self.base.to_string(),
        };
        let key = if let Some(key) = strip_base(uri, &self.base) {
            key
        } else {
            let marker = format!("/{}/{}/", table.schema, table.name);
            let start = uri.rfind(&marker).ok_or_else(foreign)?;
            &uri[start + 1..]
        };
        Path::parse(key).map_err(|_| foreign())
    }

    pub fn error(
        &self,
        operation: &'static str,
        path: &Path,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> LakeError {
        let source = source.into();
        if is_storage_full(source.as_ref()) {
            return LakeError::StorageFull {
                location: self.base.to_string(),
                source,
            };
        }
        if let Some(known) = S3Error::of(source.as_ref()) {
            return LakeError::BucketFailed {
                operation,
                path: if path.as_ref().is_empty() {
                    "the tables".to_owned()
                } else {
                    path.to_string()
                },
                location: self.base.to_string(),
                source: Box::new(known.clone()),
            };
        }
        LakeError::Store {
            operation,
            path: path.to_string(),
            location: self.base.to_string(),
            source,
        }
    }

    pub fn corrupt(
        &self,
        path: &Path,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> LakeError {
        LakeError::Corrupt {
            path: path.to_string(),
            location: self.base.to_string(),
            source: source.into(),
        }
    }

    /// Whole content, or `None` when absent.
    pub async fn get(&self, path: &Path) -> Result<Option<Bytes>, LakeError> {
        let mut tries = 0;
        loop {
            let result = match self.store.get(path).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            match result {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => {
                    tries += 1;
                    if tries == TRIES || !may_pass(&error) {
                        return Err(self.error("read", path, error));
                    }
                    pause(tries).await;
                }
            }
        }
    }

    pub async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, LakeError> {
        let mut tries = 0;
        loop {
            match self.store.head(path).await {
                Ok(meta) => return Ok(Some(meta)),
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => {
                    tries += 1;
                    if tries == TRIES || !may_pass(&error) {
                        let error = self.explained(path, error).await;
                        return Err(self.error("look up", path, error));
                    }
                    pause(tries).await;
                }
            }
        }
    }

    /// A look-up has no room for a reason in its answer: where none was given, a read of the same object is asked.
    async fn explained(&self, path: &Path, error: object_store::Error) -> object_store::Error {
        if !S3Error::of(&error).is_some_and(S3Error::is_unexplained) {
            return error;
        }
        match self.store.get_range(path, 0..1).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => error,
            Err(explained) => explained,
        }
    }

    /// Writes an object whose name nobody else uses, or whose content does not depend on who writes it, so that
    /// writing it again after a lost reply is harmless.
    pub async fn put(&self, path: &Path, content: Bytes) -> Result<(), LakeError> {
        let mut tries = 0;
        loop {
            match self
                .store
                .put(path, PutPayload::from_bytes(content.clone()))
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) => {
                    tries += 1;
                    if tries == TRIES || is_storage_full(&error) || !may_pass(&error) {
                        return Err(self.error("write", path, error));
                    }
                    pause(tries).await;
                }
            }
        }
    }

    /// Creates an object that must not exist. One request: the caller decides what an error means.
    pub async fn create(&self, path: &Path, content: Bytes) -> Result<(), object_store::Error> {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        self.store
            .put_opts(path, PutPayload::from_bytes(content), options)
            .await
            .map(|_| ())
    }

    /// Deletes an object; one that is absent is as good as deleted.
    pub async fn delete(&self, path: &Path) -> Result<(), LakeError> {
        let mut tries = 0;
        loop {
            match self.store.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => return Ok(()),
                Err(error) => {
                    tries += 1;
                    if tries == TRIES || !may_pass(&error) {
                        return Err(self.error("delete", path, error));
                    }
                    pause(tries).await;
                }
            }
        }
    }

    /// Removes what is of no use any more, up to the first failure: a store that hangs is waited for once, not for each
    /// object.
    pub async fn tidy(&self, paths: &[Path], what: &str) {
        for path in paths {
            if let Err(error) = self.delete(path).await {
                tracing::warn!(%path, error = &error as &dyn std::error::Error,
                    "{what} could not be removed; a sweep will remove them");
                return;
            }
        }
    }

    /// Every object below a prefix.
    pub async fn list(&self, prefix: &Path) -> Result<Vec<ObjectMeta>, LakeError> {
        self.store
            .list(Some(prefix))
            .try_collect()
            .await
            .map_err(|error| self.error("list", prefix, error))
    }

    /// Direct children of a prefix: sub-prefixes and objects. `None` is the root.
    pub async fn children(&self, prefix: Option<&Path>) -> Result<object_store::ListResult, LakeError> {
        self.store
            .list_with_delimiter(prefix)
            .await
            .map_err(|error| self.error("list", prefix.unwrap_or(&Path::default()), error))
    }
}

/// Whether the same request may succeed a moment later.
fn may_pass(error: &object_store::Error) -> bool {
    S3Error::of(error).is_none_or(S3Error::may_pass)
}

/// Exponential, from 20 ms.
pub(crate) async fn pause(tries: u32) {
    tokio::time::sleep(Duration::from_millis(10 << tries.min(8))).await;
}

/// The rest of `uri` below `base`, both with any number of slashes after the scheme of a `file` URI.
fn strip_base<'a>(uri: &'a str, base: &str) -> Option<&'a str> {
    if let (Some(uri), Some(base)) = (uri.strip_prefix("file:"), base.strip_prefix("file:")) {
        let base = base.trim_start_matches('/');
        return uri.trim_start_matches('/').strip_prefix(base)?.strip_prefix('/');
    }
    uri.strip_prefix(base)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_map_to_keys() {
        let objects = Objects {
            store: Arc::new(object_store::memory::InMemory::new()),
            base: "file:///data/lake".into(),
            failures_are_final: true,
        };
        let table = LakeTableName::new("shop", "orders").unwrap();
        for (uri, key) in [
            (
                "file:///data/lake/shop/orders/data/x.parquet",
                "shop/orders/data/x.parquet",
            ),
            (
                "file:/data/lake/shop/orders/data/x.parquet",
                "shop/orders/data/x.parquet",
            ),
            (
                "file:///old/place/shop/orders/metadata/m.avro",
                "shop/orders/metadata/m.avro",
            ),
            (
                "s3://bucket/shop/orders/metadata/m.avro",
                "shop/orders/metadata/m.avro",
            ),
        ] {
            assert_eq!(objects.path_of(&table, uri).unwrap().as_ref(), key, "{uri}");
        }
        assert!(objects.path_of(&table, "file:///elsewhere/x.parquet").is_err());
        assert!(
            objects
                .path_of(&table, "file:///data/lakeside/x.parquet")
                .is_err()
        );
    }
}
