//! Ranges that come back whole, or not at all.

use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A store that fails where it has less than it is asked for.
///
/// S3 answers a range that goes beyond the end of an object with what there is (RFC 9110 §14.1.2), and readers of Parquet
/// take the bytes for those they asked for: an object that was cut short would make them panic.
#[derive(Debug)]
pub(super) struct WholeRanges<S>(pub(super) S);

impl<S: ObjectStore> fmt::Display for WholeRanges<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for WholeRanges<S> {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(path, options).await
    }

    // ranges of one object come here too, merged where they are close
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let asked = match &options.range {
            Some(GetRange::Bounded(range)) => Some(range.clone()),
            _ => None,
        };
        let result = self.0.get_opts(path, options).await?;
        match asked {
            Some(asked) if asked != result.range => Err(Error::Generic {
                store: "S3",
                source: format!(
                    "{path} has {} bytes, and bytes {} to {} were asked for: it was damaged or written over; write it anew",
                    result.meta.size, asked.start, asked.end
                )
                .into(),
            }),
            _ => Ok(result),
        }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
