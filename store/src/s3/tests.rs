//! Against a server that answers as it is told: what real ones say in cases that cannot be had from one here.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use object_store::client::CredentialProvider;
use object_store::{MultipartUpload as _, ObjectStoreExt, PutMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::credentials::{AmbientCredentials, SecretCredentials};
use super::error::Place;
use super::*;
use crate::{Redactor, SecretError, SecretValue};

/// Answers each request with the next of the answers, the last for ever; keeps the heads of the requests.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let heads = Arc::clone(&seen);
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        tokio::spawn(async move {
            let mut number = 0;
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                // the first byte of TLS is answered at once
                while head.first() != Some(&0x16) && !head.windows(4).any(|window| window == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                heads
                    .lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&head).into_owned());
                let answer = &answers[number.min(answers.len() - 1)];
                number += 1;
                // the client may have gone
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, seen }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// A body as Amazon sends it, with all it repeats.
fn document(code: &str, message: &str, more: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}\
         <AWSAccessKeyId>canary-key</AWSAccessKeyId><StringToSign>AWS4 canary-signed</StringToSign>\
         <Token-0>canary-token</Token-0><RequestId>1</RequestId></Error>"
    )
}

/// Secrets of the namespace `default` that may change or be out of reach.
#[derive(Default)]
struct Changing {
    values: Mutex<BTreeMap<String, String>>,
    broken: Mutex<bool>,
    redactor: Redactor,
}

impl Changing {
    fn new() -> Arc<Self> {
        let secrets = Arc::new(Self::default());
        secrets.set("accessKeyId", "canary-key");
        secrets.set("secretAccessKey", "canary-secret\n");
        secrets.set("token", "canary-token");
        secrets
    }

    fn set(&self, key: &str, value: &str) {
        self.values
            .lock()
            .unwrap()
            .insert(key.to_owned(), value.to_owned());
    }
}

#[async_trait]
impl Secrets for Changing {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        let (namespace, name, key) = (namespace.to_owned(), name.to_owned(), key.to_owned());
        if *self.broken.lock().unwrap() {
            let message = "nobody knows".to_owned();
            return Err(SecretError::Rejected {
                namespace,
                name,
                message,
            });
        }
        match self.values.lock().unwrap().get(&key) {
            Some(value) => {
                let value = SecretValue::new(value.as_str());
                self.redactor.register_key(&key, &value);
                Ok(value)
            }
            None => Err(SecretError::KeyMissing {
                namespace,
                name,
                key,
                remedy: "add it".to_owned(),
            }),
        }
    }

    fn redactor(&self) -> Redactor {
        self.redactor.clone()
    }
}

fn spec(endpoint: &str) -> S3Spec {
    serde_json::from_value(serde_json::json!({
        "bucket": "lake", "endpoint": endpoint, "pathStyle": true, "region": "ap-northeast-2",
        "credentials": {"secretRef": {"name": "keys", "sessionTokenKey": "token"}},
    }))
    .unwrap()
}

fn bucket(endpoint: &str) -> S3Bucket {
    bucket_of(&spec(endpoint))
}

fn bucket_of(spec: &S3Spec) -> S3Bucket {
    let secrets: Arc<dyn Secrets> = Changing::new();
    let context = S3Context {
        field: "spec.lake.s3",
        namespace: "default",
        secrets: &secrets,
        patience: Patience::Short,
    };
    open(spec, &context).unwrap()
}

/// Every text that an error shows to anybody.
fn texts(error: &(dyn Error + 'static)) -> String {
    let mut all = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        all = format!("{all}\n{error}");
        next = error.source();
    }
    all
}

/// Every way in which an object comes to be names the key; what reads, or only adds to an upload, must not (Amazon refuses
/// it there).
#[tokio::test]
async fn new_objects_are_encrypted_with_the_key_of_the_spec() {
    let created = answer("200 OK", "ETag: \"1\"\r\n", "");
    let upload = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
    let completed = "<CompleteMultipartUploadResult><ETag>\"2\"</ETag></CompleteMultipartUploadResult>";
    let server = Server::start(&[
        &created,
        &answer("200 OK", "", upload),
        &created,
        &answer("200 OK", "", completed),
        &answer(
            "200 OK",
            "ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
            "",
        ),
    ])
    .await;
    let spec = S3Spec {
        kms_key_id: Some("alias/lake".to_owned()),
        ..spec(&server.url())
    };
    let store = bucket_of(&spec).store;
    let path = Path::from("a");
    store
        .put_opts(&path, "1".into(), PutMode::Create.into())
        .await
        .unwrap();
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("2".into()).await.unwrap();
    upload.complete().await.unwrap();
    store.head(&path).await.unwrap();
    let told: Vec<(String, bool)> = server
        .seen()
        .iter()
        .map(|head| {
            let head = head.to_lowercase();
            let names = head.contains("x-amz-server-side-encryption: aws:kms\r\n")
                && head.contains("x-amz-server-side-encryption-aws-kms-key-id: alias/lake\r\n");
            let line = head.lines().next().unwrap_or_default();
            (line.trim_end_matches(" http/1.1").to_owned(), names)
        })
        .collect();
    let expected = [
        ("put /lake/a", true),
        ("post /lake/a?uploads=", true),
        ("put /lake/a?partnumber=1&uploadid=u1", false),
        ("post /lake/a?uploadid=u1", false),
        ("head /lake/a", false),
    ];
    assert_eq!(told, expected.map(|(line, names)| (line.to_owned(), names)));
}

#[tokio::test]
async fn answers_become_failures_that_say_what_to_do_and_no_secret() {
    let elsewhere = "x-amz-bucket-region: eu-central-1\r\n";
    let cases = [
        // an answer to a HEAD request has no body
        (
            "400 Bad Request",
            elsewhere,
            String::new(),
            "is in another region, eu-central-1; correct region",
        ),
        (
            "301 Moved Permanently",
            elsewhere,
            document("PermanentRedirect", "Use the endpoint.", ""),
            "in another region, eu-central-1",
        ),
        (
            "301 Moved Permanently",
            "",
            String::new(),
            "is in another region; correct region",
        ),
        (
            "400 Bad Request",
            "",
            document(
                "AuthorizationHeaderMalformed",
                "the region 'x' is wrong",
                "<Region>eu-west-1</Region>",
            ),
            "in another region, eu-west-1",
        ),
        // a store that knows no regions names one beside other reasons
        (
            "403 Forbidden",
            "x-amz-bucket-region: us-east-1\r\n",
            document("AccessDenied", "No &amp; no", ""),
            "denies access (AccessDenied: No & no); allow it",
        ),
        ("403 Forbidden", "", String::new(), "denies access (HTTP 403)"),
        (
            "400 Bad Request",
            "",
            document("ExpiredToken", "The provided token has expired.", ""),
            "has ended (ExpiredToken: The provided token has expired.); renew them in Secret keys",
        ),
        (
            "400 Bad Request",
            "",
            document("InvalidToken", "canary-token is malformed", ""),
            "has ended (InvalidToken: [redacted] is malformed)",
        ),
        (
            "403 Forbidden",
            "",
            document("SignatureDoesNotMatch", "Check your key.", ""),
            "does not accept the keys (SignatureDoesNotMatch: Check your key.); correct them in Secret keys",
        ),
        (
            "403 Forbidden",
            "",
            document("RequestTimeTooSkewed", "The difference is too large.", ""),
            "clock differs too much",
        ),
        (
            "404 Not Found",
            "",
            document("NoSuchBucket", "The specified bucket does not exist", ""),
            "bucket lake at http://127.0.0.1:",
        ),
        (
            "403 Forbidden",
            "",
            document("QuotaExceeded", "8 GiB", ""),
            "takes no more data (QuotaExceeded: 8 GiB); free some space",
        ),
        (
            "507 Insufficient Storage",
            "",
            document("XMinioStorageFull", "full", ""),
            "takes no more data",
        ),
        (
            "501 Not Implemented",
            "",
            document("NotImplemented", "A header you provided", ""),
            "does not know this kind of request (NotImplemented",
        ),
        (
            "400 Bad Request",
            "",
            document("KMS.DisabledException", "the key is disabled", ""),
            "refused the request (KMS.DisabledException: the key is disabled)",
        ),
        (
            "418 I'm a teapot",
            "",
            "<html>canary-signed</html>".to_owned(),
            "refused the request (HTTP 418)",
        ),
    ];
    for (status, headers, body, expected) in cases {
        let server = Server::start(&[&answer(status, headers, &body)]).await;
        let bucket = bucket(&server.url());
        let error = bucket.store.get(&Path::from("a")).await.unwrap_err();
        let known = S3Error::of(&error).unwrap_or_else(|| panic!("{status} {body}: {error:?}"));
        assert!(known.to_string().contains(expected), "{expected}: {known}");
        let all = format!("{}{bucket:?}", texts(&error));
        assert!(!all.contains("canary"), "{all}");
        assert_eq!(server.seen().len(), 1, "{expected}: it is not asked again");
    }
}

#[tokio::test]
async fn what_the_client_gives_a_meaning_keeps_it_without_its_body() {
    use object_store::{PutMode, PutOptions, PutPayload};
    let server = Server::start(&[
        &answer("404 Not Found", "", &document("NoSuchKey", "no such key", "")),
        &answer(
            "412 Precondition Failed",
            "",
            &document("PreconditionFailed", "it is there", ""),
        ),
        &answer(
            "409 Conflict",
            "",
            &document("ConditionalRequestConflict", "at once", ""),
        ),
        &answer(
            "503 Slow Down",
            "",
            &document("SlowDown", "canary-token, slow down", ""),
        ),
    ])
    .await;
    let bucket = bucket(&server.url());
    let path = Path::from("a");
    let create = || {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        bucket
            .store
            .put_opts(&path, PutPayload::from_static(b"x"), options)
    };
    let absent = bucket.store.get(&path).await.unwrap_err();
    assert!(
        matches!(absent, object_store::Error::NotFound { .. }),
        "{absent:?}"
    );
    let exists = create().await.unwrap_err();
    assert!(
        matches!(exists, object_store::Error::AlreadyExists { .. }),
        "{exists:?}"
    );
    let conflict = create().await.unwrap_err();
    assert!(
        matches!(conflict, object_store::Error::AlreadyExists { .. }),
        "{conflict:?}"
    );
    let busy = bucket.store.get(&path).await.unwrap_err();
    assert!(
        busy.to_string().contains("SlowDown: [redacted], slow down"),
        "{busy}"
    );
    // the last one after the first try and its repetitions
    assert_eq!(server.seen().len(), 3 + 1 + Patience::Short.retry().max_retries);
    for error in [absent, exists, conflict, busy] {
        assert!(!texts(&error).contains("canary"), "{error:?}");
    }
}

#[test]
fn silence_is_told_by_its_kind() {
    use object_store::client::{HttpError, HttpErrorKind};
    let said = |kind| {
        let cause = std::io::Error::other("why");
        place().silence(&HttpError::new(kind, cause)).to_string()
    };
    assert_eq!(
        said(HttpErrorKind::Timeout),
        "bucket lake in us-east-1 did not answer in time"
    );
    assert_eq!(
        said(HttpErrorKind::Connect),
        "bucket lake in us-east-1 cannot be reached: why"
    );
    assert_eq!(
        said(HttpErrorKind::Interrupted),
        "the connection to bucket lake in us-east-1 broke: why"
    );
}

#[tokio::test]
async fn a_certificate_is_asked_for_where_the_spec_says_https() {
    let server = Server::start(&["HTTP/1.1 200 OK\r\n\r\n"]).await;
    let bucket = bucket(&format!("https://127.0.0.1:{}", server.port));
    let error = bucket.store.get(&Path::from("a")).await.unwrap_err();
    let known = S3Error::of(&error).unwrap();
    assert!(matches!(known, S3Error::Tls { .. }), "{error:?}");
    assert!(
        server.seen().iter().all(|head| !head.contains("AWS4")),
        "{:?}",
        server.seen()
    );
}

fn place() -> Arc<Place> {
    Arc::new(Place {
        bucket: "lake".to_owned(),
        endpoint: None,
        region: "us-east-1".to_owned(),
        credentials: "the environment".to_owned(),
        guessed_host: false,
        redactor: Redactor::new(),
    })
}

#[tokio::test]
async fn changed_keys_are_taken_after_a_while() {
    const AGE: Duration = Duration::from_secs(1);
    let secrets = Changing::new();
    let reference = spec("http://h").secret_ref().cloned().unwrap();
    let shared: Arc<dyn Secrets> = Arc::clone(&secrets) as Arc<dyn Secrets>;
    let credentials = SecretCredentials::new(shared, "default".to_owned(), reference, place()).fresh_for(AGE);
    let first = credentials.get_credential().await.unwrap();
    // a line feed at the end of a file is no part of a key
    assert_eq!(first.secret_key, "canary-secret");
    assert_eq!(first.token.as_deref(), Some("canary-token"));
    assert!(!format!("{credentials:?}").contains("canary"));

    secrets.set("secretAccessKey", "canary-new");
    assert_eq!(
        credentials.get_credential().await.unwrap().secret_key,
        "canary-secret"
    );
    tokio::time::sleep(AGE).await;
    assert_eq!(
        credentials.get_credential().await.unwrap().secret_key,
        "canary-new"
    );

    // who cannot say what the keys are does not take them away
    *secrets.broken.lock().unwrap() = true;
    tokio::time::sleep(AGE).await;
    assert_eq!(
        credentials.get_credential().await.unwrap().secret_key,
        "canary-new"
    );
    *secrets.broken.lock().unwrap() = false;
    secrets.values.lock().unwrap().remove("secretAccessKey");
    tokio::time::sleep(AGE).await;
    let error = credentials.get_credential().await.unwrap_err();
    let known = S3Error::of(&error).unwrap();
    assert!(
        known
            .to_string()
            .contains("secret keys has no key \"secretAccessKey\": add it"),
        "{known}"
    );
    assert_eq!(
        known.reason(),
        Some(lakegate_crds::conditions::Reason::SecretKeyMissing)
    );
}

fn ambient(variables: &[(&str, &str)]) -> AmbientCredentials {
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    AmbientCredentials::new(variables.into_iter(), ClientOptions::new(), place()).unwrap()
}

#[tokio::test]
async fn the_environment_gives_keys_and_nothing_else() {
    let credentials = ambient(&[
        ("AWS_ACCESS_KEY_ID", "canary-key"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
        ("AWS_SESSION_TOKEN", "canary-token"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_ENDPOINT_URL", "http://elsewhere"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
    ]);
    let found = credentials.get_credential().await.unwrap();
    assert_eq!(
        (found.key_id.as_str(), found.secret_key.as_str()),
        ("canary-key", "canary-secret")
    );
    assert_eq!(found.token.as_deref(), Some("canary-token"));
    assert!(!format!("{credentials:?}").contains("canary"));
}

#[tokio::test]
async fn a_container_and_an_instance_give_the_keys_of_their_role() {
    let keys = r#"{"AccessKeyId": "role-key", "SecretAccessKey": "canary-secret", "Token": "canary-token", "Expiration": "2099-01-01T00:00:00Z"}"#;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "canary-of-the-pod").unwrap();
    let server = Server::start(&[&answer("200 OK", "", keys)]).await;
    let credentials = ambient(&[
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("{}/v1/credentials", server.url()),
        ),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
    ]);
    assert_eq!(credentials.get_credential().await.unwrap().key_id, "role-key");
    let head = server.seen().remove(0).to_lowercase();
    assert!(head.contains("authorization: canary-of-the-pod"), "{head}");

    let server = Server::start(&[
        &answer("200 OK", "", "session"),
        &answer("200 OK", "", "lakegate"),
        &answer("200 OK", "", keys),
    ])
    .await;
    let credentials = ambient(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server.url())]);
    assert_eq!(credentials.get_credential().await.unwrap().key_id, "role-key");
    let seen = server.seen();
    assert!(seen[2].contains("security-credentials/lakegate "), "{seen:?}");
    // kept until they end
    credentials.get_credential().await.unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn an_environment_without_keys_says_what_it_needs() {
    let server = Server::start(&[&answer("404 Not Found", "", "")]).await;
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let refused = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    for endpoint in [server.url(), refused] {
        let credentials = ambient(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)]);
        let error = credentials.get_credential().await.unwrap_err();
        let known = S3Error::of(&error).unwrap();
        assert!(matches!(known, S3Error::NoCredentials { .. }), "{error:?}");
        assert!(known.to_string().contains("set credentials.secretRef"), "{known}");
    }
}

/// The reply of the token service when it does not trust the role.
#[tokio::test]
async fn a_web_identity_needs_tls_and_its_token_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "canary-identity").unwrap();
    let server = Server::start(&[&answer("403 Forbidden", "", "")]).await;
    let credentials = ambient(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/lakegate"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_STS", &server.url()),
    ]);
    let error = credentials.get_credential().await.unwrap_err();
    let known = S3Error::of(&error).unwrap();
    assert!(matches!(known, S3Error::NoCredentials { .. }), "{error:?}");
    assert!(!texts(&error).contains("canary"), "{error:?}");
    assert!(server.seen().is_empty(), "the token went over plain HTTP");
}

#[test]
fn endpoints_are_bare() {
    assert_eq!(
        endpoint("http://127.0.0.1:9000").unwrap().as_str(),
        "http://127.0.0.1:9000/"
    );
    for (text, part) in [
        ("https://ana:canary@host", "user or password"),
        ("https://host/?x=1", "end with"),
        ("https://", "no URL"),
        ("ftp://host", "ftp is not served"),
    ] {
        let message = endpoint(text).unwrap_err();
        assert!(message.contains(part) && !message.contains("canary"), "{message}");
    }
}

#[test]
fn the_bucket_goes_before_a_name_but_not_before_an_address() {
    let host = |text: &str| host_of("lake", Url::parse(text).unwrap()).map(String::from);
    assert_eq!(
        host("https://s3.example.com:8443/x").as_deref(),
        Some("https://lake.s3.example.com:8443/x")
    );
    assert_eq!(host("http://127.0.0.1:9000"), None);
}
