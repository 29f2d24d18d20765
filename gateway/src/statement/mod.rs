//! The text a client sends, as statements.
//!
//! What PostgreSQL calls utility statements (settings, transactions, cursors, COPY) is read here, token by
//! token, because the SQL parser knows only some of their forms. Everything else is SQL for the planner.

mod copy;
mod tokens;
mod utility;

use datafusion::sql::sqlparser::ast::Statement as Ast;
use lakegate_federation::FederationError;

use crate::encode::copy::CopyOptions;
use crate::fault::Fault;
use tokens::Text;

/// One statement of a text.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What it asks for.
    pub command: Command,
    /// Its own text, for logs.
    pub sql: String,
}

/// How far a setting reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the end of the session.
    Session,
    /// To the end of the transaction.
    Local,
}

/// How many rows of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchCount {
    /// At most so many.
    Rows(u64),
    /// All that remain.
    All,
}

/// What a statement asks for.
#[derive(Debug, Clone)]
pub enum Command {
    /// Rows, or a plan.
    Query(Box<Ast>),
    /// `SET`; None is `DEFAULT`.
    Set {
        /// How far it reaches.
        reach: Reach,
        /// As written.
        name: String,
        /// The new value.
        value: Option<String>,
    },
    /// A `SET` form that changes nothing here: `SET TRANSACTION`, `SET SESSION CHARACTERISTICS`, …
    SetNothing,
    /// `SHOW name`.
    Show(String),
    /// `SHOW ALL`.
    ShowAll,
    /// `RESET name`.
    Reset(String),
    /// `RESET ALL`.
    ResetAll,
    /// `DISCARD`, with its tag.
    Discard {
        /// Whether everything goes.
        all: bool,
        /// `DISCARD ALL`, `DISCARD PLANS`, …
        tag: &'static str,
    },
    /// `DEALLOCATE`; None is `ALL`.
    Deallocate(Option<String>),
    /// `BEGIN` or `START TRANSACTION`, with its tag and the isolation level it names.
    Begin {
        /// `BEGIN` or `START TRANSACTION`.
        tag: &'static str,
        /// As `SHOW transaction_isolation` prints it.
        isolation: Option<&'static str>,
    },
    /// `COMMIT` or `END`; whether another transaction begins at once.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK` or `ABORT`.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `SAVEPOINT`.
    Savepoint(String),
    /// `RELEASE SAVEPOINT`.
    Release(String),
    /// `ROLLBACK TO SAVEPOINT`.
    RollbackTo(String),
    /// `DECLARE … CURSOR FOR query`.
    Declare {
        /// The cursor.
        name: String,
        /// `BINARY`.
        binary: bool,
        /// `WITH HOLD`.
        hold: bool,
        /// The query.
        query: Box<Ast>,
    },
    /// `FETCH` or `MOVE`.
    Fetch {
        /// The cursor.
        name: String,
        /// How many rows.
        count: FetchCount,
        /// `MOVE`: rows are skipped, not sent.
        skip: bool,
    },
    /// `CLOSE`; None is `ALL`.
    CloseCursor(Option<String>),
    /// `COPY … TO STDOUT`.
    CopyOut {
        /// What to copy.
        query: Box<Ast>,
        /// How.
        options: CopyOptions,
    },
    /// Accepted and without effect, with its tag: `UNLISTEN *`.
    Nothing(&'static str),
}

impl Command {
    /// Whether the statement may run in a transaction that has failed.
    pub fn ends_transaction(&self) -> bool {
        matches!(
            self,
            Command::Commit { .. } | Command::Rollback { .. } | Command::RollbackTo(_)
        )
    }
}

/// Reads every statement of a text; an empty text has none.
///
/// As in PostgreSQL nothing runs of a text with a syntax error.
pub fn parse(sql: &str) -> Result<Vec<Statement>, Fault> {
    let text = Text::tokenize(sql)?;
    text.statements()
        .into_iter()
        .map(|mut cursor| {
            let own = cursor.text().to_owned();
            let command = match utility::parse(&mut cursor)? {
                Some(command) => command,
                None => Command::Query(parse_query(&cursor.blanked(), sql)?),
            };
            Ok(Statement { command, sql: own })
        })
        .collect()
}

/// Reads the one statement in `text`, which is `sql` with everything else blanked out, so that places
/// in it are places in `sql`.
fn parse_query(text: &str, sql: &str) -> Result<Box<Ast>, Fault> {
    let mut statements = lakegate_federation::parse(text).map_err(|error| syntax_fault(&error, sql))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(Box::new(statement)),
        _ => Err(Fault::error(
            "42601",
            "syntax error: exactly one statement is expected",
        )),
    }
}

/// The parser says `Expected: an expression, found: FROM`; PostgreSQL, and whoever matches on its texts,
/// `syntax error at or near "FROM"`.
fn syntax_fault(error: &FederationError, sql: &str) -> Fault {
    let mut fault = Fault::of(error, sql);
    if fault.code != "42601" {
        return fault;
    }
    let message = fault.message.clone();
    let told = message.strip_prefix("syntax error: ").unwrap_or(&message);
    let told = told.strip_prefix("sql parser error: ").unwrap_or(told);
    if let Some((expected, found)) = told
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.rsplit_once(", found: "))
    {
        fault.message = if found == "EOF" {
            fault.position = Some(sql.trim_end().chars().count() + 1);
            "syntax error at end of input".to_owned()
        } else {
            format!("syntax error at or near \"{found}\"")
        };
        fault
            .detail
            .get_or_insert_with(|| format!("Expected {expected}."));
    } else {
        told.clone_into(&mut fault.message);
        if fault.message == "syntax error at end of input" && fault.position.is_none() {
            fault.position = Some(sql.trim_end().chars().count() + 1);
        }
        if !fault.message.starts_with("syntax error") {
            fault.message.insert_str(0, "syntax error: ");
        }
    }
    fault
}

#[cfg(test)]
mod tests;
