//! `lakegate finalizers clear`: let go of the resources of a cluster, before the operator goes for good.
//!
//! With nobody left to act on them, our finalizers would keep objects, and with them their namespace, from being
//! deleted. What they guard, exported data, stays where it is.

use std::process::ExitCode;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
};
use lakegate_crds::{DataSource, Export, ExportRun, GROUP, Kind, LakegateResource, RetentionPolicy, View};

use super::{Failure, cluster::Cluster, small_runtime};
use crate::cli::cluster::ClusterOptions;

/// Tries of one object that others write to at the same time.
const TRIES: usize = 5;

pub fn clear(options: &ClusterOptions) -> Result<ExitCode, Failure> {
    small_runtime()?.block_on(async {
        let cluster = Cluster::connect(options).await?;
        let mut cleared = 0;
        for namespace in &cluster.namespaces {
            for kind in Kind::ALL {
                cleared += clear_kind(&cluster.client, kind, namespace).await?;
            }
        }
        println!("{cleared} objects let go");
        Ok(ExitCode::SUCCESS)
    })
}

fn resource_of(kind: Kind) -> ApiResource {
    fn erase<K: LakegateResource>() -> ApiResource {
        ApiResource::erase::<K>(&())
    }
    match kind {
        Kind::DataSource => erase::<DataSource>(),
        Kind::Export => erase::<Export>(),
        Kind::ExportRun => erase::<ExportRun>(),
        Kind::RetentionPolicy => erase::<RetentionPolicy>(),
        Kind::View => erase::<View>(),
    }
}

async fn clear_kind(client: &Client, kind: Kind, namespace: &str) -> Result<usize, Failure> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource_of(kind));
    let what = |verb: &str| format!("cannot {verb} {} in namespace {namespace}", kind.plural());
    let objects = match api.list(&ListParams::default()).await {
        Ok(objects) => objects,
        // The definitions are gone, and every object with them.
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(0),
        Err(error) => return Err(format!("{}: {error}", what("list")).into()),
    };
    let mut cleared = 0;
    for object in objects.items {
        let Some(name) = object.metadata.name.clone() else {
            continue;
        };
        if clear_object(&api, &name, object)
            .await
            .map_err(|error| format!("{}: {name}: {error}", what("clear the finalizers of")))?
        {
            cleared += 1;
        }
    }
    Ok(cleared)
}

/// False when it had none of ours. Only ours go, and only when the list is still the one that was read.
async fn clear_object(
    api: &Api<DynamicObject>,
    name: &str,
    mut object: DynamicObject,
) -> Result<bool, kube::Error> {
    for attempt in 1.. {
        let finalizers = object.metadata.finalizers.clone().unwrap_or_default();
        let is_ours = |finalizer: &String| finalizer.split('/').next() == Some(GROUP);
        if !finalizers.iter().any(is_ours) {
            return Ok(attempt > 1);
        }
        let others: Vec<&String> = finalizers
            .iter()
            .filter(|finalizer| !is_ours(finalizer))
            .collect();
        let patch = serde_json::json!({
            "metadata": {"finalizers": others, "resourceVersion": object.metadata.resource_version},
        });
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(true),
            Err(kube::Error::Api(status)) if status.is_conflict() && attempt < TRIES => {
                let Some(newer) = api.get_opt(name).await? else {
                    return Ok(true);
                };
                object = newer;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
