//! The cluster that `operator` and `gateway` serve.

use kube::Client;
use lakegate_store::{KubernetesOptions, KubernetesStore, StoreError, kubernetes::connect};

use crate::cli::cluster::ClusterOptions;

/// A connection to the cluster, and who this process is in it.
pub struct Cluster {
    pub client: Client,

    /// Whose resources are served.
    pub namespaces: Vec<String>,

    /// That of this process.
    pub own_namespace: String,

    /// Tells this process from its replicas.
    pub own_name: String,
}

impl Cluster {
    /// # Errors
    /// If there is no cluster: neither a service account nor a kubeconfig.
    pub async fn connect(options: &ClusterOptions) -> Result<Self, StoreError> {
        let (client, default_namespace) = connect().await?;
        let own_namespace = options.pod_namespace.clone().unwrap_or(default_namespace);
        let mut namespaces: Vec<String> = options
            .namespaces
            .iter()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        if namespaces.is_empty() {
            namespaces.push(own_namespace.clone());
        }
        Ok(Self {
            client,
            namespaces,
            own_namespace,
            own_name: options
                .pod_name
                .clone()
                .unwrap_or_else(|| format!("process-{}", std::process::id())),
        })
    }

    /// The resources of the namespaces, once all are known.
    ///
    /// # Errors
    /// What waiting does not mend: missing rights, missing definitions.
    pub async fn open_store(&self, component: &str) -> Result<KubernetesStore, StoreError> {
        let options = KubernetesOptions {
            namespaces: self.namespaces.clone(),
            component: component.to_owned(),
        };
        KubernetesStore::open(self.client.clone(), options).await
    }
}
