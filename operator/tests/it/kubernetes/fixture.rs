//! A real API server with its controllers, without a node: the tests are the scheduler and the kubelet.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{Namespace, Node, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use lakegate_crds::ExportRun;
use lakegate_operator::{
    WorkerLauncher as _,
    clock::Clock,
    kubernetes::{JobLauncher, JobOptions},
    launcher::{Worker, WorkerEvent},
    protocol::{Failure, PROTOCOL_VERSION, Phase, Progress, Report, RunIdentity, WorkOrder, WorkerMessage},
};
use lakegate_store::MemoryStore;
use serde_json::{Value, json};

use super::kubelet::Kubelet;
use crate::{
    harness::{PATIENCE, export},
    orders::{bucket, postgres},
};

/// The node that the tests play.
pub const NODE: &str = "n1";

pub struct Cluster {
    directory: PathBuf,
    kubeconfig: Kubeconfig,
    pub kubelet: Arc<Kubelet>,
    namespaces: AtomicUsize,
    // The cluster lasts as long as the other end of this pipe is open.
    _session: std::process::Child,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cluster")
}

/// The cluster that all tests share.
pub fn shared() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start("jobs"))
}

impl Cluster {
    pub fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("lakegate-{name}-{}", std::process::id()));
        let mut session = Command::new("bash")
            .arg(scripts().join("session.sh"))
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
        let (kubelet, address) = Kubelet::start(&directory.join("pki"));
        let cluster = Self {
            kubeconfig: Kubeconfig::read_from(kubeconfig.trim()).unwrap(),
            directory,
            kubelet,
            namespaces: AtomicUsize::new(0),
            _session: session,
        };
        // On a runtime that ends here: the connections of a client belong to the one that made it.
        std::thread::scope(|scope| {
            let furnish = || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async { furnish(&cluster.client().await, address).await });
            };
            scope.spawn(furnish).join().unwrap();
        });
        cluster
    }

    pub async fn client(&self) -> Client {
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(self.kubeconfig.clone(), &options)
            .await
            .unwrap();
        Client::try_from(config).unwrap()
    }

    /// A namespace of the caller's own, and a run in it.
    pub async fn place(&'static self) -> Place {
        let client = self.client().await;
        let namespace = format!("t{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        let run: ExportRun = serde_json::from_value(json!({
            "apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun", "metadata": {"name": "orders-202605110000-abcdef"},
            "spec": {"exportRef": {"name": "orders"}},
        }))
        .unwrap();
        let run = Api::<ExportRun>::namespaced(client.clone(), &namespace)
            .create(&PostParams::default(), &run)
            .await
            .unwrap();
        Place {
            cluster: self,
            client,
            namespace,
            run_uid: run.uid().unwrap(),
        }
    }

    /// Ends the API server as a crash does, and starts it again.
    pub fn restart_api_server(&self, between: impl FnOnce()) {
        let pid = std::fs::read_to_string(self.directory.join("apiserver.pid")).unwrap();
        let kill = |signal: &str| {
            Command::new("kill")
                .args([signal, pid.trim()])
                .output()
                .unwrap()
                .status
                .success()
        };
        assert!(kill("-KILL"));
        while kill("-0") {
            std::thread::sleep(Duration::from_millis(50));
        }
        between();
        let up = Command::new("bash")
            .arg(scripts().join("up.sh"))
            .arg(&self.directory)
            .output()
            .unwrap();
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    }
}

async fn furnish(client: &Client, kubelet: SocketAddr) {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let apply = PatchParams::apply("tests").force();
    for definition in lakegate_crds::crds() {
        let name = definition.name_any();
        definitions
            .patch(&name, &apply, &Patch::Apply(&definition))
            .await
            .unwrap();
    }
    for definition in lakegate_crds::crds() {
        let name = definition.name_any();
        until("a definition is established", async || {
            let found = definitions.get(&name).await.unwrap();
            let conditions = found
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            conditions
                .iter()
                .any(|condition| condition.type_ == "Established" && condition.status == "True")
                .then_some(())
        })
        .await;
    }
    let node: Node = serde_json::from_value(json!({"metadata": {"name": NODE}})).unwrap();
    let nodes = Api::<Node>::all(client.clone());
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let now = Timestamp::now().to_string();
    let status = json!({"status": {
        "addresses": [{"type": "Hostname", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "it is played", "lastHeartbeatTime": now, "lastTransitionTime": now}],
    }});
    nodes
        .patch_status(NODE, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
}

fn options() -> JobOptions {
    JobOptions {
        image: "lakegate:test".to_owned(),
        ttl: Duration::from_hours(1),
        ..JobOptions::default()
    }
}

pub fn launcher(client: Client, namespace: &str) -> JobLauncher {
    JobLauncher::new(client, vec![namespace.to_owned()], options())
}

/// A namespace with a run.
pub struct Place {
    pub cluster: &'static Cluster,
    pub client: Client,
    pub namespace: String,
    pub run_uid: String,
}

impl Place {
    pub fn launcher(&self) -> JobLauncher {
        launcher(self.client.clone(), &self.namespace)
    }

    pub fn launcher_at(&self, clock: Arc<dyn Clock>) -> JobLauncher {
        let namespaces = vec![self.namespace.clone()];
        JobLauncher::with_clock(self.client.clone(), namespaces, options(), clock)
    }

    pub fn order(&self, attempt: u32) -> WorkOrder {
        let spec = export("orders", json!({})).spec;
        let mut source = postgres("shop");
        source.metadata.namespace = Some(self.namespace.clone());
        WorkOrder {
            version: PROTOCOL_VERSION,
            run: RunIdentity {
                namespace: self.namespace.clone(),
                name: "orders-202605110000-abcdef".to_owned(),
                uid: self.run_uid.clone(),
                export: "orders".to_owned(),
                attempt,
                attempt_id: format!("attempt-{attempt}"),
            },
            threads: 1,
            memory_bytes: 1 << 28,
            spec,
            sources: vec![source],
            lake: bucket(),
            views: Vec::new(),
            deadline: Timestamp::now() + jiff::SignedDuration::from_hours(6),
            state_dir: "/var/lib/lakegate".into(),
        }
    }

    pub async fn launch(&self, launcher: &JobLauncher, attempt: u32) -> Worker {
        launcher
            .launch(self.order(attempt), &MemoryStore::new())
            .await
            .unwrap()
    }

    pub fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Pod that the Job controller makes for an attempt.
    pub async fn pod(&self, attempt: u32) -> String {
        let of_attempt = ListParams::default().labels(&format!("lakegate.dev/attempt={attempt}"));
        until("a Pod is made", async || {
            Some(
                self.pods()
                    .list(&of_attempt)
                    .await
                    .unwrap()
                    .items
                    .first()?
                    .name_any(),
            )
        })
        .await
    }

    /// As the scheduler does.
    pub async fn bind(&self, pod: &str) {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        });
        let _: Value = self
            .pods()
            .create_subresource("binding", pod, &PostParams::default(), &binding)
            .await
            .unwrap();
    }

    /// As the kubelet does.
    pub async fn report(&self, pod: &str, status: Value) {
        self.pods()
            .patch_status(
                pod,
                &PatchParams::default(),
                &Patch::Merge(&json!({"status": status})),
            )
            .await
            .unwrap();
    }

    /// The container runs.
    pub async fn runs(&self, pod: &str) {
        let status = json!({
            "phase": "Running", "conditions": [condition("PodScheduled", true), condition("Ready", true)],
            "containerStatuses": container(json!({"running": {"startedAt": Timestamp::now().to_string()}})),
        });
        self.report(pod, status).await;
    }

    /// The container has ended.
    pub async fn ends(&self, pod: &str, exit_code: i32, reason: &str, message: Option<&WorkerMessage>) {
        let message = message.map(|message| serde_json::to_string(message).unwrap());
        let now = Timestamp::now().to_string();
        let ended = json!({"exitCode": exit_code, "reason": reason, "message": message, "startedAt": now, "finishedAt": now});
        let status = json!({
            "phase": if exit_code == 0 { "Succeeded" } else { "Failed" },
            "conditions": [condition("PodScheduled", true), condition("Ready", false)],
            "containerStatuses": container(json!({"terminated": ended, "running": null})),
        });
        self.report(pod, status).await;
        self.cluster.kubelet.complete(&self.log(pod));
    }

    /// What the kubelet does with a Pod that is to go: it ends its container, says so, and lets it go.
    pub async fn let_go(&self, pod: &str) {
        until("the Pod is to go", async || {
            self.pods().get(pod).await.unwrap().metadata.deletion_timestamp
        })
        .await;
        self.ends(pod, 143, "Error", None).await;
        self.force(pod).await;
    }

    pub async fn force(&self, pod: &str) {
        let at_once = DeleteParams::default().grace_period(0);
        match self.pods().delete(pod, &at_once).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The name of a Pod's log.
    pub fn log(&self, pod: &str) -> String {
        format!("{}/{pod}", self.namespace)
    }

    pub fn say(&self, pod: &str, message: &WorkerMessage) {
        let line = serde_json::to_string(message).unwrap();
        self.cluster.kubelet.say(&self.log(pod), &line);
    }
}

pub fn condition(name: &str, is_true: bool) -> Value {
    let status = if is_true { "True" } else { "False" };
    json!({"type": name, "status": status, "lastTransitionTime": Timestamp::now().to_string()})
}

pub fn container(state: Value) -> Value {
    json!([{"name": "worker", "image": "lakegate:test", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
}

pub fn progress(rows: u64) -> WorkerMessage {
    WorkerMessage::Progress(Progress {
        phase: Phase::Copying,
        rows,
        bytes: 0,
        total_rows: None,
    })
}

pub fn finished(rows: u64) -> WorkerMessage {
    WorkerMessage::Finished(Report {
        rows,
        ..Report::default()
    })
}

pub fn failed(reason: &str) -> WorkerMessage {
    WorkerMessage::Failed(Failure {
        reason: reason.to_owned(),
        message: "it broke".to_owned(),
        terminal: false,
    })
}

/// The next event that is not a repetition of one before.
pub async fn next(worker: &mut Worker) -> WorkerEvent {
    tokio::time::timeout(PATIENCE, worker.events.recv())
        .await
        .expect("nothing is heard of the worker")
        .expect("the last event is Exited")
}

/// The next event that passes; those before it are passed over.
pub async fn next_such(
    worker: &mut Worker,
    what: &str,
    passes: impl Fn(&WorkerEvent) -> bool,
) -> WorkerEvent {
    loop {
        let event = next(worker).await;
        if passes(&event) {
            return event;
        }
        assert!(
            !matches!(event, WorkerEvent::Exited(_)),
            "it ended before {what}: {event:?}"
        );
    }
}

/// Its last message and how it ended.
pub async fn end(worker: &mut Worker) -> (Option<WorkerMessage>, lakegate_operator::launcher::Exit) {
    let mut last = None;
    loop {
        match next(worker).await {
            WorkerEvent::Message(message) => last = Some(message),
            WorkerEvent::Exited(exit) => return (last, exit),
            WorkerEvent::Waiting(_) | WorkerEvent::Alive => {}
        }
    }
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
