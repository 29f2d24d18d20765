//! The control socket of a running serve.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Path as UrlPath, State},
    http::StatusCode,
    routing::{get, post},
};
use lakegate_crds::Kind;
use lakegate_operator::OperatorHandle;
use lakegate_store::{FolderStore, Key, ResourceStore};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::{
    ControlError, Deletion, NoticeView, ObjectView, StartRun, StartedRun, decide_deletion, list_objects,
    socket_path,
};

#[derive(Clone)]
struct Instance {
    store: Arc<dyn ResourceStore>,
    folder: Arc<FolderStore>,
    operator: OperatorHandle,
}

type Refusal = (StatusCode, String);

fn failed(error: &lakegate_store::StoreError) -> Refusal {
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        crate::commands::with_causes(error),
    )
}

async fn objects(
    State(instance): State<Instance>,
    UrlPath(kind): UrlPath<Kind>,
) -> Result<Json<Vec<ObjectView>>, Refusal> {
    list_objects(instance.store.as_ref(), kind)
        .await
        .map(Json)
        .map_err(|error| failed(&error))
}

async fn notices(State(instance): State<Instance>) -> Result<Json<Vec<NoticeView>>, Refusal> {
    let notices = instance
        .store
        .list_notices()
        .await
        .map_err(|error| failed(&error))?;
    Ok(Json(notices.into_iter().map(NoticeView::from).collect()))
}

async fn start_run(
    State(instance): State<Instance>,
    Json(request): Json<StartRun>,
) -> Result<Json<StartedRun>, Refusal> {
    let key = Key::new(request.namespace, request.export);
    let run = instance
        .operator
        .run_now(&key)
        .await
        .map_err(|error| (StatusCode::CONFLICT, crate::commands::with_causes(&error)))?;
    Ok(Json(StartedRun { run: run.name }))
}

async fn delete(
    State(instance): State<Instance>,
    Json(deletion): Json<Deletion>,
) -> Result<Json<()>, Refusal> {
    decide_deletion(&instance.folder, &deletion)
        .await
        .map(Json)
        .map_err(|error| (StatusCode::CONFLICT, crate::commands::with_causes(&error)))
}

/// Answer on the socket in `state_dir` until `shutdown`. The state directory's lock is held by this process, so a
/// socket that is there is a dead one's.
///
/// # Errors
/// If the socket cannot be created.
pub async fn serve(
    state_dir: &Path,
    folder: Arc<FolderStore>,
    operator: OperatorHandle,
    shutdown: CancellationToken,
) -> Result<(), ControlError> {
    let path: PathBuf = socket_path(state_dir);
    let socket = |source| ControlError::Socket {
        path: path.clone(),
        source,
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(socket(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(socket)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(socket)?;
    let routes = Router::new()
        .route("/objects/{kind}", get(objects))
        .route("/notices", get(notices))
        .route("/runs", post(start_run))
        .route("/deletions", post(delete))
        .with_state(Instance {
            store: Arc::<FolderStore>::clone(&folder),
            folder,
            operator,
        });
    let served = axum::serve(listener, routes)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(socket);
    // Best effort: the next start removes a socket that stayed behind.
    let _ = std::fs::remove_file(&path);
    served
}
