//! One client's session: its messages one after the other, each answered in full before the next.

mod extended;
mod guard;
pub(crate) mod parameters;
mod reader;
mod rows;
mod simple;
mod start;
mod transaction;
mod utility;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use lakegate_federation::{PARAMETERS, Session};
use pgwire::messages::startup::ParameterStatus;
use tokio::io::WriteHalf;
use tokio_util::sync::CancellationToken;

use crate::encode::{EncodeContext, Format};
use crate::fault::Fault;
use crate::gateway::Shared;
use crate::hooks::Introspection;
use crate::registry::Registration;
use crate::statement::Command;
use crate::types::{self, PgType};
use crate::wire::frontend::Frontend;
use crate::wire::outbox::{Column, Outbox};
use crate::wire::transport::Transport;
use guard::Guard;
use reader::Inbox;
use rows::Rows;
use transaction::Transaction;

pub use start::connection;

/// Why a message was not answered in full.
#[derive(Debug)]
enum Trouble {
    /// The client is told.
    Fault(Fault),
    /// There is nobody to tell.
    Gone(io::Error),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Trouble::Fault(fault)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Gone(error)
    }
}

type Answer<T = ()> = Result<T, Trouble>;

/// A planned query.
#[derive(Debug, Clone)]
struct Planned {
    plan: LogicalPlan,
    /// What Bind must give.
    parameters: Vec<PgType>,
    /// What the plan wants of them.
    data_types: Vec<Option<DataType>>,
    columns: Vec<Column>,
    explains: bool,
    made_for: PlanKey,
}

/// What a plan depends on besides its text: when any of it changes, the statement is planned again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PlanKey {
    revision: u64,
    search_path: Vec<String>,
    time_zone: String,
}

/// A prepared statement.
#[derive(Debug)]
struct Prepared {
    /// None for an empty text.
    command: Option<Command>,
    sql: String,
    declared: Vec<u32>,
    planned: Option<Planned>,
}

/// A portal or cursor.
struct Portal {
    state: PortalState,
    columns: Option<Vec<Column>>,
    formats: Vec<Format>,
    sql: String,
    explains: bool,
    /// `WITH HOLD`: outlives its transaction.
    hold: bool,
}

impl Portal {
    /// What `DECLARE` makes.
    fn cursor(
        plan: LogicalPlan,
        columns: Vec<Column>,
        binary: bool,
        hold: bool,
        sql: String,
        explains: bool,
    ) -> Self {
        Portal {
            state: PortalState::Planned(Box::new(plan)),
            columns: Some(columns),
            formats: vec![if binary { Format::Binary } else { Format::Text }],
            sql,
            explains,
            hold,
        }
    }

    fn is_binary(&self) -> bool {
        self.formats == [Format::Binary]
    }
}

enum PortalState {
    /// `DECLARE` with its parameters bound: the cursor's name and what it will be.
    Declaring(String, Box<Portal>),
    /// Nothing was asked: EmptyQueryResponse.
    Empty,
    Utility(Command),
    Planned(Box<LogicalPlan>),
    Running(Box<Rows>),
    Finished,
}

/// The session of one connection.
struct Connection {
    shared: Arc<Shared>,
    session: Session,
    registration: Registration,
    inbox: Inbox,
    outbox: Outbox<WriteHalf<Transport>>,
    gone: CancellationToken,
    transaction: Transaction,
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Portal>,
    /// What the client knows of the reported settings.
    reported: BTreeMap<&'static str, String>,
    /// An extended message failed: everything up to Sync is skipped.
    skipping: bool,
}

impl Connection {
    /// Answers messages until the client leaves or must leave.
    async fn run(&mut self) {
        loop {
            let terminated = self.registration.backend().terminated().clone();
            let silence = self.silence();
            let message = tokio::select! {
                biased;
                () = terminated.cancelled() => break self.dismiss().await,
                () = self.shared.draining.cancelled() => break self.dismiss().await,
                message = self.inbox.next() => message,
                fault = silence => Some(Err(fault)),
            };
            let outcome = match message {
                // the client hung up
                None => break,
                Some(Err(fault)) => Err(Trouble::Fault(fault)),
                Some(Ok(Frontend::Terminate)) => break,
                Some(Ok(message)) => self.answer(message).await,
            };
            match outcome {
                Ok(()) => {}
                Err(Trouble::Gone(error)) => {
                    tracing::debug!(pid = self.pid(), %error, "the client is gone");
                    break;
                }
                Err(Trouble::Fault(fault)) => {
                    // only what ends the session comes up to here
                    let _ = self.outbox.error(&fault);
                    break;
                }
            }
        }
        self.outbox.close().await;
        self.count_bytes();
    }

    /// Ends once the client has been silent for longer than the session's settings allow.
    fn silence(&self) -> impl Future<Output = Fault> + use<> {
        let (setting, code, what) = if self.transaction.is_idle() {
            ("idle_session_timeout", "57P05", "idle-session")
        } else {
            (
                "idle_in_transaction_session_timeout",
                "25P03",
                "idle-in-transaction",
            )
        };
        let timeout = self.session.settings().duration(setting);
        async move {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
            Fault::fatal(code, format!("terminating connection due to {what} timeout"))
        }
    }

    fn pid(&self) -> i32 {
        self.registration.backend().pid()
    }

    async fn dismiss(&mut self) {
        // whoever is gone already does not need to know
        let _ = self.outbox.error(&Fault::shutdown());
        let _ = self.outbox.flush().await;
    }

    async fn answer(&mut self, message: Frontend) -> Answer {
        if self.skipping && !matches!(message, Frontend::Sync) {
            return Ok(());
        }
        let extended = message.is_extended();
        let guard = Guard::begin(&self.registration, &self.gone);
        let outcome = match message {
            Frontend::Query(sql) => self.simple(&sql, &guard).await,
            Frontend::Parse { name, sql, types } => self.parse(name, sql, types, &guard).await,
            Frontend::Bind(bind) => self.bind(bind, &guard).await,
            Frontend::Describe(target, name) => self.describe(target, &name, &guard).await,
            Frontend::Execute { portal, max_rows } => self.execute(&portal, max_rows, &guard).await,
            Frontend::Close(target, name) => self.close(target, &name),
            Frontend::Flush => self.outbox.flush().await.map_err(Trouble::from),
            Frontend::Sync => {
                self.skipping = false;
                self.end_of_pipeline();
                self.ready().await
            }
            Frontend::FunctionCall => {
                Err(Fault::error("0A000", "the function call protocol is not supported").into())
            }
            // left over from a COPY that failed: PostgreSQL ignores them too
            Frontend::Copy => Ok(()),
            Frontend::Password(_) => Err(Fault::fatal("08P01", "unexpected password message").into()),
            Frontend::Malformed { fault, .. } => Err(fault.into()),
            Frontend::Terminate => Ok(()),
        };
        guard.end();
        match outcome {
            Err(Trouble::Fault(fault)) if !fault.is_fatal() => {
                self.transaction.fail();
                self.outbox.error(&fault)?;
                if extended {
                    self.skipping = true;
                    // a client that sent Flush and no Sync waits for this
                    self.outbox.flush().await?;
                    Ok(())
                } else {
                    self.end_of_pipeline();
                    self.ready().await
                }
            }
            other => other,
        }
    }

    /// Outside of a transaction block portals end with the messages that belong together.
    fn end_of_pipeline(&mut self) {
        if self.transaction.is_idle() {
            self.portals.retain(|_, portal| portal.hold);
        }
    }

    /// Tells the client what changed, and that it is its turn.
    async fn ready(&mut self) -> Answer {
        self.report_settings()?;
        self.outbox.ready(self.transaction.status())?;
        self.outbox.flush().await?;
        self.count_bytes();
        Ok(())
    }

    fn count_bytes(&mut self) {
        let written = self.outbox.take_written();
        metrics::counter!("lakegate_gateway_sent_bytes_total").increment(written);
    }

    fn report_settings(&mut self) -> io::Result<()> {
        let settings = self.session.settings().clone();
        for parameter in PARAMETERS.iter().filter(|parameter| parameter.reported) {
            let value = settings.get(parameter.name).unwrap_or(parameter.default);
            if self.reported.get(parameter.name).map(String::as_str) != Some(value) {
                self.outbox
                    .put(&ParameterStatus::new(parameter.name.to_owned(), value.to_owned()))?;
                self.reported.insert(parameter.name, value.to_owned());
            }
        }
        Ok(())
    }

    fn plan_key(&self) -> PlanKey {
        let settings = self.session.settings();
        PlanKey {
            revision: self.shared.federation.metadata().revision,
            search_path: settings.search_path(),
            time_zone: settings.time_zone().to_owned(),
        }
    }

    /// Plans a query; `sql` is the whole text it stands in.
    async fn plan(&self, query: &Ast, declared: &[u32], sql: &str, guard: &Guard) -> Answer<Planned> {
        let made_for = self.plan_key();
        let mut declared: Vec<Option<PgType>> = declared
            .iter()
            .map(|oid| declared_type(*oid))
            .collect::<Result<_, _>>()?;
        let statement = self
            .shared
            .introspection
            .prepare_statement(&self.session, query.clone())
            .map_err(|error| Fault::of(&error, sql))?;
        parameters::declare_casts(&statement, &mut declared);
        let wanted: Vec<Option<DataType>> = declared
            .iter()
            .map(|pg_type| pg_type.and_then(crate::params::data_type))
            .collect();
        let explains = matches!(statement, Ast::Explain { .. });
        let timeout = self.session.settings().statement_timeout();
        let plan = guard
            .within(timeout, self.session.plan(statement, &wanted))
            .await?
            .map_err(|error| Fault::of(&error, sql))?;
        let mut inferred = parameters::of_plan(&plan)?;
        // a declared parameter that the text does not use must still be bound
        inferred.resize(inferred.len().max(declared.len()), None);
        let parameters = inferred
            .iter()
            .enumerate()
            .map(|(index, inferred)| {
                declared
                    .get(index)
                    .copied()
                    .flatten()
                    .unwrap_or_else(|| inferred.as_ref().map_or(TEXT, |inferred| inferred.pg_type))
            })
            .collect();
        let data_types = inferred
            .into_iter()
            .map(|inferred| inferred.map(|inferred| inferred.data_type))
            .collect();
        let columns = columns_of(&plan, self.shared.introspection.as_ref());
        Ok(Planned {
            plan,
            parameters,
            data_types,
            columns,
            explains,
            made_for,
        })
    }

    /// Starts a plan.
    fn start(&self, plan: LogicalPlan, sql: &str, guard: &Guard) -> Answer<Rows> {
        self.shared.introspection.before_execution(&self.session);
        let stream = self
            .session
            .execute(plan, sql)
            .map_err(|error| Fault::of(&error, sql))?;
        let rows = Rows::running(stream);
        guard.watch(&rows);
        Ok(rows)
    }

    /// Starts a plan whose rows are asked for in parts: each part has the statement's time for itself, for
    /// between them the client works.
    fn start_in_parts(&self, plan: LogicalPlan, sql: &str, guard: &Guard) -> Answer<Rows> {
        self.shared.introspection.before_execution(&self.session);
        let stream = self
            .session
            .execute_within(plan, sql, None)
            .map_err(|error| Fault::of(&error, sql))?;
        let rows = Rows::running(stream);
        self.resume(&rows, guard);
        Ok(rows)
    }

    /// Lets cancel requests and the timeout reach rows that were started before.
    fn resume(&self, rows: &Rows, guard: &Guard) {
        guard.watch(rows);
        guard.bound(self.session.settings().statement_timeout());
    }

    fn encode_context(&self) -> EncodeContext {
        let time_zone = zone_of(self.session.settings().time_zone());
        EncodeContext {
            time_zone,
            reg_names: self.shared.introspection.reg_names(&self.session),
        }
    }
}

pub(crate) const TEXT: PgType = PgType {
    base: &types::TEXT,
    array: false,
    typmod: -1,
};

/// The zone of a `TimeZone` setting, which the settings checked.
pub(crate) fn zone_of(name: &str) -> jiff::tz::TimeZone {
    lakegate_federation::values::read::zone::by_name(name).unwrap_or(jiff::tz::TimeZone::UTC)
}

/// The type a client declared for a parameter; None where it left it open.
fn declared_type(oid: u32) -> Result<Option<PgType>, Fault> {
    // 0 and `unknown` leave it open
    if oid == 0 || oid == types::UNKNOWN.oid {
        return Ok(None);
    }
    types::by_oid(oid).map(Some).ok_or_else(|| {
        Fault::error(
            "42704",
            format!("type with OID {oid} is not supported as a parameter"),
        )
    })
}

/// The columns a client sees of a plan.
pub(crate) fn columns_of(plan: &LogicalPlan, introspection: &dyn Introspection) -> Vec<Column> {
    let schema = Session::result_schema(plan);
    schema
        .fields()
        .iter()
        .map(|field| Column {
            name: introspection.output_name(field.name()).to_owned(),
            pg_type: types::of_field(field),
        })
        .collect()
}
