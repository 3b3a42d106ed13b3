//! What can go wrong with a call to the API server, classified once. Pure.
//!
//! Texts hold the server's words and never the contents of an object: a decoding error quotes the value it stumbled
//! over, and that may be a Secret's, so only its position is kept.

use kube::core::Status;

/// How server-side apply begins its answer to a body that does not fit the schema.
const NOT_IN_SCHEMA: &str = "failed to create typed patch object";

/// The answer of a call to the API server.
pub type Result<T> = std::result::Result<T, Error>;

/// What a failed call means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The object, its namespace or its kind does not exist (404).
    NotFound,
    /// The object is no longer what the caller saw (409, a failed precondition), or its namespace is going. Look again.
    Conflict,
    /// The operator's account may not do this (401, 403).
    Denied,
    /// The server will never accept this request (400, 422 and every other 4xx), or the object cannot be decoded.
    Invalid,
    /// No usable answer: no connection, time-out, 429, 5xx. A write may have happened.
    Unavailable,
}

/// A failed call. Its text never holds contents of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("API server: {message}")]
pub struct Error {
    /// What it means.
    pub kind: ErrorKind,
    /// The server's words, or what the connection said.
    pub message: String,
}

impl Error {
    /// An error of `kind` with `message`.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The same error, saying what was being done.
    #[must_use]
    pub(super) fn during(self, what: impl std::fmt::Display) -> Self {
        Self {
            message: format!("{what}: {}", self.message),
            ..self
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        if let kube::Error::Api(status) = &error {
            return Self::from(status.as_ref());
        }
        if let kube::Error::SerdeError(error) = &error {
            return undecodable(error);
        }
        if let kube::Error::BuildRequest(error) = &error {
            return Self::new(ErrorKind::Invalid, chain(error));
        }
        Self::new(ErrorKind::Unavailable, chain(&error))
    }
}

impl From<&Status> for Error {
    fn from(status: &Status) -> Self {
        let message = if status.message.is_empty() {
            format!("{} {}", status.code, status.reason)
        } else {
            status.message.clone()
        };
        Self::new(kind_of(status), message)
    }
}

fn kind_of(status: &Status) -> ErrorKind {
    match status.code {
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        // Creating something in a namespace that is being deleted: not a missing right, the world has changed.
        403 if has_cause(status, "NamespaceTerminating") => ErrorKind::Conflict,
        401 | 403 => ErrorKind::Denied,
        // 410 is a resource version that is too old, 408 and 429 ask to come again.
        408 | 410 | 429 => ErrorKind::Unavailable,
        // A uid was given and the object of that name is another one.
        422 if has_cause_at(status, "metadata.uid") => ErrorKind::Conflict,
        400..=499 => ErrorKind::Invalid,
        // What server-side apply says, as an internal error, of fields that the installed CRD does not have or types
        // otherwise: an operator newer than its CRDs. Waiting does not help.
        500 if status.message.contains(NOT_IN_SCHEMA) => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    }
}

fn has_cause(status: &Status, reason: &str) -> bool {
    status
        .details
        .as_ref()
        .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == reason))
}

fn has_cause_at(status: &Status, field: &str) -> bool {
    status
        .details
        .as_ref()
        .is_some_and(|details| details.causes.iter().any(|cause| cause.field == field))
}

/// An answer that does not decode: cut short on its way, or of another shape than expected.
fn undecodable(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    if error.is_io() || error.is_eof() {
        Error::new(
            ErrorKind::Unavailable,
            format!("the answer ended early (line {line}, column {column})"),
        )
    } else {
        Error::new(
            ErrorKind::Invalid,
            format!("the answer could not be decoded (line {line}, column {column})"),
        )
    }
}

/// The error with its causes, each said once: hyper and tower repeat what their source says.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, reason: &str) -> Status {
        Status::failure("what the server says", reason).with_code(code)
    }

    #[test]
    fn status_codes_have_one_meaning_each() {
        for (code, kind) in [
            (400, ErrorKind::Invalid),
            (401, ErrorKind::Denied),
            (403, ErrorKind::Denied),
            (404, ErrorKind::NotFound),
            (408, ErrorKind::Unavailable),
            (409, ErrorKind::Conflict),
            (410, ErrorKind::Unavailable),
            (413, ErrorKind::Invalid),
            (422, ErrorKind::Invalid),
            (429, ErrorKind::Unavailable),
            (500, ErrorKind::Unavailable),
            (503, ErrorKind::Unavailable),
            (504, ErrorKind::Unavailable),
        ] {
            let error = Error::from(kube::Error::Api(api(code, "").boxed()));
            assert_eq!((code, error.kind), (code, kind));
            assert_eq!(error.to_string(), "API server: what the server says");
        }
    }

    #[test]
    fn a_namespace_that_is_going_is_not_a_missing_right() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "code": 403, "reason": "Forbidden", "message": "because it is being terminated",
            "details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]},
        }))
        .unwrap();
        assert_eq!(Error::from(&status).kind, ErrorKind::Conflict);
    }

    #[test]
    fn a_decoding_error_never_quotes_the_value() {
        let wrong = serde_json::from_str::<Vec<u8>>(r#"["hunter2"]"#).unwrap_err();
        assert!(wrong.to_string().contains("hunter2"));
        let error = Error::from(kube::Error::SerdeError(wrong));
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn an_answer_cut_short_may_be_asked_for_again() {
        let cut = serde_json::from_str::<Vec<u8>>("[1,").unwrap_err();
        assert_eq!(
            Error::from(kube::Error::SerdeError(cut)).kind,
            ErrorKind::Unavailable
        );
    }
}
