//! Threads, memory and spill files that queries run on.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Cause, FederationError};

/// Debug builds of the planner need more than the usual 2 MiB; untouched pages cost nothing.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// The resources of one [`crate::Federation`].
#[derive(Debug, Clone)]
pub struct FederationOptions {
    /// Threads that execute queries over data; at least 1.
    pub threads: usize,
    /// Parts in which a query reads and works, where its source can be read in parts; None is one a thread.
    pub partitions: Option<usize>,
    /// Bytes that the operators of all queries may hold together.
    pub memory_bytes: usize,
    /// Where spill files go, in `<dir>/spill`; None keeps operators in memory, so that
    /// one which outgrows the pool fails.
    pub spill_dir: Option<PathBuf>,
    /// Bytes of spill files.
    pub spill_bytes: u64,
    /// Rows of a batch.
    pub batch_rows: usize,
}

impl Default for FederationOptions {
    fn default() -> Self {
        Self {
            threads: available_parallelism().map_or(2, NonZeroUsize::get),
            partitions: None,
            memory_bytes: 1 << 30,
            spill_dir: None,
            spill_bytes: 100 << 30,
            batch_rows: 8192,
        }
    }
}

pub(crate) fn runtime_env(options: &FederationOptions) -> Result<Arc<RuntimeEnv>, FederationError> {
    let mode = match &options.spill_dir {
        Some(dir) => {
            let dir = dir.join("spill");
            // files of a process that was killed; the state directory's lock says it is gone
            if dir.exists() {
                std::fs::remove_dir_all(&dir).map_err(|error| spill_failed(&dir, &error))?;
            }
            std::fs::create_dir_all(&dir).map_err(|error| spill_failed(&dir, &error))?;
            DiskManagerMode::Directories(vec![dir])
        }
        None => DiskManagerMode::Disabled,
    };
    let disk = DiskManagerBuilder::default()
        .with_mode(mode)
        .with_max_temp_directory_size(options.spill_bytes);
    let consumers = NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN);
    let pool = TrackConsumersPool::new(FairSpillPool::new(options.memory_bytes), consumers);
    let environment = RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_memory_pool(Arc::new(pool))
        .build_arc()?;
    Ok(environment)
}

fn spill_failed(dir: &std::path::Path, error: &std::io::Error) -> FederationError {
    Cause::DiskFull {
        message: format!("cannot use the spill directory {}: {error}", dir.display()),
    }
    .into()
}

/// Two runtimes: queries over data never share threads with planning, constants and
/// catalog-only queries, so those never wait behind a join.
#[derive(Debug)]
pub(crate) struct Runtimes {
    cpu: Option<Runtime>,
    light: Option<Runtime>,
}

impl Runtimes {
    pub(crate) fn new(threads: usize) -> Result<Self, FederationError> {
        let build = |name: &str, threads: usize| {
            Builder::new_multi_thread()
                .worker_threads(threads.max(1))
                .thread_name(name)
                .thread_stack_size(STACK_BYTES)
                .enable_all()
                .build()
                .map_err(|error| FederationError::internal(format!("cannot start threads: {error}")))
        };
        Ok(Self {
            cpu: Some(build("query", threads)?),
            light: Some(build("plan", 2)?),
        })
    }

    fn handle(runtime: Option<&Runtime>) -> Result<Handle, FederationError> {
        runtime
            .map(|runtime| runtime.handle().clone())
            .ok_or_else(|| FederationError::internal("the query threads have stopped"))
    }

    /// Runs queries over data.
    pub(crate) fn cpu(&self) -> Result<Handle, FederationError> {
        Self::handle(self.cpu.as_ref())
    }

    /// Runs planning and queries over nothing but memory.
    pub(crate) fn light(&self) -> Result<Handle, FederationError> {
        Self::handle(self.light.as_ref())
    }
}

impl Drop for Runtimes {
    fn drop(&mut self) {
        // dropping a runtime waits for its threads, which panics inside another runtime
        for runtime in [self.cpu.take(), self.light.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}
