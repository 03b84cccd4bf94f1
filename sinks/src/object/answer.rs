//! What an answer of object storage, or its absence, means: the one place that decides between
//! "certainly not" and "perhaps".
//!
//! `object_store` puts most statuses into one error, so this looks at each response before it does:
//! what is no success becomes an error that carries its status and S3's own code, and is found again
//! in the chain of the error that the call ends with. An error without such an answer in it, such as
//! a connection that broke, a time-out, or a success that could not be read, is open. So is a
//! connection that was refused: nothing was sent then, but asking again is all there is to do.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use thiserror::Error;

/// How a call did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no such object.
    NotThere(io::Error),
    /// The condition of the request does not hold: the object is there.
    IsThere(io::Error),
    /// Nothing that settles it was answered.
    Open(io::Error),
    /// It was refused: nothing happened.
    Refused {
        /// What the operator can do.
        advice: &'static str,
        /// What the storage said.
        source: io::Error,
    },
}

/// Waits for a call, but not for ever. A request that was given up may still be carried out.
pub(super) async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(limit, call).await {
        Ok(outcome) => outcome.map_err(trouble),
        Err(_) => {
            let what = format!("no answer in {limit:?}");
            Err(Trouble::Open(io::Error::new(io::ErrorKind::TimedOut, what)))
        }
    }
}

fn trouble(error: object_store::Error) -> Trouble {
    let mut link: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(cause) = link {
        if let Some(answer) = cause.downcast_ref::<Answer>() {
            return answer.clone().trouble();
        }
        link = cause.source();
    }
    Trouble::Open(io::Error::other(error))
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the storage answered {status}{separator}{code}{message}",
        separator = if code.is_empty() { "" } else { " " })]
struct Answer {
    status: u16,
    /// S3's name of the error; empty where there is none, as after a HEAD.
    code: String,
    /// What it says, behind a colon; empty where there is nothing.
    message: String,
}

impl Answer {
    fn new(status: u16, body: &[u8]) -> Answer {
        let body = String::from_utf8_lossy(body);
        let message = match element(&body, "Message") {
            "" => String::new(),
            text => format!(": {}", text.chars().take(300).collect::<String>()),
        };
        Answer { status, code: element(&body, "Code").to_owned(), message }
    }

    fn trouble(self) -> Trouble {
        let refused = |advice| Some(advice);
        let advice = match (self.status, self.code.as_str()) {
            (_, "NoSuchBucket") => refused(
                "there is no such bucket; create it, or correct the store, endpoint or region",
            ),
            // The request did not arrive whole. A second one may.
            (_, "RequestTimeout" | "IncompleteBody" | "BadDigest")
            | (_, "XAmzContentSHA256Mismatch" | "SlowDown") => None,
            // A 409 says that another request for the object is under way. Neither may succeed, so
            // it does not say that the object is there; reading will tell, or a second attempt.
            (408 | 409 | 425 | 429, _) => None,
            (501, _) => refused(
                "the storage lacks a function that trueup needs, perhaps conditional writes; use \
                 another",
            ),
            (500.., _) => None,
            // Without a code it is the answer to a HEAD. A 404 for another reason, as some storage
            // gives for an unknown key of access, does not say that the object is not there.
            (404, "" | "NoSuchKey" | "NotFound") => {
                return Trouble::NotThere(io::Error::other(self));
            }
            (304 | 412, _) => return Trouble::IsThere(io::Error::other(self)),
            (300..=399, _) | (_, "AuthorizationHeaderMalformed") => refused(
                "the bucket seems to be in another region, or at another endpoint; set region or \
                 endpoint in [store_options], or AWS_REGION or AWS_ENDPOINT_URL",
            ),
            (_, "ExpiredToken" | "TokenRefreshRequired") => {
                refused("the credentials have expired; renew them and start again")
            }
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken")
            | (_, "XAdminUserNotFound")
            | (401, _) => refused(
                "the storage does not accept the credentials; set AWS_ACCESS_KEY_ID and \
                     AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN) to ones that are valid",
            ),
            (_, "RequestTimeTooSkewed") => refused("the clock of this machine is wrong; set it"),
            (403, _) => refused(
                "access denied; allow s3:ListBucket on the bucket, and s3:GetObject and \
                 s3:PutObject on the prefix",
            ),
            _ => refused("see the cause; start again once it is gone"),
        };
        let source = io::Error::other(self);
        match advice {
            Some(advice) => Trouble::Refused { advice, source },
            None => Trouble::Open(source),
        }
    }
}

/// Returns the text of the first element of a name. S3's errors are flat, and this only explains.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let inner = xml.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
    inner.and_then(|rest| rest.split_once("</")).map_or("", |(text, _)| text)
}

/// Makes clients that look at each response.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Looking { inner }))
    }
}

#[derive(Debug)]
struct Looking {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Looking {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.inner.execute(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        // The status alone decides but for few codes, so a body that is lost is taken as empty.
        let body = response.into_body().bytes().await.unwrap_or_default();
        Err(HttpError::new(HttpErrorKind::Unknown, Answer::new(status, &body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row: status, code, and what it must mean.
    #[test]
    fn answers_have_one_meaning() {
        let rows = [
            (404, "NoSuchKey", "not there"),
            (404, "", "not there"),
            (404, "NoSuchBucket", "refused: there is no such bucket"),
            (412, "PreconditionFailed", "is there"),
            (304, "", "is there"),
            (409, "ConditionalRequestConflict", "open"),
            (400, "RequestTimeout", "open"),
            (400, "BadDigest", "open"),
            (408, "", "open"),
            (429, "", "open"),
            (500, "InternalError", "open"),
            (503, "SlowDown", "open"),
            (504, "", "open"),
            (501, "NotImplemented", "refused: the storage lacks"),
            (301, "PermanentRedirect", "refused: the bucket seems to be in another region"),
            (400, "AuthorizationHeaderMalformed", "refused: the bucket seems"),
            (400, "ExpiredToken", "refused: the credentials have expired"),
            (403, "InvalidAccessKeyId", "refused: the storage does not accept"),
            (404, "XAdminUserNotFound", "refused: the storage does not accept"),
            (404, "NoSuchUpload", "refused: see the cause"),
            (403, "SignatureDoesNotMatch", "refused: the storage does not accept"),
            (403, "RequestTimeTooSkewed", "refused: the clock"),
            (403, "AccessDenied", "refused: access denied"),
            (403, "", "refused: access denied"),
            (400, "EntityTooLarge", "refused: see the cause"),
        ];
        for (status, code, expected) in rows {
            let body = format!("<?xml?><Error><Code>{code}</Code><Message>m</Message></Error>");
            let meaning = match Answer::new(status, body.as_bytes()).trouble() {
                Trouble::NotThere(_) => "not there".to_owned(),
                Trouble::IsThere(_) => "is there".to_owned(),
                Trouble::Open(_) => "open".to_owned(),
                Trouble::Refused { advice, .. } => format!("refused: {advice}"),
            };
            assert!(meaning.starts_with(expected), "{status} {code}: {meaning}");
        }
    }

    #[test]
    fn an_answer_is_found_in_the_chain_and_reads_well() {
        let body = b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>";
        let answer = Answer::new(403, body);
        assert_eq!(answer.to_string(), "the storage answered 403 AccessDenied: Access Denied.");
        assert_eq!(Answer::new(502, b"<html>").to_string(), "the storage answered 502");
        let http = HttpError::new(HttpErrorKind::Unknown, answer);
        let error = object_store::Error::Generic { store: "S3", source: Box::new(http) };
        assert!(matches!(trouble(error), Trouble::Refused { .. }));
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        let http = HttpError::new(HttpErrorKind::Interrupted, broken);
        let error = object_store::Error::Generic { store: "S3", source: Box::new(http) };
        assert!(matches!(trouble(error), Trouble::Open(_)));
        let unread = object_store::Error::Generic { store: "S3", source: "no ETag".into() };
        assert!(matches!(trouble(unread), Trouble::Open(_)));
    }
}
