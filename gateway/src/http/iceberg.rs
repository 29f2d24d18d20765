//! The lakes as Iceberg REST catalogs, read only: what Spark, Trino, DuckDB and PyIceberg need to open the tables that
//! SQL shows (the Iceberg specification's `rest-catalog-open-api.yaml`).
//!
//! One address serves every lake: a client says which by its `warehouse`, and is told to put that name before its
//! paths. Metadata is handed on byte for byte as it was committed, and no credential of the lake's store ever is: who
//! may read the files is for the store to say.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;
use lakegate_federation::{Federation, LakeCatalog, LakeCatalogError, SourceError};
use serde::Deserialize;
use serde_json::json;

use super::access::{Access, CHALLENGES, Credentials, Denial};
use crate::token;

/// The routes there are, as the specification writes them: a client does not try others then.
const ENDPOINTS: [&str; 6] = [
    "GET /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
];

const NO_NAMESPACE: &str = "NoSuchNamespaceException";
/// Also for an unknown namespace of a table: Spark asks for `db.table.snapshots` as the table `snapshots` of the
/// namespace `db.table` first, and only goes on after this.
const NO_TABLE: &str = "NoSuchTableException";

/// Longest form of a request for a token, in bytes.
const LONGEST_FORM: usize = 16 << 10;

#[derive(Clone)]
struct RestCatalog {
    federation: Arc<Federation>,
    access: Access,
}

/// The routes below the catalogs' address.
pub(super) fn router(federation: Arc<Federation>, access: Access) -> Router {
    let state = RestCatalog { federation, access };
    let guarded = Router::new()
        .route("/v1/config", get(config))
        .route("/v1/{prefix}/namespaces", get(namespaces))
        .route(
            "/v1/{prefix}/namespaces/{namespace}",
            get(namespace).head(namespace_exists),
        )
        .route("/v1/{prefix}/namespaces/{namespace}/tables", get(tables))
        .route(
            "/v1/{prefix}/namespaces/{namespace}/tables/{table}",
            get(table).head(table_exists),
        )
        .fallback(unsupported)
        .method_not_allowed_fallback(unsupported)
        .layer(middleware::from_fn_with_state(state.clone(), admit));
    Router::new()
        .route("/v1/oauth/tokens", post(issue_token))
        .merge(guarded)
        .with_state(state)
}

/// An error in the specification's shape.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn bad_request(message: impl Into<String>) -> Self {
        Refusal {
            status: StatusCode::BAD_REQUEST,
            kind: "BadRequestException",
            message: message.into(),
        }
    }

    fn not_found(kind: &'static str, message: impl Into<String>) -> Self {
        Refusal {
            status: StatusCode::NOT_FOUND,
            kind,
            message: message.into(),
        }
    }

    fn unavailable(message: String) -> Self {
        Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "ServiceUnavailableException",
            message,
        }
    }

    fn no_table(namespace: &str, table: &str) -> Self {
        Self::not_found(
            NO_TABLE,
            format!("Table does not exist: {}.{table}", shown(namespace)),
        )
    }

    fn no_namespace(namespace: &str) -> Self {
        Self::not_found(
            NO_NAMESPACE,
            format!("Namespace does not exist: {}", shown(namespace)),
        )
    }

    /// The lake cannot be read.
    fn unreadable(error: SourceError) -> Self {
        if error.terminal {
            return Refusal {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                kind: "InternalServerError",
                message: error.message,
            };
        }
        Self::unavailable(error.message)
    }
}

/// A namespace of several levels comes with unit separators between them.
fn shown(namespace: &str) -> String {
    namespace.replace('\u{1f}', ".")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({"error": {
            "message": self.message,
            "type": self.kind,
            "code": self.status.as_u16(),
        }});
        (self.status, Json(error)).into_response()
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let (status, kind) = match denial {
            Denial::NoCredentials | Denial::WrongCredentials => {
                (StatusCode::UNAUTHORIZED, "NotAuthorizedException")
            }
            Denial::Unprotected | Denial::ForeignHost => (StatusCode::FORBIDDEN, "ForbiddenException"),
        };
        Refusal {
            status,
            kind,
            message: denial.to_string(),
        }
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// Lets a request in, or says what it has to come with.
async fn admit(State(state): State<RestCatalog>, request: Request, next: Next) -> Response {
    match state.access.check(request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(denial) => {
            let mut response = Refusal::from(denial).into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                for challenge in CHALLENGES {
                    response
                        .headers_mut()
                        .append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
                }
            }
            response
        }
    }
}

async fn unsupported(method: Method, uri: Uri) -> Refusal {
    Refusal {
        status: StatusCode::NOT_ACCEPTABLE,
        kind: "UnsupportedOperationException",
        message: format!(
            "{method} {} is not supported: this catalog is read only and has tables alone; Exports write them",
            uri.path()
        ),
    }
}

impl RestCatalog {
    /// The lake of a path's prefix; `missing` is the type of the error when there is none.
    fn lake(&self, name: &str, missing: &'static str) -> Result<LakeCatalog, Refusal> {
        self.federation.lake(name).map_err(|error| match error {
            LakeCatalogError::Unknown { .. } | LakeCatalogError::NotALake { .. } => {
                Refusal::not_found(missing, format!("{error}; {}", self.lakes_here()))
            }
            LakeCatalogError::Unavailable { .. } => Refusal::unavailable(error.to_string()),
        })
    }

    fn lakes_here(&self) -> String {
        match self.federation.lakes() {
            lakes if lakes.is_empty() => "there is no lake here now".to_owned(),
            lakes => format!("lakes here: {}", lakes.join(", ")),
        }
    }
}

#[derive(Deserialize)]
struct Wanted {
    warehouse: Option<String>,
}

async fn config(
    State(state): State<RestCatalog>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(Wanted { warehouse }) = wanted?;
    // Never guessed: with a second lake, or while one is not reachable, the guess would be another lake.
    let Some(warehouse) = warehouse.filter(|name| !name.is_empty()) else {
        return Err(Refusal::bad_request(format!(
            "set the catalog's `warehouse` to the name of a lake; {}",
            state.lakes_here()
        )));
    };
    state.lake(&warehouse, "NotFoundException")?;
    let config = json!({
        "defaults": {},
        "overrides": {"prefix": warehouse},
        "endpoints": ENDPOINTS,
    });
    Ok(Json(config).into_response())
}

/// Which part of a list is wanted.
#[derive(Deserialize)]
struct Page {
    /// Empty for the first page; absent from a client that wants everything at once.
    #[serde(rename = "pageToken")]
    token: Option<String>,
    #[serde(rename = "pageSize")]
    size: Option<usize>,
}

impl Page {
    /// The names of the page, and the token of the next one. `names` are sorted; the token is the last name seen, so
    /// that what comes and goes meanwhile moves nothing else.
    fn of<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<(Vec<&'a str>, Option<String>), Refusal> {
        let Some(token) = &self.token else {
            return Ok((names.collect(), None));
        };
        let last = BASE64.decode(token).ok();
        let last = last
            .and_then(|last| String::from_utf8(last).ok())
            .ok_or_else(|| Refusal::bad_request("pageToken is none that this catalog gave"))?;
        let size = self.size.unwrap_or(usize::MAX);
        if size == 0 {
            return Err(Refusal::bad_request("pageSize must be 1 or more"));
        }
        let mut rest = names
            .filter(|name| last.is_empty() || *name > last.as_str())
            .peekable();
        let page: Vec<&str> = rest.by_ref().take(size).collect();
        let next = match (rest.peek(), page.last()) {
            (Some(_), Some(last)) => Some(BASE64.encode(last)),
            _ => None,
        };
        Ok((page, next))
    }
}

#[derive(Deserialize)]
struct Below {
    parent: Option<String>,
}

async fn namespaces(
    State(state): State<RestCatalog>,
    path: Result<Path<String>, PathRejection>,
    page: Result<Query<Page>, QueryRejection>,
    below: Result<Query<Below>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (Path(prefix), Query(page), Query(below)) = (path?, page?, below?);
    let lake = state.lake(&prefix, NO_NAMESPACE)?;
    if let Some(parent) = below.parent.filter(|parent| !parent.is_empty()) {
        // schemas have no schemas within
        has_namespace(&lake, &parent)?;
        return Ok(Json(json!({"namespaces": []})).into_response());
    }
    let (names, next) = page.of(lake.schemas())?;
    let names: Vec<[&str; 1]> = names.into_iter().map(|name| [name]).collect();
    Ok(Json(json!({"namespaces": names, "next-page-token": next})).into_response())
}

fn has_namespace(lake: &LakeCatalog, namespace: &str) -> Result<(), Refusal> {
    if lake.has_schema(namespace) {
        Ok(())
    } else {
        Err(Refusal::no_namespace(namespace))
    }
}

async fn namespace(
    State(state): State<RestCatalog>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((prefix, namespace)) = path?;
    let lake = state.lake(&prefix, NO_NAMESPACE)?;
    has_namespace(&lake, &namespace)?;
    Ok(Json(json!({"namespace": [namespace], "properties": {}})).into_response())
}

async fn namespace_exists(
    state: State<RestCatalog>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    namespace(state, path).await.map(|_| StatusCode::NO_CONTENT)
}

async fn tables(
    State(state): State<RestCatalog>,
    path: Result<Path<(String, String)>, PathRejection>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (Path((prefix, namespace)), Query(page)) = (path?, page?);
    let lake = state.lake(&prefix, NO_NAMESPACE)?;
    let tables = lake
        .tables(&namespace)
        .ok_or_else(|| Refusal::no_namespace(&namespace))?;
    let (names, next) = page.of(tables)?;
    let identifiers: Vec<_> = names
        .into_iter()
        .map(|name| json!({"namespace": [namespace], "name": name}))
        .collect();
    Ok(Json(json!({"identifiers": identifiers, "next-page-token": next})).into_response())
}

async fn table(
    State(state): State<RestCatalog>,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((prefix, namespace, table)) = path?;
    let lake = state.lake(&prefix, NO_TABLE)?;
    let file = lake
        .metadata_file(&namespace, &table)
        .await
        .map_err(Refusal::unreadable)?
        .ok_or_else(|| Refusal::no_table(&namespace, &table))?;
    // put together by hand: what was committed is not written anew
    let head = format!("{{\"metadata-location\":{},\"metadata\":", json!(file.location));
    let tail = ",\"config\":{}}";
    let mut body = Vec::with_capacity(head.len() + file.content.len() + tail.len());
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&file.content);
    body.extend_from_slice(tail.as_bytes());
    let json_type = [(header::CONTENT_TYPE, "application/json")];
    Ok((json_type, Body::from(body)).into_response())
}

async fn table_exists(
    State(state): State<RestCatalog>,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    let Path((prefix, namespace, table)) = path?;
    let lake = state.lake(&prefix, NO_TABLE)?;
    let exists = lake
        .has_table(&namespace, &table)
        .await
        .map_err(Refusal::unreadable)?;
    if exists {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::no_table(&namespace, &table))
    }
}

/// An error in the shape of RFC 6749, section 5.2.
fn oauth_error(status: StatusCode, error: &str, description: &str) -> Response {
    let body = json!({"error": error, "error_description": description});
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// A token for the name and the password of a user: OAuth2's client credentials, and the exchange by which clients
/// renew a token. DuckDB has no other way to come with a password, and no client sends it with every request then.
async fn issue_token(State(state): State<RestCatalog>, headers: HeaderMap, form: Body) -> Response {
    let unauthorized = |description: &str| {
        let mut response = oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", description);
        response
            .headers_mut()
            .append(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGES[0]));
        response
    };
    let users = match state.access.users() {
        Ok(Some(users)) => users,
        Ok(None) => {
            let description = "this gateway has no users: connect without credentials";
            return oauth_error(StatusCode::BAD_REQUEST, "unauthorized_client", description);
        }
        Err(denial) => return Refusal::from(denial).into_response(),
    };
    let Ok(form) = axum::body::to_bytes(form, LONGEST_FORM).await else {
        let description = "the form cannot be read, or is too long";
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", description);
    };
    let form = Form(form);
    let by_exchange = match form.get("grant_type").as_deref() {
        Some("client_credentials") => false,
        Some("urn:ietf:params:oauth:grant-type:token-exchange") => true,
        _ => {
            let description = "grant_type must be client_credentials, or token-exchange to renew a token";
            return oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type", description);
        }
    };
    let now = Timestamp::now();
    let basic = match Credentials::of(&headers) {
        Some(Credentials::Basic { user, password }) => Some((user, password)),
        _ => form.get("client_id").zip(form.get("client_secret")),
    };
    let (user, client_key) = match basic {
        // also for the exchange of a token that has ended
        Some((user, password)) => match state.access.prove(users, user.clone(), password).await {
            Some(client_key) => (user, client_key),
            None => {
                return unauthorized("the password of this user is another one, or there is no such user");
            }
        },
        None if by_exchange => {
            let subject = form.get("subject_token");
            match subject.and_then(|subject| token::read(users, &subject, now)) {
                Some(bearer) => (bearer.user, bearer.client_key),
                None => return unauthorized("the token has ended or is none of this gateway"),
            }
        }
        None => return unauthorized("give a user's name as client_id and the password as client_secret"),
    };
    let Some(token) = token::issue(users, &user, &client_key, now) else {
        return unauthorized("there is no such user any more");
    };
    let body = json!({
        "access_token": token,
        "token_type": "bearer",
        "expires_in": token::LIFETIME.as_secs(),
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// `application/x-www-form-urlencoded`.
struct Form(Bytes);

impl Form {
    /// The first value of this name.
    fn get(&self, wanted: &str) -> Option<String> {
        url::form_urlencoded::parse(&self.0)
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(token: Option<&str>, size: Option<usize>) -> Page {
        Page {
            token: token.map(str::to_owned),
            size,
        }
    }

    #[test]
    fn lists_come_in_pages() {
        let names = ["a", "b", "c", "d", "e"];
        let all = page(None, Some(2)).of(names.into_iter()).unwrap();
        assert_eq!(all, (names.to_vec(), None));
        let mut token = String::new();
        let mut seen = Vec::new();
        loop {
            let (some, next) = page(Some(&token), Some(2)).of(names.into_iter()).unwrap();
            assert!(!some.is_empty() && some.len() <= 2);
            seen.extend(some);
            match next {
                Some(next) => token = next,
                None => break,
            }
        }
        assert_eq!(seen, names);
        // the last page is full and says so
        let (some, next) = page(Some(""), Some(5)).of(names.into_iter()).unwrap();
        assert_eq!((some.len(), next), (5, None));
        // a name that went does not make another one vanish
        let (_, next) = page(Some(""), Some(2)).of(names.into_iter()).unwrap();
        let rest = ["a", "c", "d"];
        let (some, _) = page(next.as_deref(), Some(9)).of(rest.into_iter()).unwrap();
        assert_eq!(some, ["c", "d"]);
        for bad in [page(Some("?"), None), page(Some(""), Some(0))] {
            let refusal = bad.of(names.into_iter()).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        }
    }
}
