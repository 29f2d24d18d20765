use jiff::Timestamp;
use lakegate_crds::Kind;
use serde_json::Value;
use sqlx::Row;

use super::{StateDir, stamp};
use crate::{Key, StoreError};

/// An object created through the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunRecord {
    pub kind: Kind,
    pub key: Key,
    pub uid: String,
    pub generation: i64,
    pub created: Timestamp,
    /// With its metadata, without its status.
    pub object: Value,
    pub status: Option<Value>,
}

impl StateDir {
    pub(crate) async fn runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        let failed = self.failed("reading runs");
        let rows = sqlx::query(
            "SELECT uid, kind, namespace, name, generation, created_at, object, status
             FROM runs ORDER BY created_at, name",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(&failed)?;
        rows.iter()
            .map(|row| {
                let text = |column: &str| row.try_get::<String, _>(column).map_err(&failed);
                let (kind, key) = self.identity(&text("kind")?, text("namespace")?, text("name")?)?;
                let what = format!("{kind}/{key}");
                let status = row.try_get::<Option<String>, _>("status").map_err(&failed)?;
                Ok(RunRecord {
                    uid: text("uid")?,
                    generation: row.try_get("generation").map_err(&failed)?,
                    created: self.time(&what, &text("created_at")?)?,
                    object: self.json(&what, &text("object")?)?,
                    status: status.map(|text| self.json(&what, &text)).transpose()?,
                    kind,
                    key,
                })
            })
            .collect()
    }

    /// Whether the run is new; `false` when the name is taken, which changes nothing.
    pub(crate) async fn create_run(&self, record: &RunRecord) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO runs (uid, kind, namespace, name, generation, created_at, object)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (kind, namespace, name) DO NOTHING",
        )
        .bind(&record.uid)
        .bind(record.kind.to_string())
        .bind(&record.key.namespace)
        .bind(&record.key.name)
        .bind(record.generation)
        .bind(stamp(record.created))
        .bind(record.object.to_string())
        .execute(&self.pool)
        .await
        .map_err(self.failed("creating a run"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Whether the run was there.
    pub(crate) async fn write_run_status(&self, uid: &str, status: &Value) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE runs SET status = ?2 WHERE uid = ?1")
            .bind(uid)
            .bind(status.to_string())
            .execute(&self.pool)
            .await
            .map_err(self.failed("writing the status of a run"))?;
        Ok(done.rows_affected() > 0)
    }

    pub(crate) async fn delete_run(&self, uid: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM runs WHERE uid = ?1")
            .bind(uid)
            .execute(&self.pool)
            .await
            .map_err(self.failed("deleting a run"))?;
        Ok(())
    }
}
