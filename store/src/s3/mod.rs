//! Buckets of S3 and of compatible stores, opened as a spec says.
//!
//! The one place that makes an S3 client, for lakes and for files that are read as tables. What it adds to
//! `object_store`: keys from Secrets that may change while the client lives, credentials of the environment and
//! nothing else of it, and failures ([`S3Error`]) that say what to do and never repeat what the store echoes.

mod credentials;
mod error;
mod http;
mod ranges;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lakegate_crds::S3Spec;
use object_store::aws::{AmazonS3Builder, AwsCredentialProvider};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, HeaderValue, ObjectStore, RetryConfig};
use url::Url;

pub use error::S3Error;

use self::credentials::{AmbientCredentials, SecretCredentials};
use self::error::Place;
use self::http::Connector;
use self::ranges::WholeRanges;
use crate::Secrets;

/// A connection that takes longer is tried again: within a region it takes milliseconds.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a failing store is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Somebody waits for the answer: a refused connection is told within about three seconds.
    Short,
    /// Hours of work would be lost: a store that restarts for half a minute goes unnoticed.
    Long,
}

impl Patience {
    /// Longest time for one request with its whole answer. The largest requests are parts of 8 MiB going out, which
    /// begin anew after it, and ranges coming in, which go on where they stopped.
    fn request(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(30),
            Self::Long => Duration::from_mins(1),
        }
    }

    /// Only what cannot have happened, or may happen twice, is repeated by the client. A repeated request carries
    /// its first signature, which stores accept for 15 minutes.
    fn retry(self) -> RetryConfig {
        let (max_retries, max_backoff, retry_timeout) = match self {
            Self::Short => (5, Duration::from_secs(2), Duration::from_secs(20)),
            Self::Long => (12, Duration::from_secs(10), Duration::from_mins(2)),
        };
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff,
                base: 3.0,
            },
            max_retries,
            retry_timeout,
        }
    }
}

/// What opening a bucket needs beside its spec.
pub struct S3Context<'a> {
    /// Path of the spec in its resource, such as `spec.lake.s3`.
    pub field: &'a str,
    /// The namespace of the resource: its Secrets are there.
    pub namespace: &'a str,
    pub secrets: &'a Arc<dyn Secrets>,
    pub patience: Patience,
}

/// A bucket, or the part of it that a spec names.
#[derive(Debug, Clone)]
pub struct S3Bucket {
    /// The whole bucket: keys are as they are in it.
    pub store: Arc<dyn ObjectStore>,
    /// Where the spec's part begins; empty is the whole bucket.
    pub prefix: Path,
    /// `s3://bucket/prefix`, raw text, without a slash at its end.
    pub uri: String,
    /// Which store it is in: host, port and path of the endpoint.
    pub endpoint: String,
}

/// Opens a bucket. No network yet and no Secret is read: the first request finds out what is wrong.
///
/// # Errors
/// A spec that cannot be: [`S3Error::InvalidSpec`].
pub fn open(spec: &S3Spec, context: &S3Context<'_>) -> Result<S3Bucket, S3Error> {
    let invalid = |name: &str, message: String| S3Error::InvalidSpec {
        field: format!("{}.{name}", context.field),
        message,
    };
    let bucket = spec.bucket.as_str();
    // the name becomes a part of host names and paths
    if !bucket
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    {
        return Err(invalid(
            "bucket",
            format!("{bucket:?} is no name of a bucket: letters, digits, '.', '-' and '_' are"),
        ));
    }
    let prefix = Path::parse(spec.prefix.as_deref().unwrap_or_default())
        .map_err(|error| invalid("prefix", error.to_string()))?;
    let endpoint = spec
        .endpoint
        .as_deref()
        .map(|text| endpoint(text).map_err(|message| invalid("endpoint", message)))
        .transpose()?;
    // A dot in a bucket's name is not covered by the certificate of its host name.
    let path_style = spec.path_style.unwrap_or(bucket.contains('.'));
    let place = Arc::new(Place {
        bucket: bucket.to_owned(),
        endpoint: endpoint
            .as_ref()
            .map(|url| url.as_str().trim_end_matches('/').to_owned()),
        region: spec.region().to_owned(),
        credentials: match spec.secret_ref() {
            Some(reference) => format!("Secret {}", reference.name),
            None => "the environment".to_owned(),
        },
        guessed_host: endpoint.is_some() && !path_style,
        redactor: context.secrets.redactor(),
    });

    let options = ClientOptions::new()
        .with_user_agent(HeaderValue::from_static(concat!(
            "lakegate/",
            env!("CARGO_PKG_VERSION")
        )))
        .with_connect_timeout(CONNECT)
        .with_timeout(context.patience.request());
    let unusable = |error: object_store::Error| invalid("bucket", error.to_string());
    let credentials: AwsCredentialProvider = match spec.secret_ref() {
        Some(reference) => Arc::new(SecretCredentials::new(
            Arc::clone(context.secrets),
            context.namespace.to_owned(),
            reference.clone(),
            Arc::clone(&place),
        )),
        None => Arc::new(
            AmbientCredentials::new(variables(), options.clone(), Arc::clone(&place)).map_err(unusable)?,
        ),
    };
    // A builder of our own making: the environment may name keys, never what the spec decides.
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(spec.region())
        .with_virtual_hosted_style_request(!path_style)
        .with_credentials(credentials)
        .with_retry(context.patience.retry())
        .with_http_connector(Connector::new(Arc::clone(&place)));
    let mut allow_http = false;
    if let Some(endpoint) = endpoint {
        allow_http = endpoint.scheme() == "http";
        let url = if path_style {
            Some(endpoint)
        } else {
            host_of(bucket, endpoint)
        };
        let url = url.ok_or_else(|| {
            invalid(
                "endpoint",
                format!("{bucket} cannot be put before its host; set pathStyle: true"),
            )
        })?;
        builder = builder.with_endpoint(url.as_str().trim_end_matches('/'));
    }
    if let Some(key) = &spec.kms_key_id {
        builder = builder.with_sse_kms_encryption(key);
    }
    let store = builder
        .with_client_options(options.with_allow_http(allow_http))
        .build()
        .map_err(unusable)?;
    let uri = if prefix.as_ref().is_empty() {
        format!("s3://{bucket}")
    } else {
        format!("s3://{bucket}/{prefix}")
    };
    Ok(S3Bucket {
        store: Arc::new(WholeRanges(store)),
        prefix,
        uri,
        endpoint: match &place.endpoint {
            Some(url) => url
                .split_once("://")
                .map_or(url.as_str(), |(_, rest)| rest)
                .to_owned(),
            None => format!("s3.{}.amazonaws.com", place.region),
        },
    })
}

/// The environment, as far as it is text.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The endpoint as a URL that holds nothing but scheme, host, port and path.
fn endpoint(text: &str) -> Result<Url, String> {
    // The text is not repeated where it may hold a password.
    let url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not hold a user or password; use credentials.secretRef".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it must end with the host, the port or a path".to_owned());
    }
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("{scheme} is not served; use https or http")),
    }
}

/// `https://bucket.host`; none where the host is an address.
fn host_of(bucket: &str, mut endpoint: Url) -> Option<Url> {
    let host = format!("{bucket}.{}", endpoint.domain()?);
    endpoint.set_host(Some(&host)).ok()?;
    Some(endpoint)
}
