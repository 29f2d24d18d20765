//! Settings, transactions and cursors.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::guard::Guard;
use super::rows::{Rows, Skipped};
use super::transaction::Warning;
use super::{Answer, Connection, Portal, PortalState, TEXT};
use crate::encode::{Format, RowEncoder};
use crate::fault::Fault;
use crate::statement::{Command, FetchCount, Reach};
use crate::wire::outbox::Column;
use lakegate_federation::{FederationError, Settings, find_parameter};

fn told(error: &FederationError) -> Fault {
    Fault::of(error, "")
}

fn text_columns(names: &[&str]) -> Vec<Column> {
    names
        .iter()
        .map(|name| Column {
            name: (*name).to_owned(),
            pg_type: TEXT,
        })
        .collect()
}

impl Connection {
    /// The columns of a utility statement's rows; None when it has none.
    pub(super) fn utility_columns(&self, command: &Command) -> Result<Option<Vec<Column>>, Fault> {
        Ok(match command {
            Command::Show(name) => {
                if self.session.settings().get(name).is_none() {
                    return Err(Fault::error(
                        "42704",
                        format!("unrecognized configuration parameter \"{name}\""),
                    ));
                }
                Some(text_columns(&[spelling(name)]))
            }
            Command::ShowAll => Some(text_columns(&["name", "setting", "description"])),
            Command::Fetch {
                name, skip: false, ..
            } => self.cursor(name)?.columns.clone(),
            _ => None,
        })
    }

    pub(super) fn cursor(&self, name: &str) -> Result<&Portal, Fault> {
        self.portals.get(name).ok_or_else(|| unknown_cursor(name))
    }

    /// Runs what is neither a query nor a COPY, and sends its tag.
    pub(super) async fn utility(&mut self, command: Command, formats: &[Format], guard: &Guard) -> Answer {
        let tag: &str = match command {
            Command::Set { reach, name, value } => {
                self.set(reach, &name, value.as_deref())?;
                "SET"
            }
            Command::SetNothing => "SET",
            Command::Reset(name) => {
                self.set(Reach::Session, &name, None)?;
                "RESET"
            }
            Command::ResetAll => {
                self.session.settings().reset_all();
                "RESET"
            }
            Command::Show(name) => {
                let value = self.session.settings().get(&name).map(str::to_owned);
                let Some(value) = value else {
                    let message = format!("unrecognized configuration parameter \"{name}\"");
                    return Err(Fault::error("42704", message).into());
                };
                return self.show(vec![vec![value]], formats, guard).await;
            }
            Command::ShowAll => {
                let all = self.session.settings().all();
                let mut columns = [Vec::new(), Vec::new(), Vec::new()];
                for (name, value, description) in all {
                    columns[0].push(name);
                    columns[1].push(value);
                    columns[2].push(description.to_owned());
                }
                return self.show(columns.into(), formats, guard).await;
            }
            Command::Discard { all, tag } => {
                if all {
                    if !self.transaction.is_idle() {
                        let message = "DISCARD ALL cannot run inside a transaction block";
                        return Err(Fault::error("25001", message).into());
                    }
                    self.session.settings().reset_all();
                    self.statements.clear();
                    self.portals.clear();
                }
                tag
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Command::Deallocate(Some(name)) => {
                if self.statements.remove(&name).is_none() {
                    let message = format!("prepared statement \"{name}\" does not exist");
                    return Err(Fault::error("26000", message).into());
                }
                "DEALLOCATE"
            }
            Command::Begin { tag, isolation } => {
                let warning = self.in_transaction(|transaction, settings| {
                    transaction
                        .begin(isolation, settings)
                        .map_err(|error| told(&error))
                })?;
                self.warn(warning)?;
                tag
            }
            Command::Commit { chain } => {
                let (tag, warning) =
                    self.in_transaction(|transaction, settings| transaction.commit(chain, settings))?;
                self.warn(warning)?;
                self.close_portals();
                tag
            }
            Command::Rollback { chain } => {
                let (tag, warning) =
                    self.in_transaction(|transaction, settings| transaction.rollback(chain, settings))?;
                self.warn(warning)?;
                self.close_portals();
                tag
            }
            Command::Savepoint(name) => {
                self.in_transaction(|transaction, settings| transaction.savepoint(name, settings))?;
                "SAVEPOINT"
            }
            Command::Release(name) => {
                self.transaction.release(&name)?;
                "RELEASE"
            }
            Command::RollbackTo(name) => {
                self.in_transaction(|transaction, settings| transaction.rollback_to(&name, settings))?;
                "ROLLBACK"
            }
            Command::Fetch { name, count, skip } => {
                return self.fetch(&name, count, skip, formats, guard).await;
            }
            Command::CloseCursor(None) => {
                self.portals.clear();
                "CLOSE CURSOR ALL"
            }
            Command::CloseCursor(Some(name)) => {
                if self.portals.remove(&name).is_none() {
                    return Err(unknown_cursor(&name).into());
                }
                "CLOSE CURSOR"
            }
            Command::Nothing(tag) => tag,
            Command::Query(_) | Command::CopyOut { .. } | Command::Declare { .. } => {
                return Err(Fault::error("XX000", "a query reached the utility statements").into());
            }
        };
        self.outbox.complete(tag)?;
        Ok(())
    }

    fn in_transaction<T>(
        &mut self,
        change: impl FnOnce(&mut super::Transaction, &mut Settings) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        change(&mut self.transaction, &mut self.session.settings())
    }

    fn warn(&mut self, warning: Warning) -> std::io::Result<()> {
        match warning {
            Some((code, message)) => self.outbox.warning(code, message),
            None => Ok(()),
        }
    }

    /// At the end of a transaction cursors end, unless they were declared WITH HOLD.
    fn close_portals(&mut self) {
        self.portals.retain(|_, portal| portal.hold);
    }

    fn set(&mut self, reach: Reach, name: &str, value: Option<&str>) -> Answer {
        // a user may become itself, and nobody else
        let value = if matches!(name.to_lowercase().as_str(), "session_authorization" | "role") {
            match value {
                None | Some("none") => None,
                Some(user) if user == self.session.user() => None,
                Some(user) => {
                    return Err(
                        Fault::error("42501", format!("permission denied to set role \"{user}\"")).into(),
                    );
                }
            }
        } else {
            value
        };
        let warning = self.in_transaction(|transaction, settings| {
            transaction
                .set(reach, name, value, settings)
                .map_err(|error| told(&error))
        })?;
        self.warn(warning)?;
        Ok(())
    }

    async fn show(&mut self, columns: Vec<Vec<String>>, formats: &[Format], guard: &Guard) -> Answer {
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(index, values)| (index.to_string(), Arc::new(StringArray::from(values)) as ArrayRef));
        let batch = RecordBatch::try_from_iter(columns)
            .map_err(|error| Fault::error("XX000", format!("internal error: {error}")))?;
        let encoder = RowEncoder::new(&batch.schema(), formats, self.encode_context());
        Rows::ready(batch)
            .send(&encoder, None, "", &mut self.outbox, guard)
            .await?;
        self.outbox.complete("SHOW")?;
        Ok(())
    }

    async fn fetch(
        &mut self,
        name: &str,
        count: FetchCount,
        skip: bool,
        formats: &[Format],
        guard: &Guard,
    ) -> Answer {
        let mut portal = self.portals.remove(name).ok_or_else(|| unknown_cursor(name))?;
        let limit = match count {
            FetchCount::All => None,
            FetchCount::Rows(rows) => Some(rows),
        };
        let sql = portal.sql.clone();
        let mut rows = match std::mem::replace(&mut portal.state, PortalState::Finished) {
            PortalState::Planned(plan) => Some(Box::new(self.start_in_parts(*plan, &sql, guard)?)),
            PortalState::Running(rows) => {
                self.resume(&rows, guard);
                Some(rows)
            }
            PortalState::Finished => None,
            PortalState::Empty | PortalState::Utility(_) | PortalState::Declaring(..) => {
                return Err(Fault::error("34000", format!("portal \"{name}\" is not a cursor")).into());
            }
        };
        let (mut total, mut finished) = (0, false);
        if let Some(rows) = &mut rows
            && let Some(schema) = rows.schema()
        {
            let sent = if skip {
                rows.send(&Skipped, limit, &sql, &mut self.outbox, guard).await?
            } else {
                let formats = if portal.is_binary() {
                    &portal.formats
                } else {
                    formats
                };
                let encoder = RowEncoder::new(&schema, formats, self.encode_context());
                rows.send(&encoder, limit, &sql, &mut self.outbox, guard).await?
            };
            total = sent.rows;
            finished = !sent.suspended;
        }
        if let Some(rows) = rows.filter(|_| !finished) {
            portal.state = PortalState::Running(rows);
        }
        self.portals.insert(name.to_owned(), portal);
        self.outbox
            .complete(&format!("{} {total}", if skip { "MOVE" } else { "FETCH" }))?;
        Ok(())
    }
}

fn unknown_cursor(name: &str) -> Fault {
    Fault::error("34000", format!("cursor \"{name}\" does not exist"))
}

/// A setting's name as its table spells it.
fn spelling(name: &str) -> &str {
    find_parameter(name).map_or(name, |parameter| parameter.name)
}
