//! The state directory: what must survive a restart and is in no manifest (statuses, runs, notices, the last good
//! version of each object), in SQLite.
//!
//! One process at a time: a lock file, held as long as the [`StateDir`] lives and given back by the operating
//! system when the process dies in any way. WAL with `synchronous = FULL`: what a method acknowledged is on the
//! disk, what it did not is not there at all.

mod notices;
mod objects;
mod runs;

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use lakegate_crds::Kind;
use sqlx::{
    SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{Key, StoreError};

pub(crate) use objects::{ObjectRecord, Place};
pub(crate) use runs::RunRecord;

static MIGRATOR: Migrator = sqlx::migrate!();

const DATABASE: &str = "state.db";
const LOCK: &str = "lock";

/// The open state directory of one instance. See the module's text.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    database: PathBuf,
    pool: SqlitePool,
    // Closing the file gives the lock back; after the pool, so that nobody else writes while it closes.
    _lock: File,
}

impl StateDir {
    /// Opens or creates a state directory (0700, its files 0600) and takes its lock.
    ///
    /// Fails with [`StoreError::Locked`] while another process has it, [`StoreError::NewerState`] when a newer
    /// version wrote it.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(path.into(), None).await
    }

    /// As [`StateDir::open`], but only where a state already is: for commands that read what a stopped instance
    /// left and should not leave an empty state behind at a mistyped path.
    pub async fn open_existing(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        match path.join(DATABASE).metadata() {
            Ok(_) => Self::open_with(path, None).await,
            Err(source) => Err(StoreError::StateUnusable { path, source }),
        }
    }

    /// `max_pages` bounds the database as a full disk does.
    pub(crate) async fn open_with(path: PathBuf, max_pages: Option<u32>) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::StateUnusable {
            path: path.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let lock = lock(&path)?;
        let database = path.join(DATABASE);
        // SQLite gives its journal files the permissions of the database file.
        private()
            .create(true)
            .truncate(false)
            .open(&database)
            .map_err(unusable)?;

        let mut options = SqliteConnectOptions::new()
            .filename(&database)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        if let Some(pages) = max_pages {
            options = options.pragma("max_page_count", pages.to_string());
        }
        let pool = SqlitePoolOptions::new()
            .min_connections(1)
            // All writes are one after the other in SQLite; one connection never meets a busy database.
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(|error| classify(&database, "opening it", error))?;
        let state = Self {
            path,
            database,
            pool,
            _lock: lock,
        };
        state.migrate().await?;
        Ok(state)
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything back and closes the database; the lock is given back when `self` goes.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The manifests folder served last.
    pub(crate) async fn folder(&self) -> Result<Option<PathBuf>, StoreError> {
        let folder: Option<String> = sqlx::query_scalar("SELECT value FROM facts WHERE name = 'folder'")
            .fetch_optional(&self.pool)
            .await
            .map_err(self.failed("reading the folder served last"))?;
        Ok(folder.map(PathBuf::from))
    }

    pub(crate) async fn set_folder(&self, folder: &Path) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO facts (name, value) VALUES ('folder', ?1)
             ON CONFLICT (name) DO UPDATE SET value = ?1 WHERE value <> ?1",
        )
        .bind(folder.to_string_lossy().into_owned())
        .execute(&self.pool)
        .await
        .map_err(self.failed("writing the folder served"))?;
        Ok(())
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let failed = self.failed("reading its schema version");
        let known = MIGRATOR
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or_default();
        let migrated: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
                .fetch_one(&self.pool)
                .await
                .map_err(&failed)?;
        if migrated > 0 {
            let found: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
                .fetch_one(&self.pool)
                .await
                .map_err(&failed)?;
            if let Some(found) = found.filter(|found| *found > known) {
                return Err(StoreError::NewerState {
                    path: self.path.clone(),
                    found,
                    known,
                });
            }
        }
        MIGRATOR.run(&self.pool).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _)
                if is_full(&error) =>
            {
                StoreError::DiskFull {
                    path: self.path.clone(),
                    source: error,
                }
            }
            error => StoreError::Migration {
                path: self.database.clone(),
                source: Box::new(error),
            },
        })
    }

    /// Maps a database error to one that says what was being done.
    fn failed(&self, action: &'static str) -> impl Fn(sqlx::Error) -> StoreError + '_ {
        move |error| classify(&self.database, action, error)
    }

    fn corrupt(
        &self,
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::Corrupt {
            path: self.database.clone(),
            what: what.into(),
            source: source.into(),
        }
    }

    /// The columns that identify a row, parsed.
    fn identity(&self, kind: &str, namespace: String, name: String) -> Result<(Kind, Key), StoreError> {
        let parsed = kind
            .parse::<Kind>()
            .map_err(|error| self.corrupt(format!("{kind}/{name}"), error.to_string()))?;
        Ok((parsed, Key::new(namespace, name)))
    }

    fn time(&self, what: &str, text: &str) -> Result<Timestamp, StoreError> {
        text.parse()
            .map_err(|error: jiff::Error| self.corrupt(what, error))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, what: &str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|error| self.corrupt(what, error))
    }
}

/// Fixed width, so that text order is time order.
fn stamp(time: Timestamp) -> String {
    format!("{time:.9}")
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let unusable = |source: io::Error| StoreError::StateUnusable {
        path: path.to_owned(),
        source,
    };
    let mut file = private()
        .create(true)
        .truncate(false)
        .open(path.join(LOCK))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {
            // Only for the message of the one who comes second.
            file.set_len(0).map_err(unusable)?;
            file.rewind().map_err(unusable)?;
            file.write_all(std::process::id().to_string().as_bytes())
                .map_err(unusable)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let holder = file
                .read_to_string(&mut holder)
                .ok()
                .and_then(|_| holder.trim().parse().ok());
            Err(StoreError::Locked {
                path: path.to_owned(),
                holder,
            })
        }
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn classify(database: &Path, action: &'static str, source: sqlx::Error) -> StoreError {
    if is_full(&source) {
        let path = database.parent().unwrap_or(database).to_owned();
        StoreError::DiskFull { path, source }
    } else {
        StoreError::Database {
            path: database.to_owned(),
            action,
            source,
        }
    }
}

/// SQLITE_FULL (13): no space, or a quota, or the page limit.
fn is_full(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| code & 0xff == 13)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn private_and_locked() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/state");
        let state = StateDir::open(&path).await.unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        for file in [DATABASE, "state.db-wal", LOCK] {
            assert_eq!(mode(&path.join(file)), 0o600, "{file}");
        }
        let error = StateDir::open(&path).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Locked { holder: Some(id), .. } if id == std::process::id()),
            "{error}"
        );
        drop(state);
        StateDir::open(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_newer_state_is_refused_and_left_alone() {
        let path = tempfile::tempdir().unwrap();
        let state = StateDir::open(path.path()).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'future', 1, x'00', 0)",
        )
        .execute(&state.pool)
        .await
        .unwrap();
        state.close().await;
        drop(state);
        for _ in 0..2 {
            let error = StateDir::open(path.path()).await.unwrap_err();
            assert!(
                matches!(error, StoreError::NewerState { found: 9999, .. }),
                "{error}"
            );
            assert!(error.to_string().contains("--state-dir"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_an_error() {
        let path = tempfile::tempdir().unwrap();
        std::fs::write(path.path().join(DATABASE), vec![b'x'; 8192]).unwrap();
        let error = StateDir::open(path.path()).await.unwrap_err();
        assert!(matches!(error, StoreError::Database { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_mistyped_path_is_not_created() {
        let path = tempfile::tempdir().unwrap();
        let missing = path.path().join("missing");
        assert!(matches!(
            StateDir::open_existing(&missing).await,
            Err(StoreError::StateUnusable { .. })
        ));
        assert!(!missing.exists());
    }

    #[test]
    fn stamps_sort_as_times_do() {
        let times = [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.5Z",
            "2026-01-02T03:04:06Z",
        ];
        let stamps: Vec<_> = times.map(|time| stamp(time.parse().unwrap())).to_vec();
        assert!(stamps.is_sorted(), "{stamps:?}");
        assert_eq!(stamps[1], "2026-01-02T03:04:05.500000000Z");
    }
}
