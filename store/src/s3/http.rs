//! Failed answers turned into [`S3Error`] where they come in, before anything keeps or prints them: stores repeat
//! keys, session tokens and the text that was signed in the bodies of their errors.

use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use super::error::{Answer, Place};

/// More than any error document has.
const LONGEST_ERROR: usize = 64 * 1024;
/// Of a message; the rest is left out.
const LONGEST_MESSAGE: usize = 300;

/// Makes clients that explain failures.
#[derive(Debug)]
pub(super) struct Connector {
    place: Arc<Place>,
}

impl Connector {
    pub fn new(place: Arc<Place>) -> Self {
        Self { place }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Explaining {
            inner: ReqwestConnector::default().connect(options)?,
            place: Arc::clone(&self.place),
        }))
    }
}

#[derive(Debug)]
struct Explaining {
    inner: HttpClient,
    place: Arc<Place>,
}

#[async_trait]
impl HttpService for Explaining {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self
            .inner
            .execute(request)
            .await
            // the kind stays: it decides what may be repeated
            .map_err(|error| HttpError::new(error.kind(), self.place.silence(&error)))?;
        let status = response.status();
        if status.is_success() || status.is_informational() || status.as_u16() == 304 {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let mut document = Vec::new();
        let mut stream = body.bytes_stream();
        while document.len() < LONGEST_ERROR
            // an error document that breaks off explains nothing, and the status is known
            && let Ok(Some(part)) = stream.try_next().await
        {
            document.extend_from_slice(&part);
        }
        let document = String::from_utf8_lossy(&document);
        let header = |name: &str| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        let answer = Answer {
            status: status.as_u16(),
            code: element(&document, "Code"),
            message: element(&document, "Message"),
            region: header("x-amz-bucket-region").or_else(|| element(&document, "Region")),
        };
        let code = answer.code.as_deref().unwrap_or_default();
        match answer.status {
            // Those that object_store gives a meaning: an absent object, one that is there, a lost condition.
            404 if code != "NoSuchBucket" => {}
            409 | 412 => {}
            // Those that it repeats.
            408 | 429 | 500 | 502..=506 | 508..=599 => {}
            // S3 gave up waiting for the body: nothing happened.
            400 if code == "RequestTimeout" => {
                return Err(HttpError::new(
                    HttpErrorKind::Timeout,
                    self.place.failure(&answer),
                ));
            }
            _ => {
                return Err(HttpError::new(
                    HttpErrorKind::Unknown,
                    self.place.failure(&answer),
                ));
            }
        }
        let said = answer.said(&self.place);
        Ok(HttpResponse::from_parts(parts, said.into()))
    }
}

/// The text of the first element of a name in an XML document. Error documents are flat, so that this is all of XML
/// they need.
fn element(document: &str, name: &str) -> Option<String> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text: String = unescaped(text)
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(LONGEST_MESSAGE)
        .collect();
    Some(text).filter(|text| !text.trim().is_empty())
}

/// Text with the references of XML replaced: `&quot;`, `&#34;`.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let reference = after.split_once(';').and_then(|(name, after)| {
            let character = match name {
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                "amp" => '&',
                _ => {
                    let number = name.strip_prefix('#')?;
                    let number = match number.strip_prefix('x') {
                        Some(digits) => u32::from_str_radix(digits, 16),
                        None => number.parse(),
                    };
                    char::from_u32(number.ok()?)?
                }
            };
            Some((character, after))
        });
        if let Some((character, after)) = reference {
            plain.push(character);
            rest = after;
        } else {
            plain.push('&');
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_error_documents() {
        let document = "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>no &quot;right&#34;\n&amp; no &#x77;ay &c</Message><Region/></Error>";
        assert_eq!(element(document, "Code").as_deref(), Some("AccessDenied"));
        assert_eq!(
            element(document, "Message").as_deref(),
            Some("no \"right\" & no way &c")
        );
        assert_eq!(element(document, "Region"), None);
        assert_eq!(element("<Code>cut off", "Code"), None);
        assert_eq!(element("<html>busy</html>", "Code"), None);
    }
}
