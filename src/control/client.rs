//! Asks a running serve over its control socket.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use lakegate_crds::Kind;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::{ControlError, Deletion, NoticeView, ObjectView, StartRun, StartedRun, socket_path};

#[derive(Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// A client of the serve whose state is in `state_dir`; `None` when none is running.
    pub async fn find(state_dir: &Path) -> Option<Self> {
        let path = socket_path(state_dir);
        UnixStream::connect(&path).await.ok().map(|_| Self { path })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        uri: &str,
        body: Vec<u8>,
    ) -> Result<T, ControlError> {
        let unanswered = |error: &dyn std::fmt::Display| ControlError::Unanswered {
            path: self.path.clone(),
            reason: error.to_string(),
        };
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|error| unanswered(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unanswered(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "lakegate")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unanswered(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| unanswered(&error))?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| unanswered(&error))?
            .to_bytes();
        if status == StatusCode::OK {
            serde_json::from_slice(&body).map_err(|error| unanswered(&error))
        } else {
            Err(ControlError::Refused(String::from_utf8_lossy(&body).into_owned()))
        }
    }

    pub async fn objects(&self, kind: Kind) -> Result<Vec<ObjectView>, ControlError> {
        self.ask(Method::GET, &format!("/objects/{kind}"), Vec::new())
            .await
    }

    pub async fn notices(&self) -> Result<Vec<NoticeView>, ControlError> {
        self.ask(Method::GET, "/notices", Vec::new()).await
    }

    pub async fn start_run(&self, request: &StartRun) -> Result<StartedRun, ControlError> {
        self.post("/runs", request).await
    }

    pub async fn delete(&self, deletion: &Deletion) -> Result<(), ControlError> {
        self.post("/deletions", deletion).await
    }

    async fn post<T: DeserializeOwned>(&self, uri: &str, body: &impl Serialize) -> Result<T, ControlError> {
        let body = serde_json::to_vec(body).map_err(|error| ControlError::Unanswered {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        self.ask(Method::POST, uri, body).await
    }
}
