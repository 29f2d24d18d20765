use std::{
    io,
    path::{Component, Path, PathBuf},
    sync::{Arc, RwLock},
};

use async_trait::async_trait;

use super::{Redactor, SecretError, SecretManifests, SecretValue, Secrets};
use crate::Key;

type Environment = Arc<dyn Fn(&str) -> Option<std::ffi::OsString> + Send + Sync>;

/// The secrets of a folder, in this order: the environment variable `LAKEGATE_SECRET_<NAME>_<KEY>`, the file
/// `<secrets-dir>/<name>/<key>`, the Secret manifests.
///
/// Environment and files know no namespaces. Files are read each time, so that a rotated one is seen.
#[derive(Clone)]
pub struct FolderSecrets {
    directory: Option<PathBuf>,
    manifests: Arc<RwLock<SecretManifests>>,
    environment: Environment,
    redactor: Redactor,
}

impl std::fmt::Debug for FolderSecrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FolderSecrets")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// The environment variable that holds `key` of secret `name`.
pub fn environment_name(name: &str, key: &str) -> String {
    let part = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect()
    };
    format!("LAKEGATE_SECRET_{}_{}", part(name), part(key))
}

impl FolderSecrets {
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self::with_environment(directory, Arc::new(|name| std::env::var_os(name)))
    }

    fn with_environment(directory: Option<PathBuf>, environment: Environment) -> Self {
        Self {
            directory,
            manifests: Arc::default(),
            environment,
            redactor: Redactor::new(),
        }
    }

    /// Replaces what is known of the Secret manifests. Their values are known to the redactor at once.
    pub(crate) fn set_manifests(&self, manifests: SecretManifests) {
        for secret in manifests.secrets.values() {
            for (key, value) in &secret.values {
                if let Some(value) = value {
                    self.redactor.register_key(key, value);
                }
            }
        }
        *self
            .manifests
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = manifests;
    }

    pub(crate) fn redactor_handle(&self) -> &Redactor {
        &self.redactor
    }

    pub(crate) fn manifests(&self) -> SecretManifests {
        self.manifests
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn in_environment(&self, at: &At<'_>) -> Result<Option<SecretValue>, SecretError> {
        match (self.environment)(&environment_name(at.name, at.key)) {
            None => Ok(None),
            Some(value) => value
                .into_string()
                .map(|text| Some(SecretValue::new(text)))
                .map_err(|_| at.not_text()),
        }
    }

    async fn in_file(&self, at: &At<'_>) -> Result<Option<SecretValue>, SecretError> {
        // A name is a plain file name or nothing: `..` must not lead out of the directory.
        let plain = |text: &str| {
            let mut parts = Path::new(text).components();
            matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none()
        };
        let Some(directory) = self
            .directory
            .as_ref()
            .filter(|_| plain(at.name) && plain(at.key))
        else {
            return Ok(None);
        };
        let path = directory.join(at.name).join(at.key);
        match tokio::fs::read(&path).await {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).map_err(|_| at.not_text())?;
                Ok(Some(SecretValue::of_file(text)))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(SecretError::Unreadable {
                namespace: at.namespace.into(),
                name: at.name.into(),
                key: at.key.into(),
                path,
                source,
            }),
        }
    }

    fn in_manifests(&self, at: &At<'_>) -> Result<SecretValue, SecretError> {
        let manifests = self
            .manifests
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = Key::new(at.namespace, at.name);
        if let Some(secret) = manifests.secrets.get(&key) {
            return match secret.values.get(at.key) {
                Some(Some(value)) => Ok(value.clone()),
                Some(None) => Err(at.not_text()),
                None => Err(SecretError::KeyMissing {
                    namespace: at.namespace.into(),
                    name: at.name.into(),
                    key: at.key.into(),
                    remedy: format!(
                        "it has {}; add the key, or set {}",
                        if secret.values.is_empty() {
                            "no keys".to_owned()
                        } else {
                            secret.values.keys().cloned().collect::<Vec<_>>().join(", ")
                        },
                        environment_name(at.name, at.key)
                    ),
                }),
            };
        }
        if let Some(message) = manifests.rejected.get(&key) {
            return Err(SecretError::Rejected {
                namespace: at.namespace.into(),
                name: at.name.into(),
                message: message.clone(),
            });
        }
        let variable = environment_name(at.name, at.key);
        let directory = self.directory.as_ref().map_or_else(
            || "start with --secrets-dir".to_owned(),
            |path| format!("write {}", path.join(at.name).join(at.key).display()),
        );
        Err(SecretError::NotFound {
            namespace: at.namespace.into(),
            name: at.name.into(),
            remedy: format!(
                "set {variable}, {directory}, or add a Secret manifest in namespace {}",
                at.namespace
            ),
        })
    }
}

/// One reference.
struct At<'a> {
    namespace: &'a str,
    name: &'a str,
    key: &'a str,
}

impl At<'_> {
    fn not_text(&self) -> SecretError {
        SecretError::NotText {
            namespace: self.namespace.into(),
            name: self.name.into(),
            key: self.key.into(),
        }
    }
}

#[async_trait]
impl Secrets for FolderSecrets {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        let at = At { namespace, name, key };
        let value = match self.in_environment(&at)? {
            Some(value) => value,
            None => match self.in_file(&at).await? {
                Some(value) => value,
                None => self.in_manifests(&at)?,
            },
        };
        self.redactor.register_key(key, &value);
        Ok(value)
    }

    fn redactor(&self) -> Redactor {
        self.redactor.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;
    use crate::secrets::SecretManifest;

    fn secrets(directory: Option<PathBuf>, environment: &[(&str, &str)]) -> FolderSecrets {
        let environment: HashMap<String, String> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let secrets = FolderSecrets::with_environment(
            directory,
            Arc::new(move |name| environment.get(name).map(Into::into)),
        );
        let values = BTreeMap::from([
            ("password".to_owned(), Some(SecretValue::new("from-manifest"))),
            ("raw".to_owned(), None),
        ]);
        let key = Key::named("shop-db");
        secrets.set_manifests(SecretManifests {
            secrets: BTreeMap::from([(
                key.clone(),
                SecretManifest {
                    key,
                    file: "a.yaml".to_owned(),
                    values,
                },
            )]),
            rejected: BTreeMap::from([(Key::named("twice"), "defined in a.yaml:1 and b.yaml:1".to_owned())]),
        });
        secrets
    }

    #[tokio::test]
    async fn environment_then_file_then_manifest() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Some(directory.path().to_owned());
        let variable = [("LAKEGATE_SECRET_SHOP_DB_PASSWORD", "from-environment")];
        let value = |secrets: FolderSecrets| async move {
            secrets
                .get("default", "shop-db", "password")
                .await
                .unwrap()
                .expose()
                .to_owned()
        };
        assert_eq!(value(secrets(folder.clone(), &[])).await, "from-manifest");
        std::fs::create_dir(directory.path().join("shop-db")).unwrap();
        std::fs::write(directory.path().join("shop-db/password"), "from-file\r\n").unwrap();
        assert_eq!(value(secrets(folder.clone(), &[])).await, "from-file");
        assert_eq!(value(secrets(folder, &variable)).await, "from-environment");
    }

    #[tokio::test]
    async fn errors_say_what_to_do_and_hold_no_value() {
        let secrets = secrets(None, &[]);
        for (namespace, name, key, expected) in [
            (
                "default",
                "shop-db",
                "pass",
                "secret shop-db has no key \"pass\": it has password, raw; add the key, or set LAKEGATE_SECRET_SHOP_DB_PASS",
            ),
            (
                "default",
                "shop-db",
                "raw",
                "key \"raw\" of secret shop-db is not UTF-8 text",
            ),
            (
                "other",
                "shop-db",
                "password",
                "secret shop-db was not found: set LAKEGATE_SECRET_SHOP_DB_PASSWORD, start with --secrets-dir, or add a Secret manifest in namespace other",
            ),
            (
                "default",
                "twice",
                "x",
                "secret twice is ambiguous: defined in a.yaml:1 and b.yaml:1",
            ),
        ] {
            let error = secrets.get(namespace, name, key).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!format!("{error:?}").contains("from-manifest"));
        }
    }

    #[tokio::test]
    async fn a_name_never_leads_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("outside"), "canary").unwrap();
        let inside = directory.path().join("inside");
        std::fs::create_dir_all(inside.join("a")).unwrap();
        let secrets = secrets(Some(inside), &[]);
        for (name, key) in [("..", "outside"), ("a", "../../outside"), ("", "outside")] {
            assert!(
                matches!(
                    secrets.get("default", name, key).await,
                    Err(SecretError::NotFound { .. })
                ),
                "{name}/{key}"
            );
        }
    }

    #[tokio::test]
    async fn values_handed_out_are_redacted_and_never_printed() {
        let secrets = secrets(None, &[("LAKEGATE_SECRET_A_B", "canary-value")]);
        let value = secrets.get("default", "a", "b").await.unwrap();
        assert_eq!(format!("{value:?}"), "SecretValue([redacted])");
        assert!(!format!("{secrets:?}").contains("from-manifest"));
        assert_eq!(
            secrets.redactor().redact("login canary-value failed"),
            "login [redacted] failed"
        );
        // Manifest values are known before anybody asks for them.
        assert_eq!(secrets.redactor().redact("x from-manifest"), "x [redacted]");
    }
}
