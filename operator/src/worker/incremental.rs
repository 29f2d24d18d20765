//! Incremental attempts: what has changed since the cursor of the table, merged into it; everything, where there is no
//! cursor to go on from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use lakegate_federation::{
    Changes, ExportPlan, Federation, Incremental, Seen, SourcePosition, mask::MaskKeys,
};
use lakegate_lake::{Lake, LakeError, LakeTable, TableMerge, TableWriter};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    Copied, Phase, State, abort,
    failures::{Stage, federation_failure, lake_failure, reading_failure},
    masking::{COUNTING_SHARE, Inspection},
    writer,
};
use crate::{
    clock::{Clock as _, SystemClock},
    protocol::{Failure, WorkOrder},
};

/// Keys of the snapshot's summary.
const CURSOR: &str = "cursor";
const SHAPE: &str = "incremental-shape";
const WITHOUT_CURSOR: &str = "rows-without-cursor";
const SUPERSEDED: &str = "superseded-rows";
const UNWANTED: &str = "rows-left-by-where";

/// What an incremental attempt reads with.
pub(super) struct Reading<'a> {
    pub order: &'a WorkOrder,
    pub lake: &'a Lake,
    pub federation: &'a Arc<Federation>,
    pub catalog: Option<&'a str>,
    pub keys: &'a MaskKeys,
    /// Columns of the lake table.
    pub published: Option<&'a BTreeSet<String>>,
    pub plan: &'a ExportPlan,
    pub incremental: &'a Incremental,
}

/// Where an attempt goes on.
struct Start {
    table: LakeTable,
    /// How far the table has come.
    cursor: String,
    /// Where to begin.
    since: i128,
}

/// Why nothing could be merged.
enum NotMerged {
    /// Everything is to be read instead.
    ReadAll(String),
    Failed(Failure),
}

impl From<Failure> for NotMerged {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Reading<'_> {
    /// Writes what has changed, and what has to be written again because of it.
    pub(super) async fn copy(
        &self,
        inspection: &mut Inspection,
        state: &Arc<State>,
    ) -> Result<Copied, Failure> {
        let shape = self.shape();
        let start = match self.start(&shape).await? {
            Ok(start) => start,
            Err(why) => return self.read_all(inspection, state, &shape, why).await,
        };
        match self.merge(inspection, state, &shape, &start).await {
            Ok(copied) => Ok(copied),
            Err(NotMerged::Failed(failure)) => Err(failure),
            Err(NotMerged::ReadAll(why)) => {
                tracing::info!(why, "the changes cannot be merged: everything is read");
                *inspection = Inspection::new(self.order, self.plan)?;
                self.plan.forget_nulled();
                state.rows.store(0, Ordering::Relaxed);
                state.bytes.store(0, Ordering::Relaxed);
                self.read_all(inspection, state, &shape, Some(why)).await
            }
        }
    }

    /// Where the table stands; in words why it cannot be gone on from, none where there is no table yet.
    async fn start(&self, shape: &str) -> Result<Result<Start, Option<String>>, Failure> {
        let destination = &self.order.spec.destination;
        let table = self.lake.load(&destination.schema, &destination.table).await;
        let Some(table) = table.map_err(|error| lake_failure(&error))? else {
            return Ok(Err(None));
        };
        let no = |why: &str| Ok(Err(Some(why.to_owned())));
        if table.export_uid() != self.order.run.export_uid.as_deref() {
            return no("the table was written by another Export");
        }
        match table.recorded(SHAPE) {
            None => return no("the table's last run was not incremental"),
            Some(known) if known != shape => {
                return no("the export's source, columns, masks, keys or condition have changed");
            }
            Some(_) => {}
        }
        let Some(cursor) = table.recorded(CURSOR).map(str::to_owned) else {
            return no("no row had a cursor");
        };
        let Some(since) = self.incremental.since(&cursor) else {
            return no("the table's cursor cannot be read");
        };
        Ok(Ok(Start { table, cursor, since }))
    }

    async fn writer(&self, state: &Arc<State>) -> Result<TableWriter, Failure> {
        writer(
            self.order,
            self.lake,
            self.plan,
            self.federation.runtime_env(),
            state,
        )
        .await
    }

    async fn changes(&self, since: Option<i128>) -> Result<Changes, Failure> {
        let (spec, keys) = (&self.order.spec, self.keys);
        let planned = self
            .federation
            .plan_changes(spec, self.catalog, keys, self.published, self.plan, since)
            .await;
        let plan = planned.map_err(|error| federation_failure(&error, Stage::Planning))?;
        plan.execute()
            .map_err(|error| reading_failure(self.order, &error))
    }

    /// Replaces the table.
    async fn read_all(
        &self,
        inspection: &mut Inspection,
        state: &Arc<State>,
        shape: &str,
        full_read: Option<String>,
    ) -> Result<Copied, Failure> {
        let mut writer = self.writer(state).await?;
        state.enter(Phase::Copying);
        let (seen, positions) = match self.write_all(&mut writer, inspection, state).await {
            Ok(read) => read,
            Err(failure) => {
                abort(writer).await;
                return Err(failure);
            }
        };
        Ok(Copied {
            written: writer.close().await.map_err(|error| lake_failure(&error))?,
            positions,
            summary: self.summary(shape, None, &seen),
            since: None,
            full_read,
        })
    }

    async fn write_all(
        &self,
        writer: &mut TableWriter,
        inspection: &mut Inspection,
        state: &Arc<State>,
    ) -> Result<(Seen, Vec<SourcePosition>), Failure> {
        let mut changes = self.changes(None).await?;
        while let Some(rows) = changes.next().await {
            let rows = rows.map_err(|error| reading_failure(self.order, &error))?;
            inspection.look_at(&rows.published)?;
            let written = rows.published.num_rows() as u64;
            writer
                .write(rows.published)
                .await
                .map_err(|error| lake_failure(&error))?;
            state.rows.fetch_add(written, Ordering::Relaxed);
        }
        Ok((changes.seen(), changes.positions()))
    }

    /// Merges what has changed into the table.
    async fn merge(
        &self,
        inspection: &mut Inspection,
        state: &Arc<State>,
        shape: &str,
        start: &Start,
    ) -> Result<Copied, NotMerged> {
        let mut writer = self.writer(state).await?;
        state.enter(Phase::Copying);
        let memory = self.order.memory_bytes / COUNTING_SHARE;
        let begun = self
            .lake
            .merge(&start.table, &writer, self.incremental.keys(), memory)
            .await;
        let outcome = match begun.map_err(|error| lake_failure(&error)) {
            Ok(Some(mut merge)) => {
                let written = self
                    .write_changes(&mut writer, &mut merge, inspection, state, start.since)
                    .await;
                written.map(|read| (merge, read))
            }
            Ok(None) => Err(NotMerged::ReadAll("the table has other columns".to_owned())),
            Err(failure) => Err(failure.into()),
        };
        let (merge, (seen, positions)) = match outcome {
            Ok(done) => done,
            Err(error) => {
                abort(writer).await;
                return Err(error);
            }
        };
        // first these, then what is written again: both at once would take twice the memory
        let new = writer.close().await.map_err(|error| lake_failure(&error))?;
        let written = merge.finish(new).await.map_err(|error| lake_failure(&error))?;
        Ok(Copied {
            written,
            positions,
            summary: self.summary(shape, Some(&start.cursor), &seen),
            since: self.incremental.kind().text(start.since),
            full_read: None,
        })
    }

    async fn write_changes(
        &self,
        writer: &mut TableWriter,
        merge: &mut TableMerge,
        inspection: &mut Inspection,
        state: &Arc<State>,
        since: i128,
    ) -> Result<(Seen, Vec<SourcePosition>), NotMerged> {
        let mut changes = self.changes(Some(since)).await?;
        while let Some(rows) = changes.next().await {
            let rows = rows.map_err(|error| reading_failure(self.order, &error))?;
            match merge.add(&rows.changed) {
                Ok(()) => {}
                Err(LakeError::TooManyChanges { limit, .. }) => {
                    return Err(NotMerged::ReadAll(format!("more than {limit} rows have changed")));
                }
                Err(error) => return Err(lake_failure(&error).into()),
            }
            inspection.look_at(&rows.published)?;
            let written = rows.published.num_rows() as u64;
            writer
                .write(rows.published)
                .await
                .map_err(|error| lake_failure(&error))?;
            state.rows.fetch_add(written, Ordering::Relaxed);
        }
        Ok((changes.seen(), changes.positions()))
    }

    /// What the snapshot says of how far the table has come.
    fn summary(&self, shape: &str, before: Option<&str>, seen: &Seen) -> BTreeMap<String, String> {
        let cursor = self.incremental.cursor(before, seen.highest, SystemClock.now());
        let counts = [
            (WITHOUT_CURSOR, seen.without_cursor),
            (SUPERSEDED, seen.superseded),
            (UNWANTED, seen.unwanted),
        ];
        let counts = counts.into_iter().filter(|(_, rows)| *rows > 0);
        let counts = counts.map(|(key, rows)| (key.to_owned(), rows.to_string()));
        let cursor = cursor.map(|cursor| (CURSOR.to_owned(), cursor));
        [(SHAPE.to_owned(), shape.to_owned())]
            .into_iter()
            .chain(cursor)
            .chain(counts)
            .collect()
    }

    /// A hash of all that decides what rows the table has, but for the rows of the source: when it is another, what was
    /// published before cannot be gone on from.
    fn shape(&self) -> String {
        let (spec, plan) = (&self.order.spec, self.plan);
        let masks: Vec<_> = plan
            .masks()
            .iter()
            .map(|mask| {
                let mask = mask.as_ref()?;
                let key = mask.key.as_ref().map(|key| &key.id);
                Some(json!({"method": mask.method, "domain": mask.domain, "key": key}))
            })
            .collect();
        let columns: Vec<_> = plan
            .schema()
            .fields()
            .iter()
            .map(|field| json!([field.name(), field.data_type().to_string(), field.is_nullable()]))
            .collect();
        let incremental = spec.incremental.as_ref();
        let shape = json!({
            "from": spec.from,
            "columns": spec.columns,
            "where": spec.r#where,
            "cursor": incremental.map(|it| &it.cursor_column),
            "cursorKind": format!("{:?}", self.incremental.kind()),
            "keys": incremental.map(|it| &it.key_columns),
            "schema": columns,
            "masks": masks,
        });
        let hash = Sha256::digest(shape.to_string());
        hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}
