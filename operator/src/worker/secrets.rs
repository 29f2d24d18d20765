//! Secrets as a worker has them: given by its parent, or mounted into its Pod.

use std::{io, path::PathBuf};

use async_trait::async_trait;
use lakegate_store::{Redactor, SecretError, SecretValue, Secrets};

use crate::protocol::SecretBundle;

/// The secrets of an assignment.
pub(super) struct BundledSecrets {
    bundle: SecretBundle,
    redactor: Redactor,
}

impl BundledSecrets {
    pub(super) fn new(bundle: SecretBundle) -> Self {
        let redactor = Redactor::new();
        for (key, value) in bundle.iter() {
            redactor.register_key(key, value);
        }
        Self { bundle, redactor }
    }
}

#[async_trait]
impl Secrets for BundledSecrets {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        if let Some(value) = self.bundle.get(namespace, name, key) {
            return Ok(value.clone());
        }
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let remedy = "it is not among those that the run's DataSources and masks refer to".to_owned();
        Err(if self.bundle.contains(&namespace, &name) {
            SecretError::KeyMissing {
                namespace,
                name,
                key: key.to_owned(),
                remedy,
            }
        } else {
            SecretError::NotFound {
                namespace,
                name,
                remedy,
            }
        })
    }

    fn redactor(&self) -> Redactor {
        self.redactor.clone()
    }
}

/// The Secrets of a Pod's namespace, mounted as `<directory>/<name>/<key>`. Only the keys that the run needs are, each if
/// it exists.
pub(super) struct MountedSecrets {
    directory: PathBuf,
    namespace: String,
    redactor: Redactor,
}

impl MountedSecrets {
    pub(super) fn new(directory: PathBuf, namespace: String) -> Self {
        Self {
            directory,
            namespace,
            redactor: Redactor::new(),
        }
    }

    /// Whether any key of the Secret is mounted. What begins with a dot is the mount's own.
    async fn has_keys(&self, name: &str) -> bool {
        if !is_plain(name) {
            return false;
        }
        let Ok(mut entries) = tokio::fs::read_dir(self.directory.join(name)).await else {
            return false;
        };
        while let Ok(Some(entry)) = entries.next_entry().await {
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                return true;
            }
        }
        false
    }
}

/// A name of Kubernetes holds no path; should one, it must not lead out of the mount.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains('/')
}

#[async_trait]
impl Secrets for MountedSecrets {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        let owned = || (namespace.to_owned(), name.to_owned(), key.to_owned());
        if namespace != self.namespace {
            let (namespace, name, _) = owned();
            let remedy = format!(
                "it is in namespace {namespace}, and a Pod in {} has the Secrets of its own namespace only; export from {namespace}",
                self.namespace
            );
            return Err(SecretError::NotFound {
                namespace,
                name,
                remedy,
            });
        }
        let path = self.directory.join(name).join(key);
        let content = if is_plain(name) && is_plain(key) {
            tokio::fs::read(&path).await
        } else {
            Err(io::ErrorKind::NotFound.into())
        };
        match content {
            Ok(content) => {
                let mut text = String::from_utf8(content).map_err(|_| {
                    let (namespace, name, key) = owned();
                    SecretError::NotText { namespace, name, key }
                })?;
                // Editors and `echo` end a file with a newline that is not part of the secret; whoever made a Secret of
                // it has it there, too.
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                let value = SecretValue::new(text);
                self.redactor.register_key(key, &value);
                Ok(value)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (namespace, name, key) = owned();
                Err(if self.has_keys(&name).await {
                    SecretError::KeyMissing {
                        remedy: format!("add it to the Secret {namespace}/{name}"),
                        namespace,
                        name,
                        key,
                    }
                } else {
                    SecretError::NotFound {
                        remedy: format!("create the Secret {namespace}/{name} with the key {key}"),
                        namespace,
                        name,
                    }
                })
            }
            Err(source) => {
                let (namespace, name, key) = owned();
                Err(SecretError::Unreadable {
                    namespace,
                    name,
                    key,
                    path,
                    source,
                })
            }
        }
    }

    fn redactor(&self) -> Redactor {
        self.redactor.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mounted_secrets_say_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        // as the kubelet lays it out: keys are links into a directory that is swapped as a whole
        let shop = directory.path().join("shop-db");
        std::fs::create_dir_all(shop.join("..data")).unwrap();
        std::fs::write(shop.join("..data/password"), "canary-4711").unwrap();
        std::fs::write(shop.join("..data/raw"), [0xff]).unwrap();
        std::fs::write(shop.join("..data/echoed"), "x\r\n").unwrap();
        for key in ["password", "raw", "echoed"] {
            std::os::unix::fs::symlink(format!("..data/{key}"), shop.join(key)).unwrap();
        }
        std::fs::create_dir_all(directory.path().join("empty/..data")).unwrap();
        std::fs::write(directory.path().join("outside"), "canary").unwrap();
        let secrets = MountedSecrets::new(directory.path().to_owned(), "shop".to_owned());
        let value = secrets.get("shop", "shop-db", "password").await.unwrap();
        assert_eq!(value.expose(), "canary-4711");
        assert_eq!(secrets.redactor().redact("x canary-4711"), "x [redacted]");
        assert_eq!(
            secrets.get("shop", "shop-db", "echoed").await.unwrap().expose(),
            "x"
        );
        for (namespace, name, key, expected) in [
            (
                "shop",
                "shop-db",
                "user",
                "secret shop-db has no key \"user\": add it to the Secret shop/shop-db",
            ),
            (
                "shop",
                "shop-db",
                "raw",
                "key \"raw\" of secret shop-db is not UTF-8 text",
            ),
            (
                "shop",
                "empty",
                "user",
                "secret empty was not found: create the Secret shop/empty with the key user",
            ),
            (
                "shop",
                "gone",
                "user",
                "secret gone was not found: create the Secret shop/gone with the key user",
            ),
            (
                "shop",
                "..",
                "outside",
                "secret .. was not found: create the Secret shop/.. with the key outside",
            ),
            (
                "shop",
                "shop-db",
                "../../outside",
                "secret shop-db has no key \"../../outside\": add it to the Secret shop/shop-db",
            ),
            (
                "other",
                "shop-db",
                "password",
                "secret shop-db was not found: it is in namespace other, and a Pod in shop has the Secrets of its own namespace only; export from other",
            ),
        ] {
            let error = secrets.get(namespace, name, key).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
