//! One object, streamed to the store in parts.

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::task::JoinSet;

use crate::error::LakeError;
use crate::objects::Objects;

/// Size of a part, and of the largest object written in one request. S3 wants parts of 5 MiB at least and 10,000 of
/// them at most, which is 80 GB.
const PART: usize = 8 * 1024 * 1024;
/// Parts in flight: with `PART` it bounds the memory of a slow upload.
const IN_FLIGHT: usize = 2;

/// An upload under way; nothing is visible under its path before [`Upload::complete`].
pub(crate) struct Upload {
    objects: Objects,
    path: Path,
    /// Not sent yet; less than a part.
    waiting: BytesMut,
    multipart: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<object_store::Result<()>>,
    bytes: u64,
}

impl Upload {
    pub fn new(objects: Objects, path: Path) -> Self {
        Self {
            objects,
            path,
            waiting: BytesMut::new(),
            multipart: None,
            parts: JoinSet::new(),
            bytes: 0,
        }
    }

    /// Bytes given so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub async fn write(&mut self, mut content: Bytes) -> Result<(), LakeError> {
        self.bytes += content.len() as u64;
        while !content.is_empty() {
            let taken = content.split_to(content.len().min(PART - self.waiting.len()));
            self.waiting.extend_from_slice(&taken);
            if self.waiting.len() == PART {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), LakeError> {
        while self.parts.len() >= IN_FLIGHT {
            self.finish_part().await?;
        }
        let part = PutPayload::from_bytes(self.waiting.split().freeze());
        if self.multipart.is_none() {
            let started = self.objects.store.put_multipart(&self.path).await;
            self.multipart = Some(started.map_err(|error| self.error(error))?);
        }
        if let Some(multipart) = &mut self.multipart {
            self.parts.spawn(multipart.put_part(part));
        }
        Ok(())
    }

    async fn finish_part(&mut self) -> Result<(), LakeError> {
        match self.parts.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(self.error(error)),
            Some(Err(error)) => Err(self.objects.error("write", &self.path, error)),
        }
    }

    /// Makes the object visible, whole.
    pub async fn complete(&mut self) -> Result<(), LakeError> {
        if self.multipart.is_none() {
            // the name is ours alone, so a lost reply is answered by writing it again
            return self.objects.put(&self.path, self.waiting.split().freeze()).await;
        }
        if !self.waiting.is_empty() {
            self.send_part().await?;
        }
        while !self.parts.is_empty() {
            self.finish_part().await?;
        }
        let Some(multipart) = &mut self.multipart else {
            return Ok(());
        };
        let Err(error) = multipart.complete().await else {
            return Ok(());
        };
        // the reply may have been lost: an object of this name is complete, for uploads appear whole
        match self.objects.head(&self.path).await {
            Ok(Some(meta)) if meta.size == self.bytes => Ok(()),
            _ => Err(self.error(error)),
        }
    }

    /// Removes what was sent, whether completed or not.
    pub async fn discard(mut self) -> Result<(), LakeError> {
        self.parts.shutdown().await;
        if let Some(mut multipart) = self.multipart.take()
            && let Err(error) = multipart.abort().await
        {
            // also what a store says of an upload that is completed already
            tracing::debug!(path = %self.path, %error, "an upload could not be aborted");
        }
        self.objects.delete(&self.path).await
    }

    fn error(&self, error: object_store::Error) -> LakeError {
        self.objects.error("write", &self.path, error)
    }
}
