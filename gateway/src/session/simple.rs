//! The simple query protocol.

use std::time::Instant;

use datafusion::sql::sqlparser::ast::Statement as Ast;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};

use super::guard::Guard;
use super::rows::Rows;
use super::{Answer, Connection, Planned, Portal, Trouble};
use crate::encode::copy::{CopyEncoder, CopyFormat, CopyOptions};
use crate::encode::{Format, RowEncoder};
use crate::fault::Fault;
use crate::statement::{self, Command};

impl Connection {
    /// Runs every statement of a text; an error ends it.
    pub(super) async fn simple(&mut self, sql: &str, guard: &Guard) -> Answer {
        // the unnamed statement and portal do not survive a simple query
        self.statements.remove("");
        self.portals.remove("");
        let statements = statement::parse(sql)?;
        if statements.is_empty() {
            self.outbox.empty_query()?;
        }
        for statement in statements {
            guard.check()?;
            let started = Instant::now();
            let outcome = self
                .run_simple(statement.command, &statement.sql, sql, guard)
                .await;
            record(&outcome, started);
            outcome?;
        }
        self.end_of_pipeline();
        self.ready().await
    }

    /// `own` is the statement's text, `sql` the whole text.
    async fn run_simple(&mut self, command: Command, own: &str, sql: &str, guard: &Guard) -> Answer {
        self.check_transaction(&command)?;
        match command {
            Command::Query(query) => {
                let planned = self.plan(&query, &[], sql, guard).await?;
                need_no_parameters(planned.parameters.len())?;
                let mut rows = self.start(planned.plan, own, guard)?;
                self.outbox.row_description(&planned.columns, &[])?;
                self.send_rows(&mut rows, &[], None, sql, guard, planned.explains)
                    .await
            }
            Command::CopyOut { query, options } => self.copy_out(&query, options, own, sql, guard).await,
            Command::Declare {
                name,
                binary,
                hold,
                query,
            } => {
                let planned = self.plan(&query, &[], sql, guard).await?;
                need_no_parameters(planned.parameters.len())?;
                let Planned {
                    plan,
                    columns,
                    explains,
                    ..
                } = planned;
                self.declare(
                    name,
                    Portal::cursor(plan, columns, binary, hold, sql.to_owned(), explains),
                )
            }
            Command::Fetch { .. } | Command::Show(_) | Command::ShowAll => {
                if let Some(columns) = self.utility_columns(&command)? {
                    let formats = match &command {
                        Command::Fetch { name, .. } => self.cursor(name)?.formats.clone(),
                        _ => Vec::new(),
                    };
                    self.outbox.row_description(&columns, &formats)?;
                }
                self.utility(command, &[], guard).await
            }
            other => self.utility(other, &[], guard).await,
        }
    }

    /// In a failed transaction only its end is possible.
    pub(super) fn check_transaction(&self, command: &Command) -> Result<(), Fault> {
        if self.transaction.is_failed() && !command.ends_transaction() {
            return Err(Fault::aborted_transaction());
        }
        Ok(())
    }

    /// Sends all rows, then the tag.
    pub(super) async fn send_rows(
        &mut self,
        rows: &mut Rows,
        formats: &[Format],
        limit: Option<u64>,
        sql: &str,
        guard: &Guard,
        explains: bool,
    ) -> Answer {
        let context = self.encode_context();
        let Some(schema) = rows.schema() else {
            self.outbox.complete("SELECT 0")?;
            return Ok(());
        };
        let encoder = RowEncoder::new(&schema, formats, context);
        let sent = rows.send(&encoder, limit, sql, &mut self.outbox, guard).await?;
        if sent.suspended {
            self.outbox.portal_suspended()?;
        } else if explains {
            self.outbox.complete("EXPLAIN")?;
        } else {
            self.outbox.complete(&format!("SELECT {}", sent.rows))?;
        }
        Ok(())
    }

    /// `COPY … TO STDOUT`.
    pub(super) async fn copy_out(
        &mut self,
        query: &Ast,
        options: CopyOptions,
        own: &str,
        sql: &str,
        guard: &Guard,
    ) -> Answer {
        let planned = self.plan(query, &[], sql, guard).await?;
        need_no_parameters(planned.parameters.len())?;
        let mut rows = self.start(planned.plan, own, guard)?;
        let code = i8::from(options.format == CopyFormat::Binary);
        let count = planned.columns.len();
        self.outbox.put(&CopyOutResponse::new(
            code,
            count as i16,
            vec![i16::from(code); count],
        ))?;
        let names: Vec<String> = planned.columns.into_iter().map(|column| column.name).collect();
        let context = self.encode_context();
        let mut total = 0;
        if let Some(schema) = rows.schema() {
            let encoder = CopyEncoder::new(&schema, options, context);
            let mut frames = bytes::BytesMut::new();
            encoder.start(&names, &mut frames);
            self.outbox.put_frames(frames.split()).await?;
            total = rows
                .send(&encoder, None, sql, &mut self.outbox, guard)
                .await?
                .rows;
            encoder.finish(&mut frames);
            self.outbox.put_frames(frames).await?;
        }
        self.outbox.put(&CopyDone::new())?;
        self.outbox.complete(&format!("COPY {total}"))?;
        Ok(())
    }

    /// Makes a cursor.
    pub(super) fn declare(&mut self, name: String, cursor: Portal) -> Answer {
        if !cursor.hold && self.transaction.is_idle() {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Fault::error("25P01", message).into());
        }
        if self.portals.contains_key(&name) {
            return Err(Fault::error("42P03", format!("cursor \"{name}\" already exists")).into());
        }
        self.portals.insert(name, cursor);
        self.outbox.complete("DECLARE CURSOR")?;
        Ok(())
    }
}

/// Only Bind gives values.
fn need_no_parameters(count: usize) -> Result<(), Fault> {
    if count == 0 {
        Ok(())
    } else {
        Err(Fault::error("42P02", "there is no parameter $1"))
    }
}

/// Counts a statement.
pub(super) fn record(outcome: &Answer, started: Instant) {
    let outcome = match outcome {
        Ok(()) => "ok",
        Err(Trouble::Fault(fault)) if fault.code == "57014" => "cancelled",
        Err(Trouble::Fault(_)) => "error",
        Err(Trouble::Gone(_)) => "disconnected",
    };
    metrics::counter!("lakegate_gateway_queries_total", "outcome" => outcome).increment(1);
    metrics::histogram!("lakegate_gateway_query_seconds").record(started.elapsed().as_secs_f64());
}
