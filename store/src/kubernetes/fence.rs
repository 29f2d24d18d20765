//! A process that decides by a Lease writes only while it holds it.
//!
//! That a Lease is lost is told by a task, and until every other task of the process has heard it, one of them may still
//! write: a machine that was paused wakes up with answers to hand that it takes for new ones. So each write looks at the
//! clock itself, at the last place before it is sent.

use std::sync::{Arc, OnceLock};

use http::{Method, Request};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tower::{BoxError, filter::FilterLayer};

use super::lease::{Leadership, Tenure};

/// What the writes of a process wait behind until it holds the Lease, and again from when it does not.
#[derive(Debug, Clone, Default)]
pub struct Fence {
    tenure: Arc<OnceLock<Tenure>>,
}

/// Why a write was not sent.
#[derive(Debug, thiserror::Error)]
#[error("this process does not hold the Lease (any more), so another one decides")]
pub struct NotHeld;

impl Fence {
    /// Lets writes through for as long as this Lease is held. A process that has lost its Lease begins anew; so a second
    /// one changes nothing.
    pub fn open(&self, leadership: &Leadership) {
        let _ = self.tenure.set(leadership.tenure());
    }

    /// A client whose writes fail with [`NotHeld`], without being sent, while the Lease is not held.
    ///
    /// # Errors
    /// If the credentials of `config` cannot be used.
    pub fn client(&self, config: Config) -> kube::Result<Client> {
        let fence = self.clone();
        let check = move |request: Request<Body>| -> Result<Request<Body>, BoxError> {
            match *request.method() {
                Method::GET | Method::HEAD => Ok(request),
                _ if fence.is_open() => Ok(request),
                _ => Err(Box::new(NotHeld)),
            }
        };
        Ok(ClientBuilder::try_from(config)?
            .with_layer(&FilterLayer::new(check))
            .build())
    }

    fn is_open(&self) -> bool {
        self.tenure.get().is_some_and(Tenure::is_held)
    }
}
