//! When to look at the folder: the system's events, debounced, with a slow regular look as a net under them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::ModifyKind};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::{FolderOptions, Inner, scan};

/// Reloads a store until it is dropped.
pub(super) struct Watcher {
    task: JoinHandle<()>,
}

impl Watcher {
    pub fn start(inner: &Arc<Inner>, options: &FolderOptions) -> Self {
        let (signal, signals) = mpsc::channel(1);
        let events = inner.folder.as_ref().filter(|_| !options.poll).and_then(|folder| {
            Events::start(folder, inner.state.path(), signal)
                .inspect_err(|error| {
                    tracing::warn!(%error, interval = ?options.poll_interval, "no file events: the manifests folder is polled");
                })
                .ok()
        });
        let interval = if events.is_some() {
            options.rescan
        } else {
            options.poll_interval
        };
        // Weak: the task must not keep the store, and with it the lock, alive.
        let task = tokio::spawn(run(
            Arc::downgrade(inner),
            events,
            signals,
            options.debounce,
            interval,
        ));
        Self { task }
    }

    /// Stops before the next look; one that is under way ends by itself.
    pub fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(
    inner: Weak<Inner>,
    mut events: Option<Events>,
    mut signals: mpsc::Receiver<()>,
    debounce: Duration,
    interval: Duration,
) {
    let mut failing = false;
    loop {
        let signalled = tokio::select! {
            signal = signals.recv(), if events.is_some() => signal.is_some(),
            () = tokio::time::sleep(interval) => false,
        };
        if signalled {
            quiet(&mut signals, debounce).await;
        }
        let Some(inner) = inner.upgrade() else { return };
        // In a task of its own: aborting this one must not stop a change half way.
        let reload = tokio::spawn(async move { inner.reload().await }).await;
        match reload {
            Ok(Ok(())) => {
                if failing {
                    tracing::info!("the manifests folder is read again");
                }
                failing = false;
            }
            Ok(Err(error)) => {
                if !failing {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the manifests folder was not read: what runs stays as it is");
                }
                failing = true;
            }
            // The runtime shuts down.
            Err(_) => return,
        }
        if failing {
            // Whatever it was (a full disk, an unmounted folder), look again soon.
            tokio::time::sleep(Duration::from_secs(1).min(interval)).await;
            if let Some(events) = &mut events {
                events.signal();
            }
        }
        if let Some(events) = &mut events {
            events.follow();
        }
    }
}

/// Waits until no signal came for `debounce`, at most four times as long: a file that is written all the time is
/// read nevertheless.
async fn quiet(signals: &mut mpsc::Receiver<()>, debounce: Duration) {
    let last = Instant::now() + debounce * 4;
    loop {
        let until = (Instant::now() + debounce).min(last);
        match tokio::time::timeout_at(until, signals.recv()).await {
            Ok(Some(())) if Instant::now() < last => {}
            _ => return,
        }
    }
}

/// The system's events for a folder, also when the folder is a link that is swapped.
struct Events {
    folder: PathBuf,
    target: Option<PathBuf>,
    watcher: RecommendedWatcher,
    signal: mpsc::Sender<()>,
}

impl Events {
    fn start(folder: &Path, state: &Path, signal: mpsc::Sender<()>) -> notify::Result<Self> {
        let filter = Filter {
            folder: folder.to_owned(),
            target: folder.canonicalize().ok(),
            state: state.to_owned(),
        };
        let sender = signal.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error (a queue that overflowed) may hide a change: look.
            if event.map_or(true, |event| filter.matters(&event)) {
                // Full means that a look is due already.
                let _ = sender.try_send(());
            }
        })?;
        watcher.watch(folder, RecursiveMode::Recursive)?;
        // Sees the folder itself replaced; without it the regular look still does.
        if let Some(parent) = folder.parent() {
            let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
        }
        Ok(Self {
            folder: folder.to_owned(),
            target: folder.canonicalize().ok(),
            watcher,
            signal,
        })
    }

    fn signal(&self) {
        let _ = self.signal.try_send(());
    }

    /// Watches the folder anew when it became another one.
    fn follow(&mut self) {
        let target = self.folder.canonicalize().ok();
        if target == self.target || target.is_none() {
            return;
        }
        let _ = self.watcher.unwatch(&self.folder);
        match self.watcher.watch(&self.folder, RecursiveMode::Recursive) {
            Ok(()) => {
                self.target = target;
                // It may have changed between the look and the watch.
                self.signal();
            }
            Err(error) => tracing::warn!(%error, "the replaced manifests folder is not watched yet"),
        }
    }
}

/// Which events can mean that a manifest changed.
struct Filter {
    folder: PathBuf,
    target: Option<PathBuf>,
    state: PathBuf,
}

impl Filter {
    fn matters(&self, event: &notify::Event) -> bool {
        if matches!(event.kind, EventKind::Access(_)) || event.need_rescan() {
            return event.need_rescan();
        }
        // Renames and removals of directories and links carry no file's name.
        let is_structural = matches!(
            event.kind,
            EventKind::Create(notify::event::CreateKind::Folder)
                | EventKind::Remove(_)
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Any
                | EventKind::Other
        );
        event.paths.is_empty()
            || event
                .paths
                .iter()
                .any(|path| self.path_matters(path, is_structural))
    }

    fn path_matters(&self, path: &Path, is_structural: bool) -> bool {
        if path == self.folder {
            return true;
        }
        // The state's own files, in the folder or not.
        if path.starts_with(&self.state) {
            return false;
        }
        let Ok(below) = path.strip_prefix(&self.folder).or_else(|_| {
            self.target
                .as_ref()
                .map_or(Err(()), |target| path.strip_prefix(target).map_err(|_| ()))
        }) else {
            return false;
        };
        // `..data` and the like are a mounted ConfigMap's; other dot paths are nobody's manifests.
        let is_hidden = below.components().any(|part| {
            let part = part.as_os_str();
            scan::is_temporary(part) && !part.to_string_lossy().starts_with("..")
        });
        !is_hidden && (is_structural || scan::is_manifest(path) || path.extension().is_none())
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, DataChange, RenameMode};

    use super::*;

    #[test]
    fn only_events_that_can_change_manifests_matter() {
        let filter = Filter {
            folder: "/f".into(),
            target: Some("/real".into()),
            state: "/f/state".into(),
        };
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let rename = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        for (kind, path, matters) in [
            (data, "/f/a.yaml", true),
            (data, "/real/sub/a.yml", true),
            (data, "/f/sub/a.json", true),
            (data, "/f/part-0.parquet", false),
            (data, "/f/.a.yaml.swp", false),
            (data, "/f/a.yaml~", false),
            (data, "/f/.git/index", false),
            (data, "/f/state/state.db-wal", false),
            (data, "/elsewhere/a.yaml", false),
            (rename, "/f/..data", true),
            (rename, "/f/teams.d", true),
            (EventKind::Create(CreateKind::Folder), "/f/.lakegate", false),
            (EventKind::Create(CreateKind::Any), "/f", true),
            (EventKind::Access(AccessKind::Any), "/f/a.yaml", false),
        ] {
            let event = notify::Event::new(kind).add_path(path.into());
            assert_eq!(filter.matters(&event), matters, "{kind:?} {path}");
        }
    }
}
