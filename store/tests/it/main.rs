//! What a home promises, against real files and processes.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod corpus;
mod crash;
mod folder;
mod kubernetes;
mod offline;
mod validate;
mod watching;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use lakegate_crds::{DataSource, LakegateResource};
use lakegate_store::{Entry, Event, FolderOptions, FolderStore, Key, Store};

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of manifests, its state directory, and the store over them.
struct Served {
    root: tempfile::TempDir,
    store: Option<Arc<FolderStore>>,
    options: FolderOptions,
}

impl Served {
    fn folder(&self) -> PathBuf {
        self.root.path().join("manifests")
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// Nothing is served yet.
    fn empty() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("manifests")).unwrap();
        let options = FolderOptions {
            debounce: Duration::from_millis(40),
            secrets_dir: Some(root.path().join("secrets")),
            ..FolderOptions::default()
        };
        Self {
            root,
            store: None,
            options,
        }
    }

    /// Serves `files`.
    async fn new(files: &[(&str, &str)]) -> Self {
        let mut served = Self::empty();
        for (file, text) in files {
            served.write(file, text);
        }
        served.start().await;
        served
    }

    async fn start(&mut self) {
        self.store = None;
        let store = FolderStore::open(self.folder(), self.state(), self.options.clone())
            .await
            .unwrap();
        self.store = Some(Arc::new(store));
    }

    /// Ends the store as the end of its process does, and starts another.
    async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    async fn stop(&mut self) {
        let store = self.store.take().unwrap();
        store.close().await;
        assert_eq!(Arc::strong_count(&store), 1);
    }

    fn store(&self) -> &Arc<FolderStore> {
        self.store.as_ref().unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.folder().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn delete(&self, file: &str) {
        fs::remove_file(self.folder().join(file)).unwrap();
    }

    /// What is known right after a look at the folder.
    async fn look(&self) {
        self.store().reload().await.unwrap();
    }

    async fn get<K: LakegateResource>(&self, name: &str) -> Option<Entry<K>>
    where
        FolderStore: Store<K>,
    {
        Store::<K>::get(&**self.store(), &Key::named(name)).await.unwrap()
    }

    async fn source(&self, name: &str) -> Entry<DataSource> {
        self.get::<DataSource>(name)
            .await
            .unwrap_or_else(|| panic!("{name} is not there"))
    }

    async fn names(&self) -> Vec<String> {
        let entries = Store::<DataSource>::list(&**self.store()).await.unwrap();
        entries.into_iter().map(|entry| entry.key.name).collect()
    }

    fn problems(&self) -> Vec<String> {
        self.store().problems().iter().map(ToString::to_string).collect()
    }

    fn watch(&self) -> BoxStream<'static, Event<DataSource>> {
        Store::<DataSource>::watch(&**self.store())
    }
}

/// Reads a watch until an event is as wanted.
async fn until<K: LakegateResource>(
    watch: &mut BoxStream<'static, Event<K>>,
    wanted: impl Fn(&Event<K>) -> bool,
) -> Vec<Event<K>> {
    let mut seen = Vec::new();
    tokio::time::timeout(PATIENCE, async {
        while let Some(event) = watch.next().await {
            let is_wanted = wanted(&event);
            seen.push(event);
            if is_wanted {
                return;
            }
        }
        panic!("the watch ended");
    })
    .await
    .unwrap_or_else(|_| panic!("only these events came: {seen:?}"));
    seen
}

fn source(name: &str, path: &str) -> String {
    format!(
        "apiVersion: lakegate.dev/v1alpha1\nkind: DataSource\nmetadata:\n  name: {name}\nspec:\n  sqlite:\n    path: {path}\n"
    )
}

fn view(name: &str, sql: &str) -> String {
    format!("apiVersion: lakegate.dev/v1alpha1\nkind: View\nmetadata:\n  name: {name}\nspec:\n  sql: {sql}\n")
}

/// Several documents in one file.
fn file(documents: &[String]) -> String {
    documents.join("---\n")
}

fn path_of(entry: &Entry<DataSource>) -> Option<&str> {
    entry
        .object
        .as_ref()?
        .spec
        .sqlite
        .as_ref()
        .map(|sqlite| sqlite.path.as_str())
}

fn replace_link(target: &str, link: &Path) {
    let temporary = link.with_file_name("..data_tmp");
    symlink(target, &temporary).unwrap();
    fs::rename(temporary, link).unwrap();
}
