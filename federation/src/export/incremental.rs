//! Incremental exports: the rows that have changed since a cursor, newest first of each key.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{and, filter_record_batch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, SortExpr};
use datafusion::sql::sqlparser::ast::{CastKind, Expr, SelectItem};
use futures::StreamExt as _;
use jiff::Timestamp;
use lakegate_connectors::scan::SourcePosition;
use lakegate_crds::{ExportSpec, IncrementalSpec, MaskSpec};

use super::casts::casted;
pub use super::cursor::CursorKind;
use super::masks;
use super::newest::Newest;
use super::{ExportPlan, Shaped, data_type, expression, invalid, names_of, quoted, select, unknown};
use crate::Federation;
use crate::error::FederationError;
use crate::mask::MaskKeys;
use crate::session::Session;
use crate::stream::QueryStream;

/// Names that no exported column has.
const CURSOR: &str = "\u{2}cursor";
const KEPT: &str = "\u{2}kept";

/// What an export needs to be continued from a cursor.
#[derive(Debug, Clone)]
pub struct Incremental {
    /// Positions of the key columns among the exported ones.
    keys: Vec<usize>,
    /// The key columns, as the source names them.
    key_names: Vec<String>,
    kind: CursorKind,
    overlap: Duration,
    /// The cursor column is exported as it is, so that its values are no secret.
    is_clear: bool,
}

impl Incremental {
    /// Positions of the key columns among the exported ones.
    pub fn keys(&self) -> &[usize] {
        &self.keys
    }

    /// What the cursor counts in.
    pub fn kind(&self) -> CursorKind {
        self.kind
    }

    /// Where to begin after a run that has come to `cursor`; None when the text tells no such cursor.
    pub fn since(&self, cursor: &str) -> Option<i128> {
        self.kind
            .parse(cursor)
            .map(|value| self.kind.before(value, self.overlap))
    }

    /// The cursor after a run at `now` that saw values up to `highest`, and began after one that had come to `before`.
    /// It never goes back, and never beyond `now`. Of a column that is not exported in the clear it is cut to the hour.
    pub fn cursor(&self, before: Option<&str>, highest: Option<i128>, now: Timestamp) -> Option<String> {
        let before = before.and_then(|text| self.kind.parse(text));
        let seen = highest.map(|value| self.kind.ceiling(now).map_or(value, |ceiling| value.min(ceiling)));
        let value = before.max(seen)?;
        let told = if self.is_clear {
            value
        } else {
            self.kind.coarse(value)?
        };
        self.kind.text(told)
    }

    /// Of the columns of a source and what is exported of them.
    pub(super) fn new(
        spec: &ExportSpec,
        incremental: &IncrementalSpec,
        available: &SchemaRef,
        shaped: &[Shaped<'_>],
    ) -> Result<Self, FederationError> {
        let names = names_of(available);
        let of_source = |field: &str, name: &str| {
            let found = available.field_with_name(name);
            found.map_err(|_| unknown(&names, field, name))
        };
        let field = "spec.incremental.cursorColumn";
        let cursor = incremental.cursor_column.as_str();
        let found = of_source(field, cursor)?;
        let Some(kind) = CursorKind::of(found.data_type()) else {
            return Err(invalid(
                field,
                &format!(
                    "\"{cursor}\" is of a type that does not grow exactly; name a timestamp, a date, an integer or a \
                     decimal, or read it through from.query, cast to one"
                ),
            ));
        };
        if !kind.is_time()
            && incremental
                .overlap
                .as_ref()
                .is_some_and(|overlap| !overlap.get().is_zero())
        {
            return Err(invalid(
                "spec.incremental.overlap",
                &format!(
                    "it is a time, and \"{cursor}\" is a number; leave it out, or name a column of times"
                ),
            ));
        }
        if let Some(problem) = spec.cursor_mask_problem() {
            return Err(invalid(field, &problem));
        }
        let is_clear = shaped.iter().any(|column| {
            column.source.as_deref() == Some(cursor) && column.mask.is_none() && column.cast.is_none()
        });
        if !is_clear && kind.coarse(0).is_none() {
            return Err(invalid(
                field,
                &format!(
                    "\"{cursor}\" is not exported as it is, and its newest value would be recorded with each snapshot; \
                     export it, or name a column of timestamps"
                ),
            ));
        }
        let mut keys = Vec::with_capacity(incremental.key_columns.len());
        for (index, name) in incremental.key_columns.iter().enumerate() {
            let field = format!("spec.incremental.keyColumns[{index}]");
            let source = of_source(&field, name)?.data_type();
            if !is_key(source) {
                return Err(invalid(
                    &field,
                    &format!(
                        "\"{name}\" is of a type that no row is known by; name columns of whole numbers, decimals, text, times or bytes"
                    ),
                ));
            }
            let of_key = |column: &&Shaped<'_>| column.source.as_deref() == Some(name.as_str());
            let Some(position) = shaped
                .iter()
                .position(|column| of_key(&column) && keeps_apart(column, source))
            else {
                let problem = if shaped.iter().any(|column| of_key(&column)) {
                    "is exported under a mask or cast that may make two keys one; use hmac or tokenize, or none"
                } else {
                    "is not exported; a key column must be, masked or not"
                };
                return Err(invalid(&field, &format!("\"{name}\" {problem}")));
            };
            keys.push(position);
        }
        Ok(Self {
            keys,
            key_names: incremental.key_columns.clone(),
            kind,
            overlap: incremental
                .overlap
                .as_ref()
                .map_or(IncrementalSpec::OVERLAP, lakegate_crds::Duration::get),
            is_clear,
        })
    }
}

fn is_key(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_decimal()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
                | DataType::Date32
                | DataType::Date64
                | DataType::Timestamp(..)
                | DataType::Time32(_)
                | DataType::Time64(_)
        )
}

/// Whether two values of the source's column are still two in the exported one.
fn keeps_apart(column: &Shaped<'_>, source: &DataType) -> bool {
    // what does not fit fails
    let cast = column
        .cast
        .as_ref()
        .is_none_or(|cast| match cast.target.sql().as_str() {
            "text" => true,
            "smallint" | "integer" | "bigint" => source.is_integer(),
            numeric => source.is_integer() && numeric.starts_with("numeric"),
        });
    cast && column
        .mask
        .as_ref()
        .is_none_or(|mask| keeps_values_apart(mask.spec))
}

fn keeps_values_apart(mask: &MaskSpec) -> bool {
    mask.hmac.is_some() || mask.tokenize.is_some()
}

/// A planned read of changed rows.
#[derive(Debug, Clone)]
pub struct ChangesPlan {
    session: Session,
    plan: LogicalPlan,
    description: String,
    /// As they are published.
    schema: SchemaRef,
    incremental: Incremental,
    /// A column tells which rows meet `spec.where`.
    has_kept: bool,
}

impl Federation {
    /// Plans the rows of an incremental Export whose cursor is at `since` or above, or NULL; without `since` all rows.
    /// `export` is what [`Self::plan_export`] made of the same arguments.
    ///
    /// # Errors
    /// As [`Self::plan_export`].
    pub async fn plan_changes(
        self: &Arc<Self>,
        spec: &ExportSpec,
        source_catalog: Option<&str>,
        keys: &MaskKeys,
        published: Option<&BTreeSet<String>>,
        export: &ExportPlan,
        since: Option<i128>,
    ) -> Result<ChangesPlan, FederationError> {
        let (Some(incremental), Some(incremental_spec)) = (&export.incremental, &spec.incremental) else {
            return Err(FederationError::internal(
                "changes of an export that is not incremental",
            ));
        };
        let rows = self.export_rows(spec, source_catalog, published).await?;
        let cursor = incremental_spec.cursor_column.as_str();
        let condition = match &spec.r#where {
            Some(text) => Some(expression(text, "spec.where")?),
            None => None,
        };
        let mut carried = vec![SelectItem::ExprWithAlias {
            expr: Expr::Identifier(quoted(cursor)),
            alias: quoted(CURSOR),
        }];
        let (filter, kept) = match since {
            None => (condition, None),
            Some(since) => (
                Some(at_or_after(cursor, incremental.kind, since, &rows.available)?),
                condition,
            ),
        };
        let items = rows.shaped.iter().map(|column| match &kept {
            Some(kept) => only_where(column, kept, incremental, &rows.shaped),
            None => Ok(column.item.clone()),
        });
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let entities = masks::entities(&rows.shaped, &names_of(&rows.available))?;
        if let Some(kept) = &kept {
            carried.push(SelectItem::ExprWithAlias {
                expr: Expr::IsTrue(Box::new(Expr::Nested(Box::new(kept.clone())))),
                alias: quoted(KEPT),
            });
        }
        let carried_count = carried.len();
        let items = items.into_iter().chain(entities).chain(carried).collect();
        let statement = select(items, rows.from, filter)?;
        let description = statement.to_string();
        let plan = rows.session.plan(statement, &[]).await?;
        let (plan, _) = casted(plan, &rows.shaped, Some(&export.nulled))?;
        let (plan, _) = masks::masked(plan, &rows.shaped, keys, &export.domain, carried_count)?;
        let columns = plan.schema().columns();
        let column = |index: usize| {
            let column = columns.get(index).cloned().map(PlanExpr::Column);
            column.ok_or_else(|| FederationError::internal("a planned export lacks a column"))
        };
        let keys = incremental
            .keys
            .iter()
            .map(|key| Ok(column(*key)?.sort(true, true)));
        let newest_first = column(rows.shaped.len()).map(|cursor| cursor.sort(false, false));
        let order = keys
            .chain([newest_first])
            .collect::<Result<Vec<SortExpr>, FederationError>>()?;
        Ok(ChangesPlan {
            session: rows.session,
            plan: LogicalPlanBuilder::from(plan).sort(order)?.build()?,
            description,
            schema: Arc::clone(&export.schema),
            incremental: incremental.clone(),
            has_kept: kept.is_some(),
        })
    }
}

/// `"cursor" >= … OR "cursor" IS NULL`: what has no cursor may have changed.
fn at_or_after(
    cursor: &str,
    kind: CursorKind,
    since: i128,
    available: &SchemaRef,
) -> Result<Expr, FederationError> {
    let Some(text) = kind.literal(since) else {
        return Err(FederationError::internal("a cursor before all calendars"));
    };
    let mut condition = expression(&format!("a >= '{text}' OR a IS NULL"), "the cursor")?;
    let column = || Box::new(Expr::Identifier(quoted(cursor)));
    let Expr::BinaryOp { left, right, .. } = &mut condition else {
        return Err(FederationError::internal("the cursor's condition is no OR"));
    };
    if let Expr::BinaryOp { left, right, .. } = left.as_mut() {
        *left = column();
        **right = Expr::Cast {
            kind: CastKind::Cast,
            expr: right.clone(),
            data_type: data_type(&kind.sql_type(since), "the cursor")?,
            array: false,
            format: None,
        };
    }
    if let Expr::IsNull(operand) = right.as_mut() {
        *operand = column();
    }
    let is_nullable = available.field_with_name(cursor).is_ok_and(Field::is_nullable);
    Ok(if is_nullable { condition } else { (**left).clone() })
}

/// What is computed is computed of rows that meet the condition only: of others it may fail. Keys are needed of all.
fn only_where(
    column: &Shaped<'_>,
    condition: &Expr,
    incremental: &Incremental,
    shaped: &[Shaped<'_>],
) -> Result<SelectItem, FederationError> {
    let item = &column.item;
    let SelectItem::ExprWithAlias { expr, alias } = item else {
        return Ok(item.clone());
    };
    let is_key = incremental
        .keys
        .iter()
        .any(|key| shaped.get(*key).is_some_and(|key| key.item == *item));
    let may_fail = column.cast.is_some() || !matches!(expr, Expr::Identifier(_));
    if is_key || !may_fail {
        return Ok(item.clone());
    }
    let mut guarded = expression("CASE WHEN true THEN true END", "spec.where")?;
    if let Expr::Case { conditions, .. } = &mut guarded {
        for case in conditions {
            case.condition = condition.clone();
            case.result = expr.clone();
        }
    }
    Ok(SelectItem::ExprWithAlias {
        expr: guarded,
        alias: alias.clone(),
    })
}

impl ChangesPlan {
    /// Starts reading.
    ///
    /// # Errors
    /// Only what shows before any work.
    pub fn execute(&self) -> Result<Changes, FederationError> {
        let stream = self
            .session
            .execute_with_positions(self.plan.clone(), &self.description)?;
        let planned = stream.schema();
        let sorts = self
            .incremental
            .keys
            .iter()
            .map(|key| SortField::new(planned.field(*key).data_type().clone()));
        Ok(Changes {
            stream,
            newest: Newest::new(
                self.schema.fields().len(),
                self.incremental.keys.clone(),
                self.incremental.key_names.clone(),
                RowConverter::new(sorts.collect())?,
            ),
            schema: Arc::clone(&self.schema),
            kind: self.incremental.kind,
            has_kept: self.has_kept,
            seen: Seen::default(),
        })
    }
}

/// What was seen while changes were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// All rows.
    pub rows: u64,
    /// Rows that a newer one of the same key stands for.
    pub superseded: u64,
    /// Rows whose cursor is NULL.
    pub without_cursor: u64,
    /// Rows that do not meet `spec.where` any more.
    pub unwanted: u64,
    /// The highest cursor.
    pub highest: Option<i128>,
}

/// One row a key.
#[derive(Debug, Clone)]
pub struct ChangedRows {
    /// Every key that has changed, with the exported columns; those of a row that is not published may be NULL.
    pub changed: RecordBatch,
    /// The rows to publish.
    pub published: RecordBatch,
}

/// Changed rows, as they are read.
pub struct Changes {
    stream: QueryStream,
    newest: Newest,
    schema: SchemaRef,
    kind: CursorKind,
    has_kept: bool,
    seen: Seen,
}

impl fmt::Debug for Changes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Changes")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl Changes {
    /// The next rows; None at the end.
    ///
    /// # Errors
    /// `InvalidExport` for a key that is NULL, and for rows of one key of which none is the newest; whatever the
    /// source's reading meets.
    pub async fn next(&mut self) -> Option<Result<ChangedRows, FederationError>> {
        let batch = self.stream.next().await?;
        Some(batch.and_then(|batch| self.look_at(&batch)))
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// Where in their logs the stores stood that were read so far.
    pub fn positions(&self) -> Vec<SourcePosition> {
        self.stream.positions()
    }

    fn look_at(&mut self, batch: &RecordBatch) -> Result<ChangedRows, FederationError> {
        let columns = self.schema.fields().len();
        let column = |index: usize| {
            let column = batch.columns().get(index);
            column.ok_or_else(|| FederationError::internal("a batch lacks a column that was planned"))
        };
        let cursor = column(columns)?;
        self.seen.rows += batch.num_rows() as u64;
        self.seen.without_cursor += cursor.null_count() as u64;
        self.seen.highest = self.seen.highest.max(self.kind.highest(cursor));
        let newest = self.newest.of(batch, cursor)?;
        self.seen.superseded += (newest.len() - newest.true_count()) as u64;

        let exported: Vec<usize> = (0..columns).collect();
        let rows = batch.project(&exported)?;
        let changed = filter_record_batch(&rows, &newest)?;
        let published = if self.has_kept {
            // never null: IS TRUE
            let kept = column(columns + 1)?.as_boolean();
            let published = and(&newest, kept)?;
            self.seen.unwanted += (newest.true_count() - published.true_count()) as u64;
            filter_record_batch(&rows, &published)?
        } else {
            changed.clone()
        };
        // what is computed of some rows only may be NULL by its type, and is not
        let published = RecordBatch::try_new(Arc::clone(&self.schema), published.columns().to_vec())?;
        Ok(ChangedRows { changed, published })
    }
}
