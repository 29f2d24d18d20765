//! One query over HTTP: a session of its own, from the request to the last byte of the answer.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use futures::{Stream, StreamExt};
use lakegate_federation::{
    QueryStream, RelationKind, Session, SessionIdentity, VIEWS_SCHEMA, VIRTUAL_DATABASE,
};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::format::{Coding, ResultFormat};
use super::problem::Problem;
use super::writer::{Packer, ResultWriter};
use crate::encode::{EncodeContext, Format};
use crate::fault::Fault;
use crate::gateway::Shared;
use crate::hooks::ConnectionInfo;
use crate::params;
use crate::registry::Registration;
use crate::session::parameters;
use crate::session::{TEXT, columns_of, zone_of};
use crate::types::PgType;
use crate::wire::outbox::{Column, WRITE_SIZE};

/// The session of one request. It takes the place of a connection, and is reached like one: by
/// `pg_terminate_backend`, by shutdown, by who cancels its query.
pub(super) struct Client {
    shared: Arc<Shared>,
    session: Session,
    registration: Registration,
    cancelled: CancellationToken,
    /// Shutdown waits for the answer as it does for connections.
    _running: TaskTrackerToken,
}

/// Settings that say who somebody is.
const IDENTITY: [&str; 2] = ["session_authorization", "role"];

impl Client {
    pub(super) fn open(
        shared: Arc<Shared>,
        identity: SessionIdentity,
        settings: impl IntoIterator<Item = (String, String)>,
        peer: SocketAddr,
    ) -> Result<Self, Problem> {
        if shared.draining.is_cancelled() {
            return Err(Fault::fatal("57P03", "the database system is shutting down").into());
        }
        let running = shared.connections.token();
        let Some(registration) = shared.registry.register(&identity.user) else {
            let fault = Fault::fatal("53300", "sorry, too many clients already").with_hint(format!(
                "This server takes {} connections; see --max-connections.",
                shared.registry.maximum()
            ));
            return Err(fault.into());
        };
        let told = |error| Problem::of(&error, "");
        let session = shared.federation.session(identity).map_err(told)?;
        for (name, value) in settings {
            if IDENTITY.contains(&name.to_lowercase().as_str()) {
                let message = format!("permission denied to set parameter \"{name}\"");
                return Err(Fault::error("42501", message).into());
            }
            session.settings().set(&name, &value).map_err(told)?;
        }
        let info = ConnectionInfo {
            backend: Arc::clone(registration.backend()),
            registry: Arc::clone(&shared.registry),
            peer,
            encrypted: false,
        };
        shared.introspection.open_session(&session, &info).map_err(told)?;
        let cancelled = registration.backend().begin();
        Ok(Client {
            shared,
            session,
            registration,
            cancelled,
            _running: running,
        })
    }

    /// What the View of this name is to the user; None where there is none.
    pub(super) fn view(&self, name: &str) -> Option<RelationKind> {
        let metadata = self.session.schema_context().metadata;
        let schema = metadata.database(VIRTUAL_DATABASE)?.schema(VIEWS_SCHEMA)?;
        schema.table(name).map(|view| view.kind)
    }

    /// Waits for work that a cancel request or shutdown ends.
    async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Problem> {
        tokio::select! {
            biased;
            () = self.registration.backend().terminated().cancelled() => Err(Fault::shutdown().into()),
            () = self.cancelled.cancelled() => Err(Fault::cancelled().into()),
            done = work => Ok(done),
        }
    }

    /// Plans a statement and gives its parameters their values.
    pub(super) async fn plan(&self, statement: Ast, sql: &str, values: &[Value]) -> Result<Planned, Problem> {
        let statement = self
            .shared
            .introspection
            .prepare_statement(&self.session, statement)
            .map_err(|error| Problem::of(&error, sql))?;
        let mut declared: Vec<Option<PgType>> = Vec::new();
        parameters::declare_casts(&statement, &mut declared);
        let wanted: Vec<Option<DataType>> = declared
            .iter()
            .map(|pg_type| pg_type.and_then(params::data_type))
            .collect();
        let planning = self.session.plan(statement, &wanted);
        let timeout = self.session.settings().statement_timeout();
        let plan = match timeout {
            Some(timeout) => self
                .run(tokio::time::timeout(timeout, planning))
                .await?
                .map_err(|_| Problem::timed_out())?,
            None => self.run(planning).await?,
        }
        .map_err(|error| Problem::of(&error, sql))?;
        let columns = columns_of(&plan, self.shared.introspection.as_ref());
        let plan = self.bind(plan, &declared, values)?;
        // names may show the values; types may follow from them
        let now = columns_of(&plan, self.shared.introspection.as_ref());
        let columns = columns
            .into_iter()
            .zip(now)
            .map(|(before, now)| Column {
                name: before.name,
                ..now
            })
            .collect();
        Ok(Planned { plan, columns })
    }

    fn bind(
        &self,
        plan: LogicalPlan,
        declared: &[Option<PgType>],
        values: &[Value],
    ) -> Result<LogicalPlan, Problem> {
        let mut inferred = parameters::of_plan(&plan)?;
        inferred.resize(inferred.len().max(declared.len()), None);
        if inferred.len() != values.len() {
            let message = format!(
                "the statement has {} parameters, and {} are given",
                inferred.len(),
                values.len()
            );
            return Err(Fault::error("42P02", message).into());
        }
        if values.is_empty() {
            return Ok(plan);
        }
        let zone = zone_of(self.session.settings().time_zone());
        let mut bound = Vec::with_capacity(values.len());
        for (index, (value, inferred)) in values.iter().zip(inferred).enumerate() {
            let pg_type = declared
                .get(index)
                .copied()
                .flatten()
                .unwrap_or_else(|| inferred.as_ref().map_or(TEXT, |inferred| inferred.pg_type));
            let expected = inferred.map(|inferred| inferred.data_type);
            let text = value.text_for(pg_type).map(Bytes::from);
            let decoded = params::decode(text.as_ref(), Format::Text, pg_type, expected.as_ref(), &zone);
            bound.push(decoded.map_err(|fault| Fault {
                message: format!("{}: {}", value.name(index), fault.message),
                ..fault
            })?);
        }
        Session::bind(plan, bound).map_err(|error| Problem::of(&error, ""))
    }

    /// Starts a query and waits for its first rows, so that what fails early is told with its status.
    pub(super) async fn start(
        self,
        planned: Planned,
        sql: &str,
        format: ResultFormat,
        coding: Coding,
    ) -> Result<Answer, Problem> {
        self.shared.introspection.before_execution(&self.session);
        let started = Instant::now();
        let mut stream = self
            .session
            .execute(planned.plan, sql)
            .map_err(|error| Problem::of(&error, sql))?;
        self.registration.backend().attach(stream.cancel_token());
        let mut outcome = Outcome {
            started,
            word: Some("disconnected"),
        };
        let first = match self.run(stream.next()).await {
            Ok(first) => first.transpose().map_err(|error| Problem::of(&error, sql)),
            Err(problem) => Err(problem),
        };
        let first = first.inspect_err(|problem| outcome.set(problem))?;
        let context = EncodeContext {
            time_zone: zone_of(self.session.settings().time_zone()),
            reg_names: self.shared.introspection.reg_names(&self.session),
        };
        let mut writer = ResultWriter::new(format, &stream.schema(), planned.columns, context)?;
        let mut out = BytesMut::with_capacity(WRITE_SIZE + (8 << 10));
        writer.start(&mut out);
        let packer = Packer::new(coding)
            .map_err(|error| Fault::error("53200", format!("cannot pack the result: {error}")))?;
        Ok(Answer {
            ended: first.is_none(),
            current: first.map(|batch| (batch, 0)),
            stream,
            writer,
            packer,
            out,
            outcome,
            client: self,
            sql: sql.to_owned(),
            is_over: false,
        })
    }
}

/// A query that is planned, and what the client sees of its columns.
pub(super) struct Planned {
    plan: LogicalPlan,
    columns: Vec<Column>,
}

/// The value of a parameter, as it came.
pub(super) enum Value {
    /// From an array of JSON values: what `$1…` are.
    Json(Box<RawValue>),
    /// Text for the parameter of a View of that name.
    Named { parameter: String, text: String },
}

impl Value {
    fn name(&self, index: usize) -> String {
        match self {
            Self::Json(_) => format!("parameters[{index}]"),
            Self::Named { parameter, .. } => format!("parameter \"{parameter}\""),
        }
    }

    /// The text that the type's input function reads; None is NULL.
    fn text_for(&self, pg_type: PgType) -> Option<String> {
        match self {
            Self::Named { text, .. } => Some(text.clone()),
            Self::Json(value) => json_text(value.get(), pg_type),
        }
    }
}

/// Reads JSON as it is written, for a number has as many digits as it has.
fn json_text(json: &str, pg_type: PgType) -> Option<String> {
    // json and jsonb take an array as it is
    let is_json = matches!(pg_type.base.oid, 114 | 3802) && !pg_type.array;
    if json == "null" {
        return None;
    }
    let text = serde_json::from_str::<String>(json).ok();
    let array = || serde_json::from_str::<Vec<Box<RawValue>>>(json).ok();
    let array = || array().filter(|_| !is_json).map(|items| array_text(&items));
    Some(text.or_else(array).unwrap_or_else(|| json.to_owned()))
}

/// `{"a","b",NULL}`: every element in quotes, which is right for each type.
fn array_text(items: &[Box<RawValue>]) -> String {
    let items: Vec<String> = items
        .iter()
        .map(|item| match item.get() {
            "null" => "NULL".to_owned(),
            json => {
                let text = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
        })
        .collect();
    format!("{{{}}}", items.join(","))
}

/// Counts a query when it is over, however that is.
struct Outcome {
    started: Instant,
    word: Option<&'static str>,
}

impl Outcome {
    fn set(&mut self, problem: &Problem) {
        self.word = Some(if problem.sqlstate == Some("57014") {
            "cancelled"
        } else {
            "error"
        });
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if let Some(outcome) = self.word {
            metrics::counter!("lakegate_gateway_queries_total", "outcome" => outcome).increment(1);
            let seconds = self.started.elapsed().as_secs_f64();
            metrics::histogram!("lakegate_gateway_query_seconds").record(seconds);
        }
    }
}

/// The rows of one query on their way. At most one batch and one piece of the body are held; a client that does not
/// read holds the query back, and one that leaves drops this, which ends the work.
pub(super) struct Answer {
    stream: QueryStream,
    current: Option<(RecordBatch, usize)>,
    /// No batch follows.
    ended: bool,
    writer: ResultWriter,
    packer: Packer,
    out: BytesMut,
    outcome: Outcome,
    client: Client,
    sql: String,
    /// Nothing follows in the body.
    is_over: bool,
}

impl Answer {
    /// The body: an error within it breaks the connection, so that nobody takes a part for the whole.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(self.pieces())
    }

    fn pieces(self) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
        futures::stream::unfold(self, |mut answer| async move {
            if answer.is_over {
                return None;
            }
            match answer.next().await {
                Ok(Some(piece)) => Some((Ok(piece), answer)),
                Ok(None) => None,
                Err(problem) => {
                    answer.is_over = true;
                    answer.outcome.set(&problem);
                    let (sqlstate, detail) = (problem.sqlstate.unwrap_or_default(), &problem.detail);
                    tracing::info!(sqlstate, detail, "a result over HTTP was cut off");
                    Some((Err(problem), answer))
                }
            }
        })
    }

    /// The next piece of the body, never empty.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if let Some((batch, from)) = self.current.take() {
                let reached = self.writer.rows(&batch, from, WRITE_SIZE, &mut self.out)?;
                metrics::counter!("lakegate_gateway_sent_rows_total").increment((reached - from) as u64);
                if reached < batch.num_rows() {
                    self.current = Some((batch, reached));
                }
                if self.out.len() >= WRITE_SIZE
                    && let Some(piece) = self.pack(false)?
                {
                    return Ok(Some(piece));
                }
                continue;
            }
            if self.ended {
                self.is_over = true;
                self.writer.finish(&mut self.out)?;
                let last = self
                    .packer
                    .finish(self.out.split())
                    .map_err(|error| unpacked(&error))?;
                self.outcome.word = Some("ok");
                return Ok((!last.is_empty()).then_some(last));
            }
            let next = {
                let mut next = pin!(self.stream.next());
                match futures::poll!(&mut next) {
                    std::task::Poll::Ready(next) => Some(next),
                    // the query takes its time: the client may see what there is
                    std::task::Poll::Pending if !self.out.is_empty() => None,
                    std::task::Poll::Pending => Some(self.client.run(next).await?),
                }
            };
            match next {
                Some(Some(batch)) => {
                    let batch = batch.map_err(|error| Problem::of(&error, &self.sql))?;
                    self.current = Some((batch, 0));
                }
                Some(None) => self.ended = true,
                None => {
                    if let Some(piece) = self.pack(true)? {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }

    fn pack(&mut self, flush: bool) -> Result<Option<Bytes>, Problem> {
        let bytes = self.out.split();
        let piece = self.packer.pack(bytes, flush).map_err(|error| unpacked(&error))?;
        metrics::counter!("lakegate_gateway_sent_bytes_total").increment(piece.len() as u64);
        Ok((!piece.is_empty()).then_some(piece))
    }
}

fn unpacked(error: &std::io::Error) -> Problem {
    Fault::error(
        "XX000",
        format!("internal error: the result cannot be packed: {error}"),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types;

    #[test]
    fn json_values_become_the_text_of_their_type() {
        let text = PgType::scalar(&types::TEXT);
        let jsonb = PgType::scalar(&types::JSONB);
        for (json, pg_type, expected) in [
            ("null", text, None),
            ("\"a'; drop table t\"", text, Some("a'; drop table t")),
            ("5", text, Some("5")),
            ("true", text, Some("true")),
            ("12345678901234567890.10", text, Some("12345678901234567890.10")),
            (
                "[1,\"a\\\"b\\\\\",null]",
                text,
                Some("{\"1\",\"a\\\"b\\\\\",NULL}"),
            ),
            ("[1,null]", jsonb, Some("[1,null]")),
            ("{\"a\":1}", jsonb, Some("{\"a\":1}")),
        ] {
            assert_eq!(json_text(json, pg_type).as_deref(), expected, "{json}");
        }
    }
}
