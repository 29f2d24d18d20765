//! The corpus of manifests, on an API server: what it can see in one object it refuses, as everywhere and at the same
//! field; everything else it takes, and the store says what is wrong, in the words of the folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kube::{
    Client,
    api::{Patch, PatchParams, PostParams, Request, ValidationDirective},
};
use lakegate_crds::{
    API_VERSION, AnyResource, DataSource, Export, ExportRun, Kind, LakegateResource, RetentionPolicy, View,
    conditions::Reason,
    manifest::{self, Class},
    validation::{Problem, unserved, validate, validate_set},
};
use lakegate_store::{Entry, KubernetesStore, Store};
use serde_json::{Value, json};

use super::{apply, ensure_namespace, objects, open, shared};

/// Cases that the API server takes although one object alone shows what is wrong. No schema and no rule can say what a
/// cron expression or a time zone is, or compare two durations; rules over pairs of columns cost more than an API server
/// allows. The object's status tells it, see [`what_the_api_server_takes_is_told_by_the_store`].
const BEYOND_SCHEMA: [&str; 22] = [
    "bloom-filters",
    "columns-not-exported",
    "columns-same-name",
    "cpu-zero",
    "cron-four-fields",
    "cron-hour-out-of-range",
    "cron-in-retention",
    "cron-never",
    "cron-nickname",
    "cron-out-of-range",
    "cron-six-fields",
    "duration-too-long",
    "incremental-hidden",
    "key-not-exported",
    "mask-options",
    "partition-masked",
    "partition-not-exported",
    "replicas-mysql",
    "replicas-postgres",
    "tiers-order",
    "zone-offset",
    "zone-unknown",
];

/// kubectl reads a key that stands twice as its last value, and the API server never sees the first.
const ONLY_IN_THE_TEXT: &str = "yaml-duplicate-key";

/// A null means "absent" to a create and a replace, and is refused by a server-side apply.
const WITH_A_NULL: &str = "list-and-foreign";

/// One file, or the files of a folder, which are a set.
struct Case {
    path: PathBuf,
    name: String,
    texts: Vec<String>,
    /// Lakegate's objects.
    documents: Vec<Value>,
    /// Some document is none.
    is_broken: bool,
}

impl Case {
    fn is_set(&self) -> bool {
        self.path.is_dir()
    }

    fn is_update(&self) -> bool {
        self.texts[0].lines().any(|line| line.trim() == "# old")
    }

    /// Fields and parts of messages, from the comments.
    fn expectations(&self) -> Vec<(String, String)> {
        let lines = self.texts.iter().flat_map(|text| text.lines());
        lines
            .filter_map(|line| line.trim().strip_prefix("# expect: "))
            .map(|line| {
                let (field, rest) = line.split_once(": ").unwrap();
                let message = match rest.split_once(": ") {
                    Some((word, message)) if word.parse::<Reason>().is_ok() => message,
                    _ => rest,
                };
                (field.to_owned(), message.to_owned())
            })
            .collect()
    }
}

fn corpus(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/manifests")
        .join(folder);
    let sorted = |folder: &Path| {
        let mut paths: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
    };
    let read = |path: PathBuf| {
        let files = if path.is_dir() {
            sorted(&path)
        } else {
            vec![path.clone()]
        };
        let texts: Vec<_> = files
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        let parsed: Vec<_> = texts.iter().flat_map(|text| manifest::parse(text)).collect();
        Case {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            is_broken: parsed.iter().any(Result::is_err),
            documents: parsed
                .into_iter()
                .flatten()
                .filter(|document| document.class() == Class::Lakegate)
                .map(|document| document.value)
                .collect(),
            path,
            texts,
        }
    };
    sorted(&folder).into_iter().map(read).collect()
}

/// Why the API server refuses something.
#[derive(Debug)]
struct Refusal {
    /// Fields and what is wrong with each; empty where the API server gives a message alone.
    causes: Vec<(String, String)>,
    message: String,
    /// It found so much wrong that it did not look at the rules.
    is_early: bool,
}

fn refusal(error: kube::Error) -> Refusal {
    let kube::Error::Api(status) = error else {
        panic!("{error}")
    };
    let causes = || status.details.iter().flat_map(|details| &details.causes);
    let is_early = |message: &str| message.contains("some validation rules were not checked");
    Refusal {
        is_early: causes().any(|cause| is_early(&cause.message)),
        causes: causes()
            // Rules of a whole object are about its name, and a rule over a value that is none says nothing more.
            .filter(|cause| !is_early(&cause.message) && !cause.message.contains("evaluating rule"))
            .filter(|cause| !cause.message.contains("must validate at least one schema"))
            .map(|cause| {
                let field = if cause.field == "<nil>" {
                    "metadata.name"
                } else {
                    &cause.field
                };
                (field.to_owned(), cause.message.clone())
            })
            .collect(),
        message: status.message.clone(),
    }
}

/// What `kubectl create --validate=strict --dry-run=server` says.
async fn create(client: &Client, namespace: &str, value: &Value) -> Result<(), Refusal> {
    let kind: Kind = value["kind"].as_str().unwrap().parse().unwrap();
    let url = format!("/apis/{API_VERSION}/namespaces/{namespace}/{}", kind.plural());
    let mut request = Request::new(&url)
        .create(&PostParams::default(), serde_json::to_vec(value).unwrap())
        .unwrap();
    // The library knows no strict create.
    *request.uri_mut() = format!("{url}?dryRun=All&fieldValidation=Strict")
        .parse()
        .unwrap();
    client.request::<Value>(request).await.map(drop).map_err(refusal)
}

/// What `kubectl apply --server-side --validate=strict --dry-run=server` says.
/// As the user who applied the objects of these tests: what another user's manifest lacks would stay.
async fn server_side_apply(client: &Client, namespace: &str, value: &Value) -> Result<(), Refusal> {
    let kind: Kind = value["kind"].as_str().unwrap().parse().unwrap();
    let name = value["metadata"]["name"].as_str().unwrap();
    let parameters = PatchParams {
        dry_run: true,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(super::USER).force()
    };
    objects(client, kind, namespace)
        .patch(name, &parameters, &Patch::Apply(value))
        .await
        .map(drop)
        .map_err(refusal)
}

/// The manifest in a namespace of the test, without what only the API server that printed it can fill in.
fn moved(value: &Value, namespace: &str) -> Value {
    let mut value = value.clone();
    let metadata = value["metadata"].as_object_mut().unwrap();
    metadata.insert("namespace".to_owned(), json!(namespace));
    for field in ["uid", "resourceVersion"] {
        metadata.remove(field);
    }
    value
}

fn problems_of(value: &Value, old: Option<&Value>) -> Vec<Problem> {
    validate(value, old).err().unwrap_or_default()
}

/// Messages of every rule of every definition.
fn rule_messages() -> BTreeSet<String> {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                let rules = members.get("x-kubernetes-validations").and_then(Value::as_array);
                found.extend(
                    rules
                        .into_iter()
                        .flatten()
                        .filter_map(|rule| rule["message"].as_str().map(str::to_owned)),
                );
                members.values().for_each(|member| walk(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for definition in lakegate_crds::crds() {
        walk(&serde_json::to_value(definition).unwrap(), &mut found);
    }
    found
}

/// Where the API server's refusal and the offline verdict differ.
fn differences(refused: &Refusal, offline: &[Problem], rules: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    if offline.is_empty() {
        found.push(format!("refused by the API server alone: {}", refused.message));
    }
    for (field, message) in &refused.causes {
        // The API server names the item that stands twice, we the member of it that does.
        let is_known =
            |problem: &&Problem| problem.field == *field || problem.field.starts_with(&format!("{field}."));
        if !offline.iter().any(|problem| is_known(&problem)) {
            found.push(format!("only the API server says {field}: {message}"));
        }
    }
    if refused.causes.is_empty() {
        // One sentence, which names the field, or at least what it is called.
        let names = |problem: &Problem| {
            let mut parts = problem.field.rsplitn(3, '.').skip(1);
            refused.message.contains(&format!("\"{}\"", problem.field))
                || parts
                    .next()
                    .is_some_and(|parent| refused.message.contains(&format!(".{parent} of")))
        };
        if !offline.iter().any(names) {
            found.push(format!("no field of {offline:?} is in {}", refused.message));
        }
        return found;
    }
    for problem in offline.iter().filter(|problem| rules.contains(&problem.message)) {
        // A violation of the schema itself is told in the API server's words.
        let says_it = |(field, message): &(String, String)| {
            *field == problem.field
                && (message.ends_with(&format!(": {}", problem.message))
                    || message.contains(" in body should "))
        };
        if !refused.is_early && !refused.causes.iter().any(says_it) {
            found.push(format!(
                "the API server does not say {problem}: {:?}",
                refused.causes
            ));
        }
    }
    found
}

#[tokio::test]
async fn valid_manifests_are_taken_and_do_not_drift() {
    let client = shared().client().await;
    let mut failures = Vec::new();
    for case in corpus("valid") {
        let namespace = shared().namespace().await;
        for document in &case.documents {
            let document = moved(document, &namespace);
            // The second document of an update is no new object.
            if !case.is_update()
                && let Err(refused) = create(&client, &namespace, &document).await
            {
                failures.push(format!("{}: {refused:?}", case.name));
            }
            let applied = server_side_apply(&client, &namespace, &document).await;
            if case.name == WITH_A_NULL {
                assert!(applied.unwrap_err().message.contains("Invalid value: \"null\""));
                continue;
            }
            if let Err(refused) = applied {
                failures.push(format!("{}: apply: {refused:?}", case.name));
                continue;
            }
            // Within a second of its creation the API server writes an object once more for nothing.
            let first = apply(&client, &document).await;
            let [second, third] = [apply(&client, &document).await, apply(&client, &document).await];
            if second.metadata.resource_version != third.metadata.resource_version
                || first.metadata.generation != third.metadata.generation
            {
                failures.push(format!("{}: the same manifest again is a change", case.name));
            }
            // What a tool that compares sees: nothing that nobody wrote.
            if first.data["spec"] != document["spec"] {
                failures.push(format!(
                    "{}: {} became {}",
                    case.name, document["spec"], first.data["spec"]
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn what_one_object_shows_is_refused_as_offline() {
    let client = shared().client().await;
    let rules = rule_messages();
    let namespace = shared().namespace().await;
    let mut failures = Vec::new();
    let mut taken = BTreeSet::new();
    let mut refused = 0;
    for case in corpus("invalid") {
        if case.is_set() || case.is_update() {
            continue;
        }
        if case.is_broken
            || case.documents.iter().any(|document| !is_addressed(document))
            || case.documents.is_empty()
        {
            if kubectl_takes(&case.path) != (case.name == ONLY_IN_THE_TEXT) {
                failures.push(format!("{}: kubectl differs", case.name));
            }
            continue;
        }
        for document in &case.documents {
            let namespace = if case.name == "namespace-bad" {
                "Sales.EU"
            } else {
                &namespace
            };
            let offline = problems_of(document, None);
            let document = moved(document, namespace);
            let created = create(&client, namespace, &document).await;
            let applied = server_side_apply(&client, namespace, &document).await;
            if created.is_ok() != applied.is_ok() {
                failures.push(format!("{}: {created:?} but {applied:?}", case.name));
            }
            match created {
                Ok(()) if offline.is_empty() => {
                    // Refused for what no code serves yet.
                    let resource = validate(&document, None).unwrap();
                    if unserved(&resource).is_empty() {
                        failures.push(format!("{}: nothing is wrong with it", case.name));
                    }
                }
                Ok(()) => drop(taken.insert(case.name.clone())),
                // There is no such namespace, and none can be made.
                Err(_) if case.name == "namespace-bad" => refused += 1,
                Err(told) => {
                    refused += 1;
                    failures.extend(
                        differences(&told, &offline, &rules)
                            .into_iter()
                            .map(|difference| format!("{}: {difference}", case.name)),
                    );
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(
        taken.iter().map(String::as_str).collect::<Vec<_>>(),
        BEYOND_SCHEMA
    );
    assert!(refused > 50, "only {refused} refused");
}

/// Whether a document says what it is well enough to be sent anywhere.
fn is_addressed(document: &Value) -> bool {
    let kind = document["kind"].as_str().unwrap_or_default();
    document["apiVersion"] == API_VERSION
        && Kind::ALL.iter().any(|known| known.as_str() == kind)
        && document["metadata"]["name"].is_string()
}

fn kubectl_takes(path: &Path) -> bool {
    let cache = std::env::var_os("LAKEGATE_CACHE").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/lakegate"),
        PathBuf::from,
    );
    let directory = &shared().directory;
    Command::new(cache.join("kube-bin/kubectl"))
        .arg("--kubeconfig")
        .arg(directory.join("admin.kubeconfig"))
        .arg("--cache-dir")
        .arg(directory.join("kubectl-cache"))
        .args([
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "-f",
        ])
        .arg(path)
        .output()
        .unwrap()
        .status
        .success()
}

#[tokio::test]
async fn immutable_fields_are_refused_in_the_same_words() {
    let client = shared().client().await;
    let rules = rule_messages();
    let mut failures = Vec::new();
    let mut judged = 0;
    for case in corpus("valid").into_iter().chain(corpus("invalid")) {
        if !case.is_update() {
            continue;
        }
        judged += 1;
        let namespace = shared().namespace().await;
        let old = moved(&case.documents[0], &namespace);
        let new = moved(&case.documents[1], &namespace);
        apply(&client, &old).await;
        let offline = problems_of(&new, Some(&old));
        match server_side_apply(&client, &namespace, &new).await {
            Ok(()) if offline.is_empty() => {}
            Ok(()) => failures.push(format!("{}: taken, against {offline:?}", case.name)),
            Err(told) => failures.extend(
                differences(&told, &offline, &rules)
                    .into_iter()
                    .map(|difference| format!("{}: {difference}", case.name)),
            ),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(judged > 8, "only {judged} updates");
}

/// Problems of each object of the store, by kind and name.
async fn told(store: &KubernetesStore) -> BTreeMap<(Kind, String), Vec<Problem>> {
    let mut told = BTreeMap::new();
    told_of::<DataSource>(store, &mut told).await;
    told_of::<Export>(store, &mut told).await;
    told_of::<ExportRun>(store, &mut told).await;
    told_of::<RetentionPolicy>(store, &mut told).await;
    told_of::<View>(store, &mut told).await;
    told
}

async fn told_of<K: LakegateResource>(
    store: &KubernetesStore,
    told: &mut BTreeMap<(Kind, String), Vec<Problem>>,
) where
    KubernetesStore: Store<K>,
{
    for Entry { key, rejected, .. } in Store::<K>::list(store).await.unwrap() {
        let problems = rejected.map(|rejected| rejected.problems).unwrap_or_default();
        told.insert((K::KIND, key.name), problems);
    }
}

#[tokio::test]
async fn what_the_api_server_takes_is_told_by_the_store() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let store = open(client.clone(), &[&namespace]).await;
    let mut expected = BTreeMap::new();
    for case in corpus("invalid") {
        if !BEYOND_SCHEMA.contains(&case.name.as_str()) {
            continue;
        }
        let mut document = moved(&case.documents[0], &namespace);
        let kind: Kind = document["kind"].as_str().unwrap().parse().unwrap();
        document["metadata"]["name"] = json!(case.name);
        let offline = problems_of(&document, None);
        for (field, message) in case.expectations() {
            assert!(
                offline
                    .iter()
                    .any(|problem| problem.field == field && problem.message.contains(&message)),
                "{}: {offline:?}",
                case.name
            );
        }
        apply(&client, &document).await;
        expected.insert((kind, case.name), offline);
    }
    assert_eq!(expected.len(), BEYOND_SCHEMA.len());
    super::eventually("all objects are known", async || {
        told(&store).await.len() == expected.len()
    })
    .await;
    assert_eq!(told(&store).await, expected);
}

#[tokio::test]
async fn what_a_set_shows_is_told_in_the_same_words() {
    let client = shared().client().await;
    let mut judged = 0;
    for case in corpus("invalid") {
        // Of one name there is one object here: the later file is an edit of the earlier.
        if !case.is_set() || case.name == "duplicate-over-files" {
            continue;
        }
        judged += 1;
        let namespace = shared().namespace().await;
        let other = format!("{namespace}-other");
        ensure_namespace(&client, &other).await;
        for (number, document) in case.documents.iter().enumerate() {
            if number > 0 {
                // The oldest keeps a name, and ages are whole seconds.
                tokio::time::sleep(Duration::from_millis(1100)).await;
            }
            let namespace = match document["metadata"]["namespace"].as_str() {
                None => &namespace,
                Some(_) => &other,
            };
            apply(&client, &moved(document, namespace)).await;
        }
        let store = open(client.clone(), &[&namespace, &other]).await;
        let mut resources = Vec::new();
        good::<DataSource>(&store, &mut resources).await;
        good::<Export>(&store, &mut resources).await;
        good::<ExportRun>(&store, &mut resources).await;
        good::<RetentionPolicy>(&store, &mut resources).await;
        good::<View>(&store, &mut resources).await;
        assert_eq!(resources.len(), case.documents.len(), "{}", case.name);
        let problems = validate_set(&resources.iter().collect::<Vec<_>>());
        let expected = case.expectations();
        assert_eq!(problems.len(), expected.len(), "{}: {problems:?}", case.name);
        for (field, message) in expected {
            let message = message.replace("default/", &format!("{namespace}/"));
            assert!(
                problems
                    .iter()
                    .any(|it| it.problem.field == field && it.problem.message.contains(&message)),
                "{}: {field}: {message} is not in {problems:?}",
                case.name
            );
        }
    }
    assert!(judged >= 4, "only {judged} sets");
}

async fn good<K: LakegateResource>(store: &KubernetesStore, resources: &mut Vec<AnyResource>)
where
    KubernetesStore: Store<K>,
{
    for entry in Store::<K>::list(store).await.unwrap() {
        let object = entry.object.unwrap_or_else(|| panic!("{:?}", entry.rejected));
        resources.push(K::clone(&object).into_any());
    }
}
