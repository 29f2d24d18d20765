//! A store that misbehaves on demand.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// One changing request, as the fault plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub kind: Kind,
    pub path: String,
    /// Counts changing requests from 1.
    pub number: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Put,
    Create,
    Complete,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, an error is returned.
    Before,
    /// It happens, and an error is returned: the reply was lost.
    After,
    /// It happens, and the store answers its own retry with "already exists".
    Conflict,
    /// It does not happen, and the store says "already exists", as S3 does for two writers at the same time.
    FalseConflict,
    /// The process dies before it: nothing works from here on.
    DieBefore,
    /// The process dies after it.
    DieAfter,
    /// No space is left.
    Full,
}

type Plan = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

pub struct Faults {
    plan: Box<Plan>,
    requests: Mutex<Vec<Request>>,
    dead: AtomicBool,
    /// Reads fail too.
    blind: AtomicBool,
    /// Bytes that uploads may still take.
    space: AtomicUsize,
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Faults")
            .field("dead", &self.dead)
            .finish_non_exhaustive()
    }
}

impl Faults {
    pub fn new(plan: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            plan: Box::new(plan),
            requests: Mutex::default(),
            dead: AtomicBool::new(false),
            blind: AtomicBool::new(false),
            space: AtomicUsize::new(usize::MAX),
        })
    }

    pub fn none() -> Arc<Self> {
        Self::new(|_| None)
    }

    pub fn with_space(bytes: usize) -> Arc<Self> {
        let faults = Self::none();
        faults.space.store(bytes, Ordering::SeqCst);
        faults
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub fn set_blind(&self, blind: bool) {
        self.blind.store(blind, Ordering::SeqCst);
    }

    fn alive(&self) -> Result<()> {
        if self.is_dead() {
            Err(failure("the process is dead"))
        } else {
            Ok(())
        }
    }

    fn readable(&self) -> Result<()> {
        self.alive()?;
        if self.blind.load(Ordering::SeqCst) {
            Err(failure("the network is gone"))
        } else {
            Ok(())
        }
    }

    fn take_space(&self, bytes: usize) -> Result<()> {
        let left = self.space.load(Ordering::SeqCst);
        if bytes > left {
            return Err(full());
        }
        if left != usize::MAX {
            self.space.fetch_sub(bytes, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Decides what happens to a request; `Ok(Some(error))` is to be returned after it was performed.
    fn before(&self, kind: Kind, path: &Path) -> Result<Option<object_store::Error>> {
        self.alive()?;
        // what the store is tried with is no step of a run
        if path.as_ref().starts_with("_lakegate/") {
            return Ok(None);
        }
        let request = {
            let mut requests = self.requests.lock().unwrap();
            let request = Request {
                kind,
                path: path.to_string(),
                number: requests.len() + 1,
            };
            requests.push(request.clone());
            request
        };
        match (self.plan)(&request) {
            None => Ok(None),
            Some(Fault::Before) => Err(failure("the request was not sent")),
            Some(Fault::After) => Ok(Some(failure("the reply was lost"))),
            Some(Fault::Conflict) => Ok(Some(exists(path))),
            Some(Fault::FalseConflict) => Err(exists(path)),
            Some(Fault::DieBefore) => {
                self.dead.store(true, Ordering::SeqCst);
                self.alive().map(|()| None)
            }
            Some(Fault::DieAfter) => Ok(Some(failure("the process is dead"))),
            Some(Fault::Full) => Err(full()),
        }
    }

    fn after(&self, error: Option<object_store::Error>) -> Result<()> {
        match error {
            None => Ok(()),
            Some(error) => {
                if error.to_string().contains("is dead") {
                    self.dead.store(true, Ordering::SeqCst);
                }
                Err(error)
            }
        }
    }
}

fn failure(text: &'static str) -> object_store::Error {
    object_store::Error::Generic {
        store: "test",
        source: text.into(),
    }
}

fn full() -> object_store::Error {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    object_store::Error::Generic {
        store: "test",
        source: Box::new(source),
    }
}

fn exists(path: &Path) -> object_store::Error {
    object_store::Error::AlreadyExists {
        path: path.to_string(),
        source: "it exists".into(),
    }
}

#[derive(Debug)]
pub struct FaultyStore {
    pub inner: Arc<dyn ObjectStore>,
    pub faults: Arc<Faults>,
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let kind = if options.mode == PutMode::Create {
            Kind::Create
        } else {
            Kind::Put
        };
        let error = self.faults.before(kind, path)?;
        self.faults.take_space(payload.content_length())?;
        let result = self.inner.put_opts(path, payload, options).await?;
        self.faults.after(error)?;
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.faults.alive()?;
        let inner = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(FaultyUpload {
            inner,
            path: path.clone(),
            faults: Arc::clone(&self.faults),
        }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.faults.readable()?;
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.faults.readable()?;
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        use futures::{StreamExt, TryStreamExt};
        let (inner, faults) = (Arc::clone(&self.inner), Arc::clone(&self.faults));
        paths
            .and_then(move |path| {
                let (inner, faults) = (Arc::clone(&inner), Arc::clone(&faults));
                async move {
                    use object_store::ObjectStoreExt;
                    let error = faults.before(Kind::Delete, &path)?;
                    inner.delete(&path).await?;
                    faults.after(error)?;
                    Ok(path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        use futures::StreamExt;
        if let Err(error) = self.faults.readable() {
            return futures::stream::once(async { Err(error) }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.faults.readable()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.faults.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    path: Path,
    faults: Arc<Faults>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let allowed = self
            .faults
            .alive()
            .and_then(|()| self.faults.take_space(data.content_length()));
        match allowed {
            Ok(()) => self.inner.put_part(data),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let error = self.faults.before(Kind::Complete, &self.path)?;
        let result = self.inner.complete().await?;
        self.faults.after(error)?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.faults.alive()?;
        self.inner.abort().await
    }
}
