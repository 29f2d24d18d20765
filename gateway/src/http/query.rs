//! SQL over HTTP: `POST /v1/query`, `GET /v1/views/NAME.csv`, and the document that describes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lakegate_federation::{RelationKind, SessionIdentity, VIEWS_SCHEMA, VIRTUAL_DATABASE, quote_identifier};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::access::Access;
use super::client::{Client, Value};
use super::format::{Coding, ResultFormat};
use super::problem::Problem;
use crate::fault::Fault;
use crate::gateway::{Shared, SharedLater};
use crate::statement::{self, Command};

/// What the routes are and say, in the words of OpenAPI.
const OPENAPI: &str = include_str!("openapi.json");

#[derive(Clone)]
struct Queries {
    shared: SharedLater,
    access: Access,
}

/// The routes under `/v1`.
pub(super) fn router(shared: SharedLater, access: Access) -> Router {
    Router::new()
        .route("/v1/query", post(query))
        .route("/v1/views/{file}", get(view))
        .route("/v1/openapi.json", get(openapi))
        .method_not_allowed_fallback(wrong_method)
        .with_state(Queries { shared, access })
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} {} is not there; see /v1/openapi.json", uri.path()),
    )
}

impl Queries {
    /// Who asks, and what to ask.
    async fn admit(&self, version: Version, headers: &HeaderMap) -> Result<(String, Arc<Shared>), Problem> {
        let user = self.access.user(headers).await?;
        // Its bodies end with the connection: a result that was cut off would look whole.
        if version < Version::HTTP_11 {
            return Err(Problem::new(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "a result is sent over HTTP/1.1, where its end is told; for nginx set `proxy_http_version 1.1`",
            ));
        }
        let shared = self
            .shared
            .get()
            .ok_or_else(|| Problem::from(Fault::fatal("57P03", "the database system is starting up")))?;
        Ok((user, Arc::clone(shared)))
    }
}

/// The body of `POST /v1/query`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    sql: String,
    #[serde(default)]
    parameters: Vec<Box<RawValue>>,
    database: Option<String>,
    format: Option<ResultFormat>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
}

/// A request as JSON. Only as JSON, and named so: no page of another site can send that without being asked first.
fn read(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Request, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = content_type
        .and_then(|it| it.split(';').next())
        .unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the query as JSON, with Content-Type: application/json",
        ));
    }
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is no query: {error}"))
            .with_hint("Send {\"sql\": \"select …\", \"parameters\": […]}; see /v1/openapi.json.")
    })
}

async fn query(
    State(state): State<Queries>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    version: Version,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (user, shared) = state.admit(version, &headers).await?;
    let request = read(&headers, body)?;
    let format = match request.format {
        Some(format) => format,
        None => ResultFormat::accepted(&headers)?,
    };
    let identity = SessionIdentity {
        user,
        database: request.database.unwrap_or_else(|| VIRTUAL_DATABASE.to_owned()),
    };
    let client = Client::open(shared, identity, request.settings, peer)?;
    let values: Vec<Value> = request.parameters.into_iter().map(Value::Json).collect();
    let planned = client
        .plan(one_query(&request.sql)?, &request.sql, &values)
        .await?;
    let coding = Coding::accepted(&headers);
    let answer = client.start(planned, &request.sql, format, coding).await?;
    Ok(respond(format, coding, answer.into_body()))
}

/// The one query of a text.
fn one_query(sql: &str) -> Result<datafusion::sql::sqlparser::ast::Statement, Problem> {
    let mut statements = statement::parse(sql)?;
    let command = match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => statement.command,
        _ => return Err(Fault::error("42601", "exactly one statement is expected").into()),
    };
    match command {
        Command::Query(query) => Ok(*query),
        Command::CopyOut { .. } => Err(Fault::error("0A000", "COPY is not for HTTP")
            .with_hint("Send its query, and \"format\": \"csv\".")
            .into()),
        _ => Err(Fault::error(
            "0A000",
            "only a query can be sent over HTTP: each request is a session of its own",
        )
        .with_hint("Give settings as \"settings\": {\"TimeZone\": \"Asia/Seoul\"}.")
        .into()),
    }
}

async fn view(
    State(state): State<Queries>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    method: Method,
    version: Version,
    headers: HeaderMap,
    Path(file): Path<String>,
    RawQuery(parameters): RawQuery,
) -> Result<Response, Problem> {
    let (user, shared) = state.admit(version, &headers).await?;
    let (name, format) = file
        .rsplit_once('.')
        .and_then(|(name, ending)| Some((name, ResultFormat::by_ending(ending)?)))
        .ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "a View is read as /v1/views/NAME.csv, NAME.json or NAME.arrow",
            )
        })?;
    let identity = SessionIdentity {
        user,
        database: VIRTUAL_DATABASE.to_owned(),
    };
    let client = Client::open(shared, identity, [], peer)?;
    // as this user sees it
    let Some(kind) = client.view(name) else {
        let fault = Fault::error("42P01", format!("View \"{name}\" does not exist"));
        let problem = Problem::from(fault.with_hint("See: select view, description from lakegate.views."));
        return Err(problem.with_status(StatusCode::NOT_FOUND));
    };
    let takes = kind == RelationKind::TableFunction;
    let (sql, values) = call(name, takes, parameters.as_deref())?;
    let planned = client.plan(one_query(&sql)?, &sql, &values).await?;
    let coding = Coding::accepted(&headers);
    // who asks for the head alone starts nothing
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        client.start(planned, &sql, format, coding).await?.into_body()
    };
    let mut response = respond(format, coding, body);
    // the name of a View that exists: letters, digits and _
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{file}\"")) {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// The query for a View: a value is a parameter of the statement, never a part of its text.
fn call(name: &str, takes: bool, parameters: Option<&str>) -> Result<(String, Vec<Value>), Problem> {
    let mut values = Vec::new();
    let mut arguments = Vec::new();
    let pairs = url::form_urlencoded::parse(parameters.unwrap_or_default().as_bytes());
    for (parameter, text) in pairs {
        if !takes {
            let message = format!("views.{name} has no parameter \"{parameter}\": it has none");
            return Err(Fault::error("42883", message).into());
        }
        let number = values.len() + 1;
        arguments.push(format!("{} => ${number}", quote_identifier(&parameter)));
        values.push(Value::Named {
            parameter: parameter.into_owned(),
            text: text.into_owned(),
        });
    }
    let name = quote_identifier(name);
    let arguments = if takes {
        format!("({})", arguments.join(", "))
    } else {
        String::new()
    };
    Ok((format!("select * from {VIEWS_SCHEMA}.{name}{arguments}"), values))
}

fn respond(format: ResultFormat, coding: Coding, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::VARY,
        HeaderValue::from_static("Accept, Accept-Encoding, Authorization"),
    );
    if let Some(coding) = coding.name() {
        headers.insert(header::CONTENT_ENCODING, coding);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_no_part_of_the_text() {
        let (sql, values) = call("f", true, Some("day=2026-11-01&a%22b=%27%3B+drop+table+t")).unwrap();
        assert_eq!(sql, "select * from views.f(day => $1, \"a\"\"b\" => $2)");
        assert!(matches!(&values[1], Value::Named { text, .. } if text == "'; drop table t"));
        assert_eq!(call("f", false, None).unwrap().0, "select * from views.f");
        assert_eq!(call("f", true, None).unwrap().0, "select * from views.f()");
        assert!(call("f", false, Some("x=1")).is_err());
    }
}
