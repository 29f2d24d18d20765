use sqlx::Row;

use super::{StateDir, stamp};
use crate::{Notice, NoticeType, StoreError, notices::NOTICES_KEPT};

impl StateDir {
    /// Adds a notice, or counts it when the same one is there, and drops the oldest beyond [`NOTICES_KEPT`].
    pub(crate) async fn publish_notice(&self, notice: &Notice) -> Result<(), StoreError> {
        let failed = self.failed("writing a notice");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        sqlx::query(
            "INSERT INTO notices (kind, namespace, name, uid, type, reason, message, count, first_at, last_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (kind, namespace, name, uid, type, reason, message) DO UPDATE SET
                 count = count + excluded.count,
                 first_at = min(first_at, excluded.first_at),
                 last_at = max(last_at, excluded.last_at)",
        )
        .bind(notice.kind.to_string())
        .bind(&notice.key.namespace)
        .bind(&notice.key.name)
        .bind(&notice.uid)
        .bind(notice.notice_type.as_str())
        .bind(&notice.reason)
        .bind(&notice.message)
        .bind(i64::try_from(notice.count).unwrap_or(i64::MAX))
        .bind(stamp(notice.first))
        .bind(stamp(notice.last))
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        sqlx::query(
            "DELETE FROM notices WHERE id NOT IN
                 (SELECT id FROM notices ORDER BY last_at DESC, id DESC LIMIT ?1)",
        )
        .bind(NOTICES_KEPT as i64)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    pub(crate) async fn notices(&self) -> Result<Vec<Notice>, StoreError> {
        let failed = self.failed("reading notices");
        let rows = sqlx::query(
            "SELECT kind, namespace, name, uid, type, reason, message, count, first_at, last_at
             FROM notices ORDER BY last_at DESC, id DESC",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(&failed)?;
        rows.iter()
            .map(|row| {
                let text = |column: &str| row.try_get::<String, _>(column).map_err(&failed);
                let (kind, key) = self.identity(&text("kind")?, text("namespace")?, text("name")?)?;
                let what = format!("the notices of {kind}/{key}");
                let count: i64 = row.try_get("count").map_err(&failed)?;
                Ok(Notice {
                    uid: text("uid")?,
                    notice_type: match text("type")?.as_str() {
                        "Warning" => NoticeType::Warning,
                        _ => NoticeType::Normal,
                    },
                    reason: text("reason")?,
                    message: text("message")?,
                    count: u64::try_from(count).unwrap_or(1),
                    first: self.time(&what, &text("first_at")?)?,
                    last: self.time(&what, &text("last_at")?)?,
                    kind,
                    key,
                })
            })
            .collect()
    }
}
