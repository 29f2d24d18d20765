//! Transactions of a server that only reads: scopes of settings, with the status and the errors of
//! PostgreSQL.

use std::collections::BTreeMap;

use lakegate_federation::{FederationError, Settings};
use pgwire::messages::response::TransactionStatus;

use crate::fault::Fault;
use crate::statement::Reach;

#[derive(Debug, Clone)]
struct Savepoint {
    name: String,
    settings: Settings,
    locals: Locals,
}

/// For each setting changed by `SET LOCAL`: what holds again after COMMIT.
type Locals = BTreeMap<String, Option<String>>;

#[derive(Debug)]
struct Block {
    failed: bool,
    /// What holds again after ROLLBACK.
    before: Settings,
    locals: Locals,
    savepoints: Vec<Savepoint>,
}

/// The transaction block of a session, if there is one.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    block: Option<Block>,
}

/// A remark to the client beside the command's tag.
pub(super) type Warning = Option<(&'static str, &'static str)>;

impl Transaction {
    pub(super) fn is_idle(&self) -> bool {
        self.block.is_none()
    }

    pub(super) fn is_failed(&self) -> bool {
        self.block.as_ref().is_some_and(|block| block.failed)
    }

    pub(super) fn status(&self) -> TransactionStatus {
        match &self.block {
            None => TransactionStatus::Idle,
            Some(Block { failed: true, .. }) => TransactionStatus::Error,
            Some(_) => TransactionStatus::Transaction,
        }
    }

    /// A statement failed.
    pub(super) fn fail(&mut self) {
        if let Some(block) = &mut self.block {
            block.failed = true;
        }
    }

    pub(super) fn begin(
        &mut self,
        isolation: Option<&str>,
        settings: &mut Settings,
    ) -> Result<Warning, FederationError> {
        let warning = if self.block.is_some() {
            Some(("25001", "there is already a transaction in progress"))
        } else {
            self.open(settings);
            None
        };
        if let Some(level) = isolation {
            self.set(Reach::Local, "transaction_isolation", Some(level), settings)?;
        }
        Ok(warning)
    }

    fn open(&mut self, settings: &Settings) {
        let block = Block {
            failed: false,
            before: settings.clone(),
            locals: Locals::new(),
            savepoints: Vec::new(),
        };
        self.block = Some(block);
    }

    /// Ends the block and returns the tag: a failed one rolls back.
    pub(super) fn commit(
        &mut self,
        chain: bool,
        settings: &mut Settings,
    ) -> Result<(&'static str, Warning), Fault> {
        let Some(block) = self.block.take() else {
            return Self::no_block("COMMIT", chain);
        };
        let tag = if block.failed {
            *settings = block.before;
            "ROLLBACK"
        } else {
            for (name, value) in block.locals {
                // both were accepted before
                let _ = match value {
                    Some(value) => settings.set(&name, &value).map(|_| ()),
                    None => settings.reset(&name),
                };
            }
            "COMMIT"
        };
        if chain {
            self.open(settings);
        }
        Ok((tag, None))
    }

    pub(super) fn rollback(
        &mut self,
        chain: bool,
        settings: &mut Settings,
    ) -> Result<(&'static str, Warning), Fault> {
        let Some(block) = self.block.take() else {
            return Self::no_block("ROLLBACK", chain);
        };
        *settings = block.before;
        if chain {
            self.open(settings);
        }
        Ok(("ROLLBACK", None))
    }

    fn no_block(tag: &'static str, chain: bool) -> Result<(&'static str, Warning), Fault> {
        if chain {
            return Err(Fault::error(
                "25P01",
                format!("{tag} AND CHAIN can only be used in transaction blocks"),
            ));
        }
        Ok((tag, Some(("25P01", "there is no transaction in progress"))))
    }

    pub(super) fn savepoint(&mut self, name: String, settings: &Settings) -> Result<(), Fault> {
        let block = self.block_for("SAVEPOINT")?;
        block.savepoints.push(Savepoint {
            name,
            settings: settings.clone(),
            locals: block.locals.clone(),
        });
        Ok(())
    }

    pub(super) fn release(&mut self, name: &str) -> Result<(), Fault> {
        let block = self.block_for("RELEASE SAVEPOINT")?;
        let at = Self::find(block, name)?;
        block.savepoints.truncate(at);
        Ok(())
    }

    /// Back to the savepoint, which stays; the transaction is sound again.
    pub(super) fn rollback_to(&mut self, name: &str, settings: &mut Settings) -> Result<(), Fault> {
        let block = self.block_for("ROLLBACK TO SAVEPOINT")?;
        let at = Self::find(block, name)?;
        block.savepoints.truncate(at + 1);
        let savepoint = &block.savepoints[at];
        *settings = savepoint.settings.clone();
        block.locals = savepoint.locals.clone();
        block.failed = false;
        Ok(())
    }

    fn find(block: &Block, name: &str) -> Result<usize, Fault> {
        block
            .savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name)
            .ok_or_else(|| Fault::error("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    fn block_for(&mut self, command: &str) -> Result<&mut Block, Fault> {
        self.block.as_mut().ok_or_else(|| {
            Fault::error(
                "25P01",
                format!("{command} can only be used in transaction blocks"),
            )
        })
    }

    /// Changes a setting; None goes back to its default.
    pub(super) fn set(
        &mut self,
        reach: Reach,
        name: &str,
        value: Option<&str>,
        settings: &mut Settings,
    ) -> Result<Warning, FederationError> {
        if reach == Reach::Local && self.block.is_none() {
            // still refused when it is wrong
            if let Some(value) = value {
                settings.clone().set(name, value)?;
            }
            return Ok(Some((
                "25P01",
                "SET LOCAL can only be used in transaction blocks",
            )));
        }
        let before = settings.get(name).map(str::to_owned);
        match value {
            Some(value) => {
                settings.set(name, value)?;
            }
            None => settings.reset(name)?,
        }
        if let Some(block) = &mut self.block {
            let name = name.to_lowercase();
            match reach {
                Reach::Local => {
                    block.locals.entry(name).or_insert(before);
                }
                Reach::Session => {
                    block.locals.remove(&name);
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(settings: &Settings) -> &str {
        settings.get("statement_timeout").unwrap()
    }

    #[test]
    fn settings_follow_the_transaction() {
        let (mut transaction, mut settings) = (Transaction::default(), Settings::default());
        let set = |transaction: &mut Transaction, settings: &mut Settings, reach, value| {
            transaction
                .set(reach, "statement_timeout", Some(value), settings)
                .unwrap()
        };
        assert!(set(&mut transaction, &mut settings, Reach::Local, "1s").is_some());
        assert_eq!(timeout(&settings), "0");
        set(&mut transaction, &mut settings, Reach::Session, "1s");
        transaction.begin(None, &mut settings).unwrap();
        set(&mut transaction, &mut settings, Reach::Local, "2s");
        assert_eq!(timeout(&settings), "2s");
        assert_eq!(transaction.commit(false, &mut settings).unwrap().0, "COMMIT");
        assert_eq!(timeout(&settings), "1s");
        transaction.begin(None, &mut settings).unwrap();
        set(&mut transaction, &mut settings, Reach::Session, "3s");
        transaction.savepoint("a".into(), &settings).unwrap();
        set(&mut transaction, &mut settings, Reach::Session, "4s");
        transaction.fail();
        assert_eq!(transaction.status() as u8, b'E');
        transaction.rollback_to("a", &mut settings).unwrap();
        assert_eq!((timeout(&settings), transaction.status() as u8), ("3s", b'T'));
        assert_eq!(
            transaction.rollback_to("b", &mut settings).unwrap_err().code,
            "3B001"
        );
        transaction.rollback(false, &mut settings).unwrap();
        assert_eq!((timeout(&settings), transaction.is_idle()), ("1s", true));
    }

    #[test]
    fn tags_and_warnings_are_those_of_postgres() {
        let (mut transaction, mut settings) = (Transaction::default(), Settings::default());
        assert_eq!(
            transaction.commit(false, &mut settings).unwrap(),
            ("COMMIT", Some(("25P01", "there is no transaction in progress")))
        );
        assert_eq!(transaction.commit(true, &mut settings).unwrap_err().code, "25P01");
        assert_eq!(
            transaction.savepoint("a".into(), &settings).unwrap_err().code,
            "25P01"
        );
        transaction.begin(Some("serializable"), &mut settings).unwrap();
        assert_eq!(settings.get("transaction_isolation"), Some("serializable"));
        assert_eq!(
            transaction.begin(None, &mut settings).unwrap().unwrap().0,
            "25001"
        );
        transaction.fail();
        assert_eq!(transaction.commit(true, &mut settings).unwrap().0, "ROLLBACK");
        assert_eq!(
            (transaction.status() as u8, settings.get("transaction_isolation")),
            (b'T', Some("read committed"))
        );
    }
}
