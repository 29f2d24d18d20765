use std::fmt;

use jiff::Timestamp;
use lakegate_crds::Kind;
use lakegate_crds::validation::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;

use super::{StateDir, stamp};
use crate::{Key, Rejected, StoreError};

/// A place in the manifests folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Path below the folder, with `/`.
    pub file: String,

    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// What the state knows of one object of the folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ObjectRecord {
    pub kind: Kind,
    pub key: Key,
    pub uid: String,
    pub generation: i64,
    pub created: Timestamp,
    /// The last good manifest as written.
    pub manifest: Option<Value>,
    /// Where the newest edit stands.
    pub place: Place,
    /// Where the last good one stood.
    pub good_place: Option<Place>,
    pub rejected: Option<Rejected>,
    pub status: Option<Value>,
    pub vanished: Option<Timestamp>,
    /// It stays after it vanished, until it is released.
    pub held: bool,
    /// When its deletion takes effect; set while it is held and has vanished.
    pub deletion: Option<Timestamp>,
    /// Its deletion is final.
    pub deletion_is_final: bool,
}

impl ObjectRecord {
    /// Whether it is shown: it lives, or waits for its release.
    pub fn is_shown(&self) -> bool {
        self.vanished.is_none() || self.held
    }

    /// Whether a manifest of its name, should one appear, is another object.
    pub fn is_lost(&self, now: Timestamp) -> bool {
        self.deletion_is_final || self.deletion.is_some_and(|deletion| deletion <= now)
    }
}

/// The stored form of [`Rejected`].
#[derive(Serialize, Deserialize)]
struct StoredRejection {
    origin: String,
    problems: Vec<StoredProblem>,
}

#[derive(Serialize, Deserialize)]
struct StoredProblem {
    field: String,
    message: String,
    reason: String,
}

fn store_rejection(rejected: &Rejected) -> String {
    let stored = StoredRejection {
        origin: rejected.origin.clone(),
        problems: rejected
            .problems
            .iter()
            .map(|problem| StoredProblem {
                field: problem.field.clone(),
                message: problem.message.clone(),
                reason: problem.reason.to_string(),
            })
            .collect(),
    };
    // Strings only: serialising them cannot fail.
    serde_json::to_string(&stored).unwrap_or_default()
}

impl StateDir {
    /// All objects, those that vanished too, oldest first.
    pub(crate) async fn objects(&self) -> Result<Vec<ObjectRecord>, StoreError> {
        let failed = self.failed("reading objects");
        let rows = sqlx::query(
            "SELECT uid, kind, namespace, name, generation, created_at, manifest, file, line, good_file, good_line,
                    rejected, status, vanished_at, held, deletion_at, deletion_final
             FROM objects ORDER BY created_at, uid",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(&failed)?;
        rows.iter().map(|row| self.object(row)).collect()
    }

    fn object(&self, row: &sqlx::sqlite::SqliteRow) -> Result<ObjectRecord, StoreError> {
        let failed = self.failed("reading an object");
        let text = |column: &str| row.try_get::<String, _>(column).map_err(&failed);
        let maybe = |column: &str| row.try_get::<Option<String>, _>(column).map_err(&failed);
        let (kind, key) = self.identity(&text("kind")?, text("namespace")?, text("name")?)?;
        let what = format!("{kind}/{key}");
        let json = |column: &str| {
            maybe(column)?
                .map(|text| self.json::<Value>(&what, &text))
                .transpose()
        };
        let rejected = maybe("rejected")?
            .map(|text| self.json::<StoredRejection>(&what, &text))
            .transpose()?
            .map(|stored| {
                let problems = stored
                    .problems
                    .into_iter()
                    .map(|problem| {
                        let reason = problem.reason.parse().map_err(|_| {
                            self.corrupt(&what, format!("unknown reason {:?}", problem.reason))
                        })?;
                        Ok(Problem {
                            field: problem.field,
                            message: problem.message,
                            reason,
                        })
                    })
                    .collect::<Result<_, StoreError>>()?;
                Ok::<_, StoreError>(Rejected {
                    problems,
                    origin: stored.origin,
                })
            })
            .transpose()?;
        let line = |column: &str| row.try_get::<Option<i64>, _>(column).map_err(&failed);
        let place = |file: Option<String>, line: Option<i64>| {
            Some(Place {
                file: file?,
                line: usize::try_from(line?).unwrap_or_default(),
            })
        };
        Ok(ObjectRecord {
            uid: text("uid")?,
            generation: row.try_get("generation").map_err(&failed)?,
            created: self.time(&what, &text("created_at")?)?,
            manifest: json("manifest")?,
            place: place(Some(text("file")?), line("line")?).unwrap_or(Place {
                file: String::new(),
                line: 0,
            }),
            good_place: place(maybe("good_file")?, line("good_line")?),
            rejected,
            status: json("status")?,
            vanished: maybe("vanished_at")?
                .map(|text| self.time(&what, &text))
                .transpose()?,
            held: row.try_get("held").map_err(&failed)?,
            deletion: maybe("deletion_at")?
                .map(|text| self.time(&what, &text))
                .transpose()?,
            deletion_is_final: row.try_get("deletion_final").map_err(&failed)?,
            kind,
            key,
        })
    }

    /// Writes all of `records` or none. Their statuses are left as they are: only `write_object_status` writes
    /// those.
    pub(crate) async fn put_objects(&self, records: &[ObjectRecord]) -> Result<(), StoreError> {
        let failed = self.failed("writing objects");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        for record in records {
            sqlx::query(
                "INSERT INTO objects (uid, kind, namespace, name, generation, created_at, manifest, file, line,
                                      good_file, good_line, rejected, vanished_at, held, deletion_at, deletion_final)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
                 ON CONFLICT (uid) DO UPDATE SET generation = ?5, manifest = ?7, file = ?8, line = ?9,
                     good_file = ?10, good_line = ?11, rejected = ?12, vanished_at = ?13, held = ?14,
                     deletion_at = ?15, deletion_final = ?16",
            )
            .bind(&record.uid)
            .bind(record.kind.to_string())
            .bind(&record.key.namespace)
            .bind(&record.key.name)
            .bind(record.generation)
            .bind(stamp(record.created))
            .bind(record.manifest.as_ref().map(Value::to_string))
            .bind(&record.place.file)
            .bind(record.place.line as i64)
            .bind(record.good_place.as_ref().map(|place| place.file.clone()))
            .bind(record.good_place.as_ref().map(|place| place.line as i64))
            .bind(record.rejected.as_ref().map(store_rejection))
            .bind(record.vanished.map(stamp))
            .bind(record.held)
            .bind(record.deletion.map(stamp))
            .bind(record.deletion_is_final)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// Whether the object was there.
    pub(crate) async fn write_object_status(&self, uid: &str, status: &Value) -> Result<bool, StoreError> {
        let done =
            sqlx::query("UPDATE objects SET status = ?2 WHERE uid = ?1 AND (vanished_at IS NULL OR held)")
                .bind(uid)
                .bind(status.to_string())
                .execute(&self.pool)
                .await
                .map_err(self.failed("writing a status"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets an object that vanished. One that lives (again), or is held, stays.
    pub(crate) async fn forget_object(&self, uid: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM objects WHERE uid = ?1 AND vanished_at IS NOT NULL AND NOT held")
            .bind(uid)
            .execute(&self.pool)
            .await
            .map_err(self.failed("forgetting an object"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets an object that vanished and was held, for what was to be done about it is done.
    pub(crate) async fn remove_object(&self, uid: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM objects WHERE uid = ?1 AND vanished_at IS NOT NULL")
            .bind(uid)
            .execute(&self.pool)
            .await
            .map_err(self.failed("removing an object"))?;
        Ok(())
    }
}
