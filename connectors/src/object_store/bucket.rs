//! A bucket among other places: read only, and under paths of its own.

use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::parquet::read_only;

/// A store whose keys are seen below a path that no other bucket has: what queries keep of files (footers, schemas) is
/// found again by path alone, and two buckets may well have one key.
#[derive(Debug)]
pub struct Mounted<S> {
    pub inner: S,
    pub at: Path,
}

impl<S> Mounted<S> {
    fn inside(&self, path: &Path) -> Path {
        path.prefix_match(&self.at)
            .map_or_else(|| path.clone(), Iterator::collect)
    }
}

fn outside(at: &Path, path: &Path) -> Path {
    at.parts().chain(path.parts()).collect()
}

fn outside_meta(at: &Path, meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        location: outside(at, &meta.location),
        ..meta
    }
}

impl<S> fmt::Display for Mounted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Mounted<S> {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    // `get_ranges` is left to its default, which comes through here.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let mut found = self.inner.get_opts(&self.inside(location), options).await?;
        found.meta = outside_meta(&self.at, found.meta);
        Ok(found)
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        futures::stream::once(async { Err(read_only()) }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let at = self.at.clone();
        let prefix = prefix.map(|prefix| self.inside(prefix));
        self.inner
            .list(prefix.as_ref())
            .map_ok(move |meta| outside_meta(&at, meta))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let prefix = prefix.map(|prefix| self.inside(prefix));
        let listed = self.inner.list_with_delimiter(prefix.as_ref()).await?;
        Ok(ListResult {
            common_prefixes: listed
                .common_prefixes
                .iter()
                .map(|path| outside(&self.at, path))
                .collect(),
            objects: listed
                .objects
                .into_iter()
                .map(|meta| outside_meta(&self.at, meta))
                .collect(),
        })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(read_only())
    }
}
