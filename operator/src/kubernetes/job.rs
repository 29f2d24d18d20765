//! The Job of one attempt. Pure: the same order gives the same Job.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Capabilities, Container, DownwardAPIProjection, DownwardAPIVolumeFile, EmptyDirVolumeSource,
            EnvVar, KeyToPath, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec,
            ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection, SecurityContext,
            Toleration, Volume, VolumeMount, VolumeProjection,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use lakegate_crds::{API_VERSION, EXPORT_LABEL, ExportSpec, Kind, ObjectMeta};

use super::{
    ATTEMPT_ID_ANNOTATION, ATTEMPT_LABEL, COMPONENT_LABEL, CONTAINER, MANAGED_BY_LABEL, ORDER_ANNOTATION,
    RUN_LABEL, RUN_UID_LABEL,
};
use crate::{
    launcher::LaunchFailure,
    names,
    orders::{self, SecretUse},
    protocol::WorkOrder,
};

/// Longest order, in bytes. All annotations of an object together may have 256 KiB.
pub const ORDER_LIMIT: usize = 200 * 1024;

/// Where a worker finds its order and its secrets.
const INPUT_DIR: &str = "/etc/lakegate";

/// Where a worker keeps what outgrows its memory.
const STATE_DIR: &str = "/var/lib/lakegate";

/// Whoever needs a directory for temporary files looks here; the rest of the file system cannot be written.
const TEMPORARY_DIR: &str = "/tmp";

/// The user that a worker runs as. No file of the image belongs to it.
const USER: i64 = 10001;

/// Seconds between SIGTERM and SIGKILL. A worker ends on the first at once.
const GRACE_SECONDS: i64 = 10;

/// What is the same for all Jobs of an operator.
#[derive(Debug, Clone, Default)]
pub struct JobOptions {
    /// The image; its entry point is `lakegate`.
    pub image: String,

    /// Always, IfNotPresent or Never; absent: what the API server takes for the image's tag.
    pub pull_policy: Option<String>,

    /// Whose rights a Pod has outside the cluster (IRSA, workload identity). It gets no token of the API server.
    pub service_account: Option<String>,

    /// Nodes that a Pod may run on.
    pub node_selector: BTreeMap<String, String>,

    /// Taints that a Pod puts up with.
    pub tolerations: Vec<Toleration>,

    /// A Pod uses the network of its node.
    pub host_network: bool,

    /// How long an ended Job is kept.
    pub ttl: Duration,

    /// Most disk that a Pod may use for what outgrows its memory, such as `20Gi`.
    pub scratch_limit: Option<String>,

    /// Environment of the worker, for its log.
    pub environment: BTreeMap<String, String>,
}

/// Why a text is no toleration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is not a toleration: write key=value:Effect or key:Effect, where Effect is NoSchedule, PreferNoSchedule or NoExecute"
)]
pub struct InvalidToleration {
    /// As it was given.
    pub text: String,
}

impl JobOptions {
    /// `key=value:Effect` puts up with that taint, `key:Effect` with every value of the key.
    ///
    /// # Errors
    ///
    /// [`InvalidToleration`], when it is neither.
    pub fn toleration(text: &str) -> Result<Toleration, InvalidToleration> {
        let invalid = || InvalidToleration {
            text: text.to_owned(),
        };
        let (taint, effect) = text.rsplit_once(':').ok_or_else(invalid)?;
        let (key, value) = match taint.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (taint, None),
        };
        if key.is_empty() || !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
            return Err(invalid());
        }
        let operator = if value.is_some() { "Equal" } else { "Exists" };
        Ok(Toleration {
            key: Some(key.to_owned()),
            operator: Some(operator.to_owned()),
            value,
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        })
    }
}

/// The Job of an order, given at `now`. No value of a secret is in it.
///
/// # Errors
///
/// [`LaunchFailure`], when a Pod cannot perform the order.
pub fn job_of(order: &WorkOrder, options: &JobOptions, now: Timestamp) -> Result<Job, LaunchFailure> {
    if order
        .lake
        .spec
        .lake
        .as_ref()
        .is_some_and(|lake| lake.s3.is_none())
    {
        return Err(LaunchFailure::LocalLake {
            lake: order.lake.metadata.name.clone().unwrap_or_default(),
        });
    }
    let json = serde_json::to_string(order).map_err(|source| LaunchFailure::Encode { source })?;
    if json.len() > ORDER_LIMIT {
        return Err(LaunchFailure::OrderTooLarge {
            size: json.len(),
            limit: ORDER_LIMIT,
        });
    }
    let run = &order.run;
    let labels: BTreeMap<String, String> = [
        ("app.kubernetes.io/name", "lakegate".to_owned()),
        (COMPONENT_LABEL, "worker".to_owned()),
        (MANAGED_BY_LABEL, "lakegate".to_owned()),
        (EXPORT_LABEL, names::label_value(&run.export)),
        (RUN_LABEL, names::label_value(&run.name)),
        (RUN_UID_LABEL, run.uid.clone()),
        (ATTEMPT_LABEL, run.attempt.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let attempt_id = (ATTEMPT_ID_ANNOTATION.to_owned(), run.attempt_id.clone());
    let left = order.deadline.duration_since(now).as_secs().max(1);
    let pod = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels.clone()),
            annotations: Some(BTreeMap::from([
                attempt_id.clone(),
                (ORDER_ANNOTATION.to_owned(), json),
                // A worker moved is an attempt lost: no node is emptied for the sake of a fuller one.
                (
                    "cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(),
                    "false".to_owned(),
                ),
                ("karpenter.sh/do-not-disrupt".to_owned(), "true".to_owned()),
            ])),
            ..ObjectMeta::default()
        }),
        spec: Some(pod_of(order, options)),
    };
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(names::job_name(&run.name, run.attempt)),
            namespace: Some(run.namespace.clone()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([attempt_id])),
            owner_references: Some(vec![OwnerReference {
                api_version: API_VERSION.to_owned(),
                kind: Kind::ExportRun.to_string(),
                name: run.name.clone(),
                uid: run.uid.clone(),
                controller: Some(true),
                block_owner_deletion: Some(false),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            parallelism: Some(1),
            completions: Some(1),
            // Whether to try again is the operator's to say, after it has asked the lake.
            backoff_limit: Some(0),
            active_deadline_seconds: Some(left),
            // A Pod that is being ended counts when it has ended, not before.
            pod_replacement_policy: Some("Failed".to_owned()),
            ttl_seconds_after_finished: Some(i32::try_from(options.ttl.as_secs()).unwrap_or(i32::MAX)),
            template: pod,
            ..JobSpec::default()
        }),
        status: None,
    })
}

fn pod_of(order: &WorkOrder, options: &JobOptions) -> PodSpec {
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        service_account_name: options.service_account.clone(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        node_selector: Some(options.node_selector.clone()).filter(|selector| !selector.is_empty()),
        tolerations: Some(options.tolerations.clone()).filter(|tolerations| !tolerations.is_empty()),
        host_network: options.host_network.then_some(true),
        // Without it a Pod in the node's network does not find the names of the cluster.
        dns_policy: options.host_network.then(|| "ClusterFirstWithHostNet".to_owned()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container_of(order, options)],
        volumes: Some(vec![
            Volume {
                name: "input".to_owned(),
                projected: Some(ProjectedVolumeSource {
                    sources: Some(inputs_of(order)),
                    ..ProjectedVolumeSource::default()
                }),
                ..Volume::default()
            },
            empty_dir("state", options.scratch_limit.as_deref()),
            empty_dir("tmp", None),
        ]),
        ..PodSpec::default()
    }
}

fn container_of(order: &WorkOrder, options: &JobOptions) -> Container {
    let mount = |name: &str, path: &str, is_input: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: is_input.then_some(true),
        ..VolumeMount::default()
    };
    let environment = options.environment.iter().map(|(name, value)| EnvVar {
        name: name.clone(),
        value: Some(value.clone()),
        ..EnvVar::default()
    });
    Container {
        name: CONTAINER.to_owned(),
        image: Some(options.image.clone()),
        image_pull_policy: options.pull_policy.clone(),
        args: Some(
            [
                "worker",
                "--order",
                "/etc/lakegate/order/order.json",
                "--secrets-dir",
                "/etc/lakegate/secrets",
                "--state-dir",
                STATE_DIR,
            ]
            .map(str::to_owned)
            .into(),
        ),
        env: Some(environment.collect()).filter(|environment: &Vec<EnvVar>| !environment.is_empty()),
        resources: Some(resources_of(&order.spec)),
        volume_mounts: Some(vec![
            mount("input", INPUT_DIR, true),
            mount("state", STATE_DIR, false),
            mount("tmp", TEMPORARY_DIR, false),
        ]),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// The order as `order/order.json`, and the keys of Secrets that the run needs as `secrets/<name>/<key>`. A Secret or key
/// that is missing keeps no Pod from starting: the worker says which.
fn inputs_of(order: &WorkOrder) -> Vec<VolumeProjection> {
    let order_file = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "order/order.json".to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{ORDER_ANNOTATION}']"),
                    ..ObjectFieldSelector::default()
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
        }),
        ..VolumeProjection::default()
    };
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for SecretUse {
        namespace, name, key, ..
    } in orders::secret_uses(order)
    {
        let known = keys.entry(name).or_default();
        // Those of other namespaces cannot be mounted: the worker says so when it needs one.
        if namespace == order.run.namespace && !known.contains(&key) {
            known.push(key);
        }
    }
    let secrets = keys
        .into_iter()
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(name, mut keys)| {
            keys.sort_unstable();
            VolumeProjection {
                secret: Some(SecretProjection {
                    name: name.to_owned(),
                    optional: Some(true),
                    items: Some(
                        keys.into_iter()
                            .map(|key| KeyToPath {
                                key: key.to_owned(),
                                path: format!("secrets/{name}/{key}"),
                                ..KeyToPath::default()
                            })
                            .collect(),
                    ),
                }),
                ..VolumeProjection::default()
            }
        });
    std::iter::once(order_file).chain(secrets).collect()
}

fn empty_dir(name: &str, limit: Option<&str>) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: limit.map(|limit| Quantity(limit.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The Export's compute. There is always a limit of memory: the worker's memory pool is a part of it.
fn resources_of(spec: &ExportSpec) -> ResourceRequirements {
    let given = spec.resources.as_ref();
    let limits = given.and_then(|given| given.limits.as_ref());
    let requests = given.and_then(|given| given.requests.as_ref());
    let bytes = spec.effective_memory_limit();
    let limit = limits
        .and_then(|limits| limits.memory.as_ref())
        .filter(|memory| memory.bytes() == bytes)
        .map_or_else(|| quantity_of(bytes), ToString::to_string);
    let request = requests
        .and_then(|requests| requests.memory.as_ref())
        .map_or_else(|| limit.clone(), ToString::to_string);
    let list = |memory: String, cpu: Option<&lakegate_crds::Cpu>| {
        let cpu = cpu.map(|cpu| ("cpu".to_owned(), Quantity(cpu.to_string())));
        let memory = ("memory".to_owned(), Quantity(memory));
        Some(cpu.into_iter().chain([memory]).collect())
    };
    ResourceRequirements {
        limits: list(limit, limits.and_then(|limits| limits.cpu.as_ref())),
        requests: list(request, requests.and_then(|requests| requests.cpu.as_ref())),
        ..ResourceRequirements::default()
    }
}

fn quantity_of(bytes: u64) -> String {
    match bytes % (1 << 20) {
        0 => format!("{}Mi", bytes >> 20),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_are_read() {
        let read = |text| {
            JobOptions::toleration(text).map(|it| {
                (
                    it.key.unwrap(),
                    it.operator.unwrap(),
                    it.value,
                    it.effect.unwrap(),
                )
            })
        };
        let is = |key: &str, operator: &str, value: Option<&str>, effect: &str| {
            Ok((
                key.to_owned(),
                operator.to_owned(),
                value.map(str::to_owned),
                effect.to_owned(),
            ))
        };
        assert_eq!(
            read("batch=yes:NoSchedule"),
            is("batch", "Equal", Some("yes"), "NoSchedule")
        );
        assert_eq!(
            read("example.com/batch:NoExecute"),
            is("example.com/batch", "Exists", None, "NoExecute")
        );
        assert_eq!(
            read("batch=:NoSchedule"),
            is("batch", "Equal", Some(""), "NoSchedule")
        );
        for text in ["", "batch", "batch:Never", ":NoSchedule", "=yes:NoSchedule"] {
            assert_eq!(
                read(text),
                Err(InvalidToleration {
                    text: text.to_owned()
                })
            );
        }
    }

    #[test]
    fn compute_is_the_exports_and_memory_is_always_limited() {
        let cases = [
            (
                serde_json::json!(null),
                r#"{"limits":{"memory":"512Mi"},"requests":{"memory":"512Mi"}}"#,
            ),
            (
                serde_json::json!({"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}),
                r#"{"limits":{"memory":"2Gi"},"requests":{"cpu":"2","memory":"1Gi"}}"#,
            ),
            (
                serde_json::json!({"requests": {"memory": "3G"}, "limits": {"cpu": "500m"}}),
                r#"{"limits":{"cpu":"500m","memory":"3000000000"},"requests":{"memory":"3G"}}"#,
            ),
            // less than a worker can start with
            (
                serde_json::json!({"limits": {"memory": "64Mi"}}),
                r#"{"limits":{"memory":"256Mi"},"requests":{"memory":"256Mi"}}"#,
            ),
        ];
        for (resources, expected) in cases {
            let spec: ExportSpec = serde_json::from_value(serde_json::json!({
                "from": {"query": "select 1"}, "destination": {"lakeRef": {"name": "lake"}, "schema": "a", "table": "b"},
                "resources": resources,
            }))
            .unwrap();
            assert_eq!(serde_json::to_string(&resources_of(&spec)).unwrap(), expected);
        }
    }
}
