//! Secrets of a cluster. Only ever read one by one, by name: who may list Secrets may read them all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::error::answer;
use crate::{Key, Redactor, SecretError, SecretValue};

/// How old an answer may be. A connection needs several keys of one Secret at once; a rotated one is seen by the next.
const FRESH: Duration = Duration::from_secs(1);

/// How old an answer may be while the API server does not answer: stores can still be reached then.
const OUTAGE: Duration = Duration::from_hours(1);

/// The keys of one Secret; `None` for bytes that are no text.
type Values = BTreeMap<String, Option<SecretValue>>;

pub(super) struct ClusterSecrets {
    client: Client,
    redactor: Redactor,
    known: Mutex<HashMap<Key, (Instant, Values)>>,
}

impl ClusterSecrets {
    pub fn new(client: Client, redactor: Redactor) -> Self {
        Self {
            client,
            redactor,
            known: Mutex::default(),
        }
    }

    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        let secret = Key::new(namespace, name);
        if let Some(found) = self.pick(&secret, key, FRESH) {
            return found;
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        match answer(api.get_opt(name)).await {
            Ok(Some(found)) => {
                self.keep(&secret, values_of(found));
                self.pick(&secret, key, OUTAGE)
                    .unwrap_or_else(|| Err(not_found(&secret)))
            }
            Ok(None) => {
                self.forget(&secret);
                Err(not_found(&secret))
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                self.forget(&secret);
                Err(SecretError::Forbidden {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    message: status.message.clone(),
                })
            }
            Err(error) => self.pick(&secret, key, OUTAGE).unwrap_or_else(|| {
                Err(SecretError::Unavailable {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    source: Box::new(error),
                })
            }),
        }
    }

    /// What an answer of at most this age says of a key; `None` without one.
    fn pick(&self, secret: &Key, key: &str, age: Duration) -> Option<Result<SecretValue, SecretError>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, values) = known.get(secret).filter(|(asked, _)| asked.elapsed() < age)?;
        Some(match values.get(key) {
            Some(Some(value)) => {
                self.redactor.register_key(key, value);
                Ok(value.clone())
            }
            Some(None) => Err(SecretError::NotText {
                namespace: secret.namespace.clone(),
                name: secret.name.clone(),
                key: key.to_owned(),
            }),
            None => Err(SecretError::KeyMissing {
                namespace: secret.namespace.clone(),
                name: secret.name.clone(),
                key: key.to_owned(),
                remedy: if values.is_empty() {
                    "it has no keys; add the key".to_owned()
                } else {
                    let keys: Vec<_> = values.keys().map(String::as_str).collect();
                    format!("it has {}; add the key", keys.join(", "))
                },
            }),
        })
    }

    fn keep(&self, secret: &Key, values: Values) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(secret.clone(), (Instant::now(), values));
    }

    fn forget(&self, secret: &Key) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(secret);
    }
}

fn values_of(secret: Secret) -> Values {
    let data = secret.data.unwrap_or_default();
    data.into_iter()
        // As a run reads it, to which the same Secret is mounted as files.
        .map(|(key, bytes)| (key, String::from_utf8(bytes.0).ok().map(SecretValue::of_file)))
        .collect()
}

fn not_found(secret: &Key) -> SecretError {
    SecretError::NotFound {
        namespace: secret.namespace.clone(),
        name: secret.name.clone(),
        remedy: format!("create the Secret in namespace {}", secret.namespace),
    }
}
