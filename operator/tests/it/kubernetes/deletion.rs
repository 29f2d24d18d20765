//! Namespaces that are deleted with Exports in them, on a real API server with its controllers: with the operator there,
//! with rights that are in that very namespace, and without it.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{ClusterRole, RoleBinding},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use lakegate_crds::{DataSource, EXPORT_DATA_FINALIZER, Export, ExportRun, Kind};
use lakegate_operator::{Operator, OperatorOptions, protocol::WorkerMessage, surroundings::Surroundings};
use lakegate_store::{KubernetesOptions, KubernetesStore, Notices as _, ResourceStore};
use serde_json::{Value, json};

use super::fixture::{Place, shared, until};
use crate::{
    harness::{FakeSurroundings, export},
    orders::{bucket, postgres},
};

/// The RoleBinding that gives the operator its rights in a namespace, as the chart makes it.
const BINDING: &str = "demo-lakegate-operator";

/// An operator's process, with the rights of its binding and no others. Dropping it is kill -9.
struct Process(Option<tokio::runtime::Runtime>);

impl Process {
    fn start(place: &Place, lake: &Arc<FakeSurroundings>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (cluster, namespace, lake) = (place.cluster, place.namespace.clone(), Arc::clone(lake));
        runtime.spawn(async move {
            let client = cluster.client_as(&user(&namespace)).await;
            let options = KubernetesOptions {
                namespaces: vec![namespace.clone()],
                component: "lakegate-operator".to_owned(),
                role_binding: Some(BINDING.to_owned()),
            };
            // The API server takes in new rights a moment after they are written.
            let store = loop {
                match KubernetesStore::open(client.clone(), options.clone()).await {
                    Ok(store) => break store,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                }
            };
            let launcher = super::fixture::launcher(client.clone(), &namespace);
            let state_dir = tempfile::tempdir().unwrap();
            let store: Arc<dyn ResourceStore> = Arc::new(store);
            let operator = Operator::with_surroundings(
                store,
                lake as Arc<dyn Surroundings>,
                Arc::new(launcher),
                OperatorOptions::new(state_dir.path()),
            );
            operator.run(std::future::pending()).await;
        });
        Self(Some(runtime))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

fn user(namespace: &str) -> String {
    format!("operator-of-{namespace}")
}

/// The operator's rights as the chart gives them: a ClusterRole says which, a RoleBinding in the namespace to whom.
async fn grant(place: &Place) {
    let role = format!("lakegate-operator-{}", place.namespace);
    let rules = operator_rules();
    let role_object: ClusterRole =
        serde_json::from_value(json!({"metadata": {"name": role}, "rules": rules})).unwrap();
    Api::<ClusterRole>::all(place.client.clone())
        .create(&PostParams::default(), &role_object)
        .await
        .unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": BINDING},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user(&place.namespace)}],
    }))
    .unwrap();
    bindings(place)
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
}

/// The rules of the chart's own golden file, so that they are the ones that are enough.
fn operator_rules() -> Value {
    use serde::Deserialize as _;
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/charts/golden/default.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .find(|object| {
            object["kind"] == "ClusterRole"
                && object["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"
        })
        .expect("the chart has a ClusterRole of the operator")["rules"]
        .clone()
}

fn bindings(place: &Place) -> Api<RoleBinding> {
    Api::namespaced(place.client.clone(), &place.namespace)
}

fn exports(place: &Place) -> Api<Export> {
    Api::namespaced(place.client.clone(), &place.namespace)
}

fn sources(place: &Place) -> Api<DataSource> {
    Api::namespaced(place.client.clone(), &place.namespace)
}

fn is_held(finalizers: &[String]) -> bool {
    finalizers
        .iter()
        .any(|finalizer| finalizer == EXPORT_DATA_FINALIZER)
}

/// The Export `orders`, what it needs, and one run of it that has a Pod. The run that `fixture` makes goes.
async fn furnish(place: &Place, lake: &FakeSurroundings, policy: &str) {
    let created = PostParams::default();
    Api::<ExportRun>::namespaced(place.client.clone(), &place.namespace)
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
    for source in [postgres("shop"), bucket()] {
        sources(place).create(&created, &source).await.unwrap();
    }
    for name in ["shop", "lake"] {
        let key = lakegate_store::Key::new(&place.namespace, name);
        lake.health.lock().unwrap().insert(
            key,
            lakegate_federation::SourceHealth {
                reachable: Some(true),
                ..Default::default()
            },
        );
    }
    let spec = json!({"runToken": "go", "deletionPolicy": policy, "retry": {"limit": 0}});
    exports(place)
        .create(&created, &export("orders", spec))
        .await
        .unwrap();
}

/// The first attempt of the Export's run publishes and ends.
async fn publish(place: &Place, lake: &FakeSurroundings) {
    let pod = place.pod(1).await;
    let orders = place.pods().get(&pod).await.unwrap();
    let uid = exports(place).get("orders").await.unwrap().uid().unwrap();
    lake.tables.lock().unwrap().insert("shop.orders".to_owned(), uid);
    place.bind(&pod).await;
    place.runs(&pod).await;
    let report = lake.commit(&orders.labels()["lakegate.dev/run-uid"]);
    place
        .ends(&pod, 0, "Completed", Some(&WorkerMessage::Finished(report)))
        .await;
    until("it has run", async || {
        let status = exports(place).get("orders").await.unwrap().status?;
        status.last_run.filter(|run| run.outcome == "Succeeded")
    })
    .await;
}

/// An operator in a place of its own, with an Export that has run once under it.
async fn published(policy: &str) -> (Place, Arc<FakeSurroundings>, Process) {
    let place = shared().place().await;
    grant(&place).await;
    let lake = Arc::<FakeSurroundings>::default();
    let operator = Process::start(&place, &lake);
    furnish(&place, &lake, policy).await;
    publish(&place, &lake).await;
    (place, lake, operator)
}

async fn delete_namespace(place: &Place) {
    Api::<Namespace>::all(place.client.clone())
        .delete(&place.namespace, &DeleteParams::default())
        .await
        .unwrap();
}

async fn until_namespace_is_gone(place: &Place) {
    let namespaces = Api::<Namespace>::all(place.client.clone());
    until("the namespace is gone", async || {
        let found = namespaces.get_opt(&place.namespace).await.unwrap();
        found.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_retained_data_goes_at_once() {
    for operator_is_there in [true, false] {
        let (place, lake, operator) = published("Retain").await;
        let finalizers = exports(&place).get("orders").await.unwrap().finalizers().to_vec();
        assert!(finalizers.is_empty(), "{finalizers:?}");
        let operator = Some(operator).filter(|_| operator_is_there);
        delete_namespace(&place).await;
        until_namespace_is_gone(&place).await;
        assert_eq!(lake.tables.lock().unwrap().len(), 1, "the table stays");
        drop(operator);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_data_that_goes_is_gone_after_it() {
    let (place, lake, operator) = published("Delete").await;
    for (what, finalizers) in [
        (
            "the Export",
            exports(&place).get("orders").await.unwrap().finalizers().to_vec(),
        ),
        (
            "its lake",
            sources(&place).get("lake").await.unwrap().finalizers().to_vec(),
        ),
        (
            "its rights",
            bindings(&place).get(BINDING).await.unwrap().finalizers().to_vec(),
        ),
    ] {
        assert!(is_held(&finalizers), "{what}: {finalizers:?}");
    }
    assert!(!is_held(sources(&place).get("shop").await.unwrap().finalizers()));
    // Killed before it has seen it, and back when all else is gone.
    drop(operator);
    delete_namespace(&place).await;
    until("all that nobody holds is gone", async || {
        sources(&place)
            .get_opt("shop")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    assert_eq!(lake.tables.lock().unwrap().len(), 1);
    let operator = Process::start(&place, &lake);
    until_namespace_is_gone(&place).await;
    assert!(lake.tables.lock().unwrap().is_empty(), "the table went, too");
    drop(operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_waits_for_the_pod_of_a_run_that_is_gone() {
    let (place, lake, operator) = published("Delete").await;
    let again = json!({"spec": {"runToken": "again"}});
    exports(&place)
        .patch("orders", &PatchParams::default(), &Patch::Merge(&again))
        .await
        .unwrap();
    let pod = until("the second run has a Pod", async || {
        let pods = place.pods().list(&ListParams::default()).await.unwrap();
        let running = |pod: &&k8s_openapi::api::core::v1::Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            phase == Some("Pending")
        };
        Some(pods.iter().find(running)?.name_any())
    })
    .await;
    place.bind(&pod).await;
    place.runs(&pod).await;
    // As a namespace goes, or all that a tool has applied: in no order. Before Kubernetes 1.33 a namespace takes the runs
    // away before their Pods, which may commit as long as their node does not say that they have ended.
    let runs = Api::<ExportRun>::namespaced(place.client.clone(), &place.namespace);
    runs.delete_collection(&DeleteParams::background(), &ListParams::default())
        .await
        .unwrap();
    exports(&place)
        .delete("orders", &DeleteParams::background())
        .await
        .unwrap();
    until("it waits for the Pod", async || {
        let status = exports(&place).get("orders").await.unwrap().status?;
        let ready = status.conditions.into_iter().find(|it| it.type_ == "Ready")?;
        (ready.reason == "Deleting" && ready.message.contains("nothing can write it any more")).then_some(())
    })
    .await;
    assert_eq!(lake.tables.lock().unwrap().len(), 1, "its Pod may still commit");
    place.let_go(&pod).await;
    until("the Export is gone", async || {
        exports(&place)
            .get_opt("orders")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    assert!(lake.tables.lock().unwrap().is_empty());
    delete_namespace(&place).await;
    until_namespace_is_gone(&place).await;
    drop(operator);
}

/// What `lakegate finalizers clear` does, which the chart's hook runs: see its own test.
async fn clear(client: &Client, namespace: &str) {
    let merge = PatchParams::default();
    let none = json!({"metadata": {"finalizers": null}});
    for kind in [Kind::Export, Kind::DataSource] {
        let resource = ApiResource {
            group: lakegate_crds::GROUP.to_owned(),
            version: lakegate_crds::VERSION.to_owned(),
            api_version: lakegate_crds::API_VERSION.to_owned(),
            kind: kind.to_string(),
            plural: kind.plural().to_owned(),
        };
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        for object in api.list(&ListParams::default()).await.unwrap() {
            api.patch(&object.name_any(), &merge, &Patch::Merge(&none))
                .await
                .unwrap();
        }
    }
    Api::<RoleBinding>::namespaced(client.clone(), namespace)
        .patch(BINDING, &merge, &Patch::Merge(&none))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_operator_a_person_lets_go_and_the_data_stays() {
    let (place, lake, operator) = published("Delete").await;
    drop(operator);
    delete_namespace(&place).await;
    until("it waits", async || {
        let export = exports(&place).get("orders").await.unwrap();
        export.metadata.deletion_timestamp
    })
    .await;
    clear(&place.client, &place.namespace).await;
    until_namespace_is_gone(&place).await;
    assert_eq!(lake.tables.lock().unwrap().len(), 1, "the table stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_export_lets_go_of_all_it_held() {
    let (place, lake, operator) = published("Delete").await;
    exports(&place)
        .delete("orders", &DeleteParams::foreground())
        .await
        .unwrap();
    until("the Export is gone", async || {
        exports(&place)
            .get_opt("orders")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    assert!(lake.tables.lock().unwrap().is_empty());
    until("nothing else is held", async || {
        let lake = sources(&place).get("lake").await.unwrap();
        let binding = bindings(&place).get(BINDING).await.unwrap();
        (lake.finalizers().is_empty() && binding.finalizers().is_empty()).then_some(())
    })
    .await;
    let told = {
        let options = KubernetesOptions {
            namespaces: vec![place.namespace.clone()],
            component: "lakegate-test".to_owned(),
            role_binding: None,
        };
        let store = KubernetesStore::open(place.client.clone(), options)
            .await
            .unwrap();
        until("it is told", async || {
            let notices = store.list_notices().await.unwrap();
            notices.into_iter().find(|notice| notice.reason == "TableDeleted")
        })
        .await
    };
    assert_eq!(told.key.name, "orders");
    drop(operator);
}
