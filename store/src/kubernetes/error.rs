//! Requests to the API server: how long they may take, and its refusals in Lakegate's words.

use std::{fmt, future::Future, io, time::Duration};

use kube::core::Status;
use lakegate_crds::validation::Problem;
use lakegate_crds::{Kind, LakegateResource};

use crate::{Key, StoreError};

/// How long one request may take. A watch is not one.
pub(super) const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

/// What was asked, for messages.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub verb: &'static str,

    /// Plural of the resource, with its subresource: `exports/status`.
    pub resource: String,

    /// API group; empty for Kubernetes' own core.
    pub group: &'static str,

    pub namespace: String,

    /// `None` for all objects of the namespace.
    pub name: Option<String>,
}

impl Request {
    pub fn of<K: LakegateResource>(verb: &'static str, key: &Key) -> Self {
        Self {
            verb,
            resource: K::KIND.plural().to_owned(),
            group: lakegate_crds::GROUP,
            namespace: key.namespace.clone(),
            name: Some(key.name.clone()),
        }
    }

    pub fn status_of<K: LakegateResource>(verb: &'static str, key: &Key) -> Self {
        Self {
            resource: format!("{}/status", K::KIND.plural()),
            ..Self::of::<K>(verb, key)
        }
    }

    pub fn all(verb: &'static str, kind: Kind, namespace: &str) -> Self {
        Self {
            verb,
            resource: kind.plural().to_owned(),
            group: lakegate_crds::GROUP,
            namespace: namespace.to_owned(),
            name: None,
        }
    }

    pub fn foreign(
        verb: &'static str,
        group: &'static str,
        resource: &str,
        namespace: &str,
        name: Option<&str>,
    ) -> Self {
        Self {
            verb,
            resource: resource.to_owned(),
            group,
            namespace: namespace.to_owned(),
            name: name.map(str::to_owned),
        }
    }

    /// The error that a refusal is.
    pub fn failed(&self, error: kube::Error) -> StoreError {
        match error {
            kube::Error::Api(status) if is_terminating(&status) => StoreError::NamespaceTerminating {
                namespace: self.namespace.clone(),
            },
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => StoreError::Forbidden {
                verb: self.verb,
                resource: self.resource.clone(),
                group: self.group,
                namespace: self.namespace.clone(),
                message: status.message.clone(),
            },
            // About a kind that it does not serve the API server says so in plain text, without a reason.
            kube::Error::Api(status) if status.code == 404 && self.name.is_none() => {
                StoreError::NotInstalled {
                    resource: format!("{}.{}", self.resource, self.group),
                }
            }
            error => StoreError::Kubernetes {
                action: self.to_string(),
                source: Box::new(error),
            },
        }
    }
}

/// `list exports in namespace shop`, `patch exports/status orders in namespace shop`.
impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)?;
        if let Some(name) = &self.name {
            write!(formatter, " {name}")?;
        }
        write!(formatter, " in namespace {}", self.namespace)
    }
}

/// The answer to a request, or that there was none in time: the connection may be a dead one.
pub(super) async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    tokio::time::timeout(REQUEST_PATIENCE, request)
        .await
        .unwrap_or_else(|_| {
            let silence = format!("no answer within {} s", REQUEST_PATIENCE.as_secs());
            Err(kube::Error::Service(Box::new(io::Error::new(
                io::ErrorKind::TimedOut,
                silence,
            ))))
        })
}

/// What the API server finds wrong with an object, as problems.
pub(super) fn problems_of(status: &Status) -> Vec<Problem> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut problems: Vec<_> = causes
        .map(|cause| Problem::invalid(cause.field.clone(), cause.message.clone()))
        .collect();
    if problems.is_empty() {
        problems.push(Problem::invalid("", status.message.clone()));
    }
    problems
}

/// Nothing can be created in a namespace that is being deleted; the API server calls that forbidden.
pub(super) fn is_terminating(status: &Status) -> bool {
    status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .any(|cause| cause.reason == "NamespaceTerminating")
}
