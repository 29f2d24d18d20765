//! Where the keys of a bucket come from: a Secret, or the environment.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lakegate_crds::S3SecretReference;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::CredentialProvider;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use tokio::sync::Mutex;

use super::error::{Place, S3Error};
use super::http::Connector;
use crate::{SecretError, SecretValue, Secrets};

/// Keys are read again after this time, so that new ones take effect while a client lives.
const FRESH: Duration = Duration::from_mins(1);

fn failed(error: S3Error) -> object_store::Error {
    object_store::Error::Generic {
        store: "S3",
        source: Box::new(error),
    }
}

/// The keys of a Secret, as it is now.
pub(super) struct SecretCredentials {
    secrets: Arc<dyn Secrets>,
    namespace: String,
    reference: S3SecretReference,
    place: Arc<Place>,
    /// Age at which keys are read again.
    fresh: Duration,
    last: Mutex<Option<Last>>,
}

struct Last {
    read: Instant,
    credential: Arc<AwsCredential>,
}

impl SecretCredentials {
    pub fn new(
        secrets: Arc<dyn Secrets>,
        namespace: String,
        reference: S3SecretReference,
        place: Arc<Place>,
    ) -> Self {
        Self {
            secrets,
            namespace,
            reference,
            place,
            fresh: FRESH,
            last: Mutex::default(),
        }
    }

    /// With another age.
    #[cfg(test)]
    pub fn fresh_for(self, fresh: Duration) -> Self {
        Self { fresh, ..self }
    }

    async fn read(&self) -> Result<AwsCredential, SecretError> {
        let get = |key| self.secrets.get(&self.namespace, &self.reference.name, key);
        // keys in files often end with a line feed
        let text = |value: SecretValue| value.expose().trim().to_owned();
        Ok(AwsCredential {
            key_id: text(get(self.reference.access_key_id_key()).await?),
            secret_key: text(get(self.reference.secret_access_key_key()).await?),
            token: match &self.reference.session_token_key {
                Some(key) => Some(text(get(key).await?)),
                None => None,
            },
        })
    }
}

impl fmt::Debug for SecretCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SecretCredentials")
            .field("name", &self.reference.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for SecretCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref()
            && last.read.elapsed() < self.fresh
        {
            return Ok(Arc::clone(&last.credential));
        }
        let credential = match (self.read().await, last.as_ref()) {
            (Ok(credential), Some(last)) if *last.credential == credential => Arc::clone(&last.credential),
            (Ok(credential), _) => Arc::new(credential),
            // What is gone was taken away. Whoever cannot say so must not stop a run that has its keys.
            (Err(error), Some(last)) if !is_gone(&error) => {
                tracing::warn!(bucket = %self.place, %error, "keys cannot be read again; the last ones are used");
                Arc::clone(&last.credential)
            }
            (Err(error), _) => {
                *last = None;
                return Err(failed(S3Error::Secret {
                    place: self.place.to_string(),
                    source: Arc::new(error),
                }));
            }
        };
        *last = Some(Last {
            read: Instant::now(),
            credential: Arc::clone(&credential),
        });
        Ok(credential)
    }
}

fn is_gone(error: &SecretError) -> bool {
    matches!(
        error,
        SecretError::NotFound { .. } | SecretError::KeyMissing { .. }
    )
}

/// What the environment says about credentials. Variables with another meaning (an endpoint, a bucket) are not read:
/// the spec decides those.
const VARIABLES: [(&str, AmazonS3ConfigKey); 13] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_REGION", AmazonS3ConfigKey::Region),
    (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        AmazonS3ConfigKey::WebIdentityTokenFile,
    ),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
    (
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        AmazonS3ConfigKey::MetadataEndpoint,
    ),
    ("AWS_METADATA_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint),
];

/// Credentials of the environment: variables, a service account's role, a container's, the instance's.
pub(super) struct AmbientCredentials {
    inner: AwsCredentialProvider,
    place: Arc<Place>,
}

impl AmbientCredentials {
    /// `variables` is the environment of the process.
    pub fn new(
        variables: impl Iterator<Item = (String, String)>,
        options: ClientOptions,
        place: Arc<Place>,
    ) -> object_store::Result<Self> {
        // The region is the token service's: the environment's own where it has one.
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&place.bucket)
            .with_region(&place.region);
        for (name, value) in variables {
            let known = VARIABLES.iter().find(|(known, _)| *known == name);
            let Some((_, key)) = known.filter(|_| !value.is_empty()) else {
                continue;
            };
            if matches!(
                key,
                AmazonS3ConfigKey::AccessKeyId
                    | AmazonS3ConfigKey::SecretAccessKey
                    | AmazonS3ConfigKey::Token
            ) {
                place.redactor.register(&SecretValue::new(value.as_str()));
            }
            builder = builder.with_config(*key, value);
        }
        // An absent metadata service does not answer at all: asked three times, a second each.
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 2,
            retry_timeout: Duration::from_secs(10),
        };
        let service = Place {
            bucket: "the credential service".to_owned(),
            ..Place::clone(&place)
        };
        let store = builder
            .with_client_options(options)
            .with_retry(retry)
            .with_http_connector(Connector::new(Arc::new(service)))
            .build()?;
        Ok(Self {
            inner: Arc::clone(store.credentials()),
            place,
        })
    }
}

impl fmt::Debug for AmbientCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AmbientCredentials")
    }
}

#[async_trait]
impl CredentialProvider for AmbientCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.inner.get_credential().await.map_err(|error| {
            let message = match S3Error::of(&error) {
                Some(cause) => cause.to_string(),
                None => self.place.redactor.redact(&error.to_string()),
            };
            failed(S3Error::NoCredentials {
                place: self.place.to_string(),
                message,
            })
        })
    }
}
