//! The extended query protocol.

use std::sync::Arc;
use std::time::Instant;

use datafusion::sql::sqlparser::ast::Statement as Ast;
use lakegate_federation::Session;

use super::guard::Guard;
use super::simple::record;
use super::{Answer, Connection, Planned, Portal, PortalState, Prepared, columns_of, zone_of};
use crate::encode::{Format, format_of};
use crate::fault::Fault;
use crate::params;
use crate::statement::{self, Command};
use crate::wire::frontend::{Bind, Target};

impl Connection {
    pub(super) async fn parse(
        &mut self,
        name: String,
        sql: String,
        declared: Vec<u32>,
        guard: &Guard,
    ) -> Answer {
        if name.is_empty() {
            self.statements.remove("");
        } else if self.statements.contains_key(&name) {
            return Err(
                Fault::error("42P05", format!("prepared statement \"{name}\" already exists")).into(),
            );
        }
        let mut statements = statement::parse(&sql)?;
        if statements.len() > 1 {
            return Err(Fault::error(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            )
            .into());
        }
        let command = statements.pop().map(|statement| statement.command);
        let planned = match &command {
            Some(command) => {
                self.check_transaction(command)?;
                match query_of(command) {
                    Some(query) => Some(self.plan(query, &declared, &sql, guard).await?),
                    None => None,
                }
            }
            None => None,
        };
        self.statements.insert(
            name,
            Arc::new(Prepared {
                command,
                sql,
                declared,
                planned,
            }),
        );
        self.outbox.parse_complete()?;
        Ok(())
    }

    fn prepared(&self, name: &str) -> Result<Arc<Prepared>, Fault> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            Fault::error("26000", message)
        })
    }

    /// The statement's plan, made again when what it was made for has changed.
    async fn planned(
        &mut self,
        name: &str,
        prepared: &Arc<Prepared>,
        guard: &Guard,
    ) -> Answer<Option<Planned>> {
        let query = prepared.command.as_ref().and_then(query_of);
        let (Some(planned), Some(query)) = (&prepared.planned, query) else {
            return Ok(None);
        };
        if planned.made_for == self.plan_key() {
            return Ok(Some(planned.clone()));
        }
        let again = self.plan(query, &prepared.declared, &prepared.sql, guard).await?;
        // the client holds on to what Describe told it
        if again.columns != planned.columns || again.parameters != planned.parameters {
            return Err(Fault::error("0A000", "cached plan must not change result type").into());
        }
        let renewed = Prepared {
            command: prepared.command.clone(),
            sql: prepared.sql.clone(),
            declared: prepared.declared.clone(),
            planned: Some(again.clone()),
        };
        self.statements.insert(name.to_owned(), Arc::new(renewed));
        Ok(Some(again))
    }

    pub(super) async fn bind(&mut self, bind: Bind, guard: &Guard) -> Answer {
        let prepared = self.prepared(&bind.statement)?;
        if bind.portal.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&bind.portal) {
            return Err(Fault::error("42P03", format!("portal \"{}\" already exists", bind.portal)).into());
        }
        if let Some(command) = &prepared.command {
            self.check_transaction(command)?;
        }
        let planned = self.planned(&bind.statement, &prepared, guard).await?;
        let wanted = planned
            .as_ref()
            .map_or(prepared.declared.len(), |planned| planned.parameters.len());
        if bind.parameters.len() != wanted {
            return Err(Fault::protocol(format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.parameters.len(),
                bind.statement
            ))
            .into());
        }
        let (state, columns, explains) = match (planned, &prepared.command) {
            (
                Some(planned),
                Some(Command::Declare {
                    name, binary, hold, ..
                }),
            ) => {
                let explains = planned.explains;
                let (plan, columns) = self.bind_plan(planned, &bind)?;
                let cursor = Portal::cursor(plan, columns, *binary, *hold, prepared.sql.clone(), explains);
                (
                    PortalState::Declaring(name.clone(), Box::new(cursor)),
                    None,
                    false,
                )
            }
            (Some(planned), _) => {
                let explains = planned.explains;
                let (plan, columns) = self.bind_plan(planned, &bind)?;
                (PortalState::Planned(Box::new(plan)), Some(columns), explains)
            }
            (None, Some(command)) => (
                PortalState::Utility(command.clone()),
                self.utility_columns(command)?,
                false,
            ),
            (None, None) => (PortalState::Empty, None, false),
        };
        let count = columns.as_ref().map_or(0, Vec::len);
        if bind.result_formats.len() > 1 && bind.result_formats.len() != count {
            return Err(Fault::protocol(format!(
                "bind message has {} result formats but query has {count} columns",
                bind.result_formats.len()
            ))
            .into());
        }
        let formats = match &prepared.command {
            // a binary cursor is binary whatever is asked for
            Some(Command::Fetch { name, .. }) if self.cursor(name)?.is_binary() => vec![Format::Binary],
            _ => bind.result_formats,
        };
        let portal = Portal {
            state,
            columns,
            formats,
            sql: prepared.sql.clone(),
            explains,
            hold: false,
        };
        self.portals.insert(bind.portal, portal);
        self.outbox.bind_complete()?;
        Ok(())
    }

    fn bind_plan(
        &self,
        planned: Planned,
        bind: &Bind,
    ) -> Result<
        (
            datafusion::logical_expr::LogicalPlan,
            Vec<crate::wire::outbox::Column>,
        ),
        Fault,
    > {
        if planned.parameters.is_empty() {
            return Ok((planned.plan, planned.columns));
        }
        let zone = zone_of(self.session.settings().time_zone());
        let values = bind
            .parameters
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let format = format_of(&bind.parameter_formats, index);
                let expected = planned.data_types[index].as_ref();
                params::decode(value.as_ref(), format, planned.parameters[index], expected, &zone)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let plan = Session::bind(planned.plan, values).map_err(|error| Fault {
            position: None,
            ..Fault::of(&error, "")
        })?;
        let columns = columns_of(&plan, self.shared.introspection.as_ref());
        // names may show the values; the client was told the ones before
        let columns = columns
            .into_iter()
            .zip(planned.columns)
            .map(|(now, before)| crate::wire::outbox::Column {
                name: before.name,
                ..now
            })
            .collect();
        Ok((plan, columns))
    }

    pub(super) async fn describe(&mut self, target: Target, name: &str, guard: &Guard) -> Answer {
        match target {
            Target::Statement => {
                let prepared = self.prepared(name)?;
                let planned = self.planned(name, &prepared, guard).await?;
                let (types, columns) = match (planned, &prepared.command) {
                    (Some(planned), command) => (
                        planned.parameters.iter().map(crate::types::PgType::oid).collect(),
                        // DECLARE has parameters and no rows
                        matches!(command, Some(Command::Query(_))).then_some(planned.columns),
                    ),
                    (None, Some(command)) => (prepared.declared.clone(), self.utility_columns(command)?),
                    (None, None) => (prepared.declared.clone(), None),
                };
                self.outbox.parameter_description(types)?;
                match columns {
                    Some(columns) => self.outbox.row_description(&columns, &[])?,
                    None => self.outbox.no_data()?,
                }
            }
            Target::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| unknown_portal(name))?;
                match &portal.columns {
                    Some(columns) => self.outbox.row_description(columns, &portal.formats)?,
                    None => self.outbox.no_data()?,
                }
            }
        }
        Ok(())
    }

    pub(super) fn close(&mut self, target: Target, name: &str) -> Answer {
        // closing what does not exist is no error
        match target {
            Target::Statement => drop(self.statements.remove(name)),
            Target::Portal => drop(self.portals.remove(name)),
        }
        self.outbox.close_complete()?;
        Ok(())
    }

    pub(super) async fn execute(&mut self, name: &str, max_rows: Option<u64>, guard: &Guard) -> Answer {
        let mut portal = self.portals.remove(name).ok_or_else(|| unknown_portal(name))?;
        let started = Instant::now();
        let outcome = self.execute_portal(&mut portal, max_rows, guard).await;
        record(&outcome, started);
        // DISCARD ALL and the like may have ended it; a portal that failed is of no more use
        if outcome.is_ok() && !matches!(portal.state, PortalState::Utility(_)) {
            self.portals.insert(name.to_owned(), portal);
        }
        outcome
    }

    async fn execute_portal(&mut self, portal: &mut Portal, max_rows: Option<u64>, guard: &Guard) -> Answer {
        if self.transaction.is_failed() {
            match &portal.state {
                PortalState::Utility(command) => self.check_transaction(command)?,
                PortalState::Empty => {}
                _ => return Err(Fault::aborted_transaction().into()),
            }
        }
        match std::mem::replace(&mut portal.state, PortalState::Finished) {
            PortalState::Empty => {
                portal.state = PortalState::Empty;
                self.outbox.empty_query()?;
            }
            PortalState::Finished => self.outbox.complete("SELECT 0")?,
            PortalState::Utility(Command::CopyOut { query, options }) => {
                let sql = portal.sql.clone();
                self.copy_out(&query, options, &sql, &sql, guard).await?;
            }
            PortalState::Utility(command) => {
                let formats = portal.formats.clone();
                let outcome = self.utility(command, &formats, guard).await;
                portal.state = PortalState::Utility(Command::Nothing(""));
                outcome?;
            }
            PortalState::Declaring(name, cursor) => {
                portal.state = PortalState::Utility(Command::Nothing(""));
                self.declare(name, *cursor)?;
            }
            PortalState::Planned(plan) => {
                let rows = if max_rows.is_some() {
                    self.start_in_parts(*plan, &portal.sql, guard)?
                } else {
                    self.start(*plan, &portal.sql, guard)?
                };
                portal.state = PortalState::Running(Box::new(rows));
                self.send_portal(portal, max_rows, guard).await?;
            }
            PortalState::Running(rows) => {
                self.resume(&rows, guard);
                portal.state = PortalState::Running(rows);
                self.send_portal(portal, max_rows, guard).await?;
            }
        }
        Ok(())
    }

    async fn send_portal(&mut self, portal: &mut Portal, max_rows: Option<u64>, guard: &Guard) -> Answer {
        let PortalState::Running(mut rows) = std::mem::replace(&mut portal.state, PortalState::Finished)
        else {
            return Ok(());
        };
        let Some(schema) = rows.schema() else {
            return Ok(());
        };
        let encoder = crate::encode::RowEncoder::new(&schema, &portal.formats, self.encode_context());
        let sent = rows
            .send(&encoder, max_rows, &portal.sql, &mut self.outbox, guard)
            .await?;
        if sent.suspended {
            portal.state = PortalState::Running(rows);
            self.outbox.portal_suspended()?;
        } else if portal.explains {
            self.outbox.complete("EXPLAIN")?;
        } else {
            self.outbox.complete(&format!("SELECT {}", sent.rows))?;
        }
        Ok(())
    }
}

fn unknown_portal(name: &str) -> Fault {
    Fault::error("34000", format!("portal \"{name}\" does not exist"))
}

/// The query that a prepared statement plans.
fn query_of(command: &Command) -> Option<&Ast> {
    match command {
        Command::Query(query) | Command::Declare { query, .. } => Some(query),
        _ => None,
    }
}
