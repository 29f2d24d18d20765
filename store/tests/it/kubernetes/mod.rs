//! The home on Kubernetes, against a real API server.
//!
//! The API server is started once for all tests that leave it alone, each in namespaces of its own, and once more for
//! those that kill it or change its definitions. Both end with this process: see `tests/cluster/session.sh`.

mod contract;
mod corpus;
mod faults;
mod lease;
mod notices;
mod objects;
mod rights;
mod scale;

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, ValidationDirective},
    config::{KubeConfigOptions, Kubeconfig},
};
use lakegate_crds::{API_VERSION, Kind, LakegateResource};
use lakegate_store::{Entry, Event, KubernetesOptions, KubernetesStore, Store};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::PATIENCE;

/// An API server with Lakegate's definitions.
struct Cluster {
    directory: PathBuf,
    kubeconfig: Kubeconfig,
    namespaces: AtomicUsize,
    // The cluster lasts as long as the other end of this pipe is open.
    _session: std::process::Child,
}

/// Owner of what the tests apply.
const USER: &str = "user";

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cluster")
}

/// The API server that all tests share.
fn shared() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start("shared"))
}

/// The API server of the test that holds it: it may do anything to it, and leaves it as it was.
async fn exclusive() -> MutexGuard<'static, Cluster> {
    static CLUSTER: OnceLock<Mutex<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| Mutex::new(Cluster::start("exclusive")))
        .lock()
        .await
}

impl Cluster {
    fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("lakegate-{name}-{}", std::process::id()));
        let mut session = Command::new("bash")
            .arg(scripts().join("session.sh"))
            .arg("--api")
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut kubeconfig = String::new();
        BufReader::new(session.stdout.take().unwrap())
            .read_line(&mut kubeconfig)
            .unwrap();
        if kubeconfig.is_empty() {
            let mut problem = String::new();
            drop(session.stdin.take());
            session
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut problem)
                .unwrap();
            panic!("no API server: {problem}");
        }
        let cluster = Self {
            kubeconfig: Kubeconfig::read_from(kubeconfig.trim()).unwrap(),
            directory,
            namespaces: AtomicUsize::new(0),
            _session: session,
        };
        // On a runtime that ends here: the connections of a client belong to the one that made it.
        std::thread::scope(|scope| {
            let install = || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async { install(&cluster.client().await).await });
            };
            scope.spawn(install).join().unwrap();
        });
        cluster
    }

    async fn config(&self) -> Config {
        Config::from_custom_kubeconfig(self.kubeconfig.clone(), &KubeConfigOptions::default())
            .await
            .unwrap()
    }

    async fn client(&self) -> Client {
        Client::try_from(self.config().await).unwrap()
    }

    /// A client that has the rights of this user alone.
    async fn client_as(&self, user: &str) -> Client {
        let mut config = self.config().await;
        config.auth_info.impersonate = Some(user.to_owned());
        Client::try_from(config).unwrap()
    }

    /// A client by way of a port that stands for the API server's.
    async fn client_at(&self, port: u16) -> Client {
        let mut config = self.config().await;
        config.cluster_url = format!("https://127.0.0.1:{port}").parse().unwrap();
        Client::try_from(config).unwrap()
    }

    async fn port(&self) -> u16 {
        self.config().await.cluster_url.port_u16().unwrap()
    }

    /// A new namespace.
    async fn namespace(&self) -> String {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{number}");
        ensure_namespace(&self.client().await, &name).await;
        name
    }
}

async fn ensure_namespace(client: &Client, name: &str) {
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let created = Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await;
    if let Err(error) = created {
        assert!(
            matches!(&error, kube::Error::Api(status) if status.is_already_exists()),
            "{error}"
        );
    }
}

/// Applies every definition, and waits until its kind is served.
async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in lakegate_crds::crds() {
        let name = definition.metadata.name.clone().unwrap();
        api.patch(
            &name,
            &PatchParams::apply("installer").force(),
            &Patch::Apply(&definition),
        )
        .await
        .unwrap();
    }
    for kind in Kind::ALL {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource(kind));
        eventually(&format!("{kind} is served"), async || {
            api.list(&kube::api::ListParams::default()).await.is_ok()
        })
        .await;
    }
}

fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: lakegate_crds::GROUP.to_owned(),
        version: lakegate_crds::VERSION.to_owned(),
        api_version: API_VERSION.to_owned(),
        kind: kind.to_string(),
        plural: kind.plural().to_owned(),
    }
}

/// Objects of one kind as the API server has them.
fn objects(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

/// Does what `kubectl apply --server-side --validate=strict` does.
async fn try_apply(client: &Client, manifest: &Value) -> kube::Result<DynamicObject> {
    let kind: Kind = manifest["kind"].as_str().unwrap().parse().unwrap();
    let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or("default");
    let name = manifest["metadata"]["name"].as_str().unwrap();
    let parameters = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(USER).force()
    };
    objects(client, kind, namespace)
        .patch(name, &parameters, &Patch::Apply(manifest))
        .await
}

async fn apply(client: &Client, manifest: &Value) -> DynamicObject {
    try_apply(client, manifest).await.unwrap()
}

async fn open(client: Client, namespaces: &[&str]) -> Arc<KubernetesStore> {
    let options = KubernetesOptions {
        namespaces: namespaces.iter().map(|it| (*it).to_owned()).collect(),
        component: "lakegate-test".to_owned(),
    };
    Arc::new(KubernetesStore::open(client, options).await.unwrap())
}

fn export(namespace: &str, name: &str, cron: &str) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Export",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "from": {"sourceRef": {"name": "shop"}, "table": {"name": "orders"}}, "allColumns": {},
            "schedule": {"cron": cron},
            "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": name.replace('-', "_")},
        }
    })
}

fn run_of<K: LakegateResource>(namespace: &str, name: &str) -> K {
    serde_json::from_value(json!({
        "apiVersion": API_VERSION, "kind": "ExportRun",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"exportRef": {"name": "orders"}}
    }))
    .unwrap()
}

fn view(namespace: &str, name: &str, sql: &str) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "View",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"sql": sql}
    })
}

/// Asks until the answer is yes.
async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE * 4, asking).await.is_ok(),
        "not within {PATIENCE:?}: {what}"
    );
}

async fn get<K: LakegateResource>(store: &KubernetesStore, namespace: &str, name: &str) -> Option<Entry<K>>
where
    KubernetesStore: Store<K>,
{
    let key = lakegate_store::Key::new(namespace, name);
    Store::<K>::get(store, &key).await.unwrap()
}

/// Waits until an object is as wanted.
async fn wait_for<K: LakegateResource>(
    store: &KubernetesStore,
    namespace: &str,
    name: &str,
    wanted: impl Fn(&Entry<K>) -> bool,
) -> Entry<K>
where
    KubernetesStore: Store<K>,
{
    let mut events = Store::<K>::watch(store);
    let seen = crate::until(&mut events, |event| {
        matches!(event, Event::Applied(entry)
            if entry.key.namespace == namespace && entry.key.name == name && wanted(entry))
    })
    .await;
    let Some(Event::Applied(entry)) = seen.into_iter().next_back() else {
        panic!("the last event is the wanted one")
    };
    entry
}
