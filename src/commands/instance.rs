//! The instance that `get`, `describe` and `run` speak of: a running serve, or the state of a stopped one.

use std::sync::Arc;

use lakegate_crds::Kind;
use lakegate_store::{FolderStore, Notices as _};

use super::Failure;
use crate::{
    cli::StateOptions,
    control::{self, Client, NoticeView, ObjectView},
};

pub enum Instance {
    Running(Client),
    Stopped(Arc<FolderStore>),
}

impl Instance {
    /// The running serve of this state directory, else its state, for which it is locked.
    ///
    /// # Errors
    /// If there is no state there, or it cannot be opened.
    pub async fn find(state: &StateOptions) -> Result<Self, Failure> {
        if let Some(client) = Client::find(&state.state_dir).await {
            return Ok(Self::Running(client));
        }
        if !state.state_dir.exists() {
            return Err(format!(
                "no lakegate has its state in {}: name the directory with --state-dir, or start one with `lakegate serve DIR`",
                state.state_dir.display()
            )
            .into());
        }
        Ok(Self::Stopped(Arc::new(
            FolderStore::open_offline(&state.state_dir).await?,
        )))
    }

    pub async fn objects(&self, kind: Kind) -> Result<Vec<ObjectView>, Failure> {
        Ok(match self {
            Self::Running(client) => client.objects(kind).await?,
            Self::Stopped(store) => control::list_objects(store.as_ref(), kind).await?,
        })
    }

    pub async fn notices(&self) -> Result<Vec<NoticeView>, Failure> {
        Ok(match self {
            Self::Running(client) => client.notices().await?,
            Self::Stopped(store) => store
                .list_notices()
                .await?
                .into_iter()
                .map(NoticeView::from)
                .collect(),
        })
    }
}
