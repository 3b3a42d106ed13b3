//! What can go wrong with a call, classified once. Pure.
//!
//! Neon's status codes are overloaded (422 means a plan's limit, a protected branch, children in the way or a branch
//! that is not ready yet) and most errors carry no code, so the message is part of the contract.

use std::time::Duration;

use serde::Deserialize;

use super::Limit;
use super::redact::redact;

/// What a failed call means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The key is refused (401) or may not do this (403). Terminal until the Secret changes.
    Denied,
    /// The thing named does not exist (404).
    NotFound,
    /// The name is taken (409).
    Conflict,
    /// The project has running operations (423). Nothing was done; safe to repeat.
    Locked,
    /// Too many requests (429). Nothing was done.
    RateLimited,
    /// The branch is protected (422).
    Protected,
    /// The branch has children (422).
    HasChildren,
    /// A limit of the plan is reached (402, 422 with a limit code). Waits for room.
    Limit,
    /// The project stores no passwords, so there is none to be told (412). Decided when the project was made.
    PasswordsNotStored,
    /// A value that Neon does not accept (400, 406, an unknown 422 and every other 4xx), or a redirect.
    /// Terminal until the spec changes.
    Rejected,
    /// Not ready yet (422 shortly after creation). Passes by itself. Neon may also answer 404 then, which alone
    /// does not tell: that is [`ErrorKind::NotFound`].
    NotReady,
    /// Neon failed (5xx, 408). A mutation may have happened.
    Server,
    /// No answer came: connection refused or broken, time-out, unreadable body. A mutation may have happened.
    Lost,
}

/// A failed call. Its text holds Neon's own words and never a secret. The id of the request is not in it: the same
/// failure has the same text, so that a condition that shows it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Neon: {message}")]
pub struct Error {
    /// What it means.
    pub kind: ErrorKind,
    /// Which limit is reached, where it means that.
    pub limit: Option<Limit>,
    /// HTTP status, where an answer came.
    pub status: Option<u16>,
    /// Neon's words, or what the connection said.
    pub message: String,
    /// Neon's id of the request, for its support.
    pub request_id: Option<String>,
    /// How long Neon asked to wait.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// No answer came, or none that could be read.
    pub(super) fn lost(message: impl Into<String>) -> Self {
        Self::without_answer(ErrorKind::Lost, message)
    }

    /// The call was not made at all.
    pub(super) fn without_answer(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            limit: None,
            status: None,
            message: message.into(),
            request_id: None,
            retry_after: None,
        }
    }

    /// What an answer other than success means. `key` is taken out of the text, should Neon repeat it.
    pub(super) fn from_answer(status: u16, body: &[u8], key: &str) -> Self {
        // A gateway in between answers with a page of its own.
        let body = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default();
        let message = match body.message.trim() {
            "" => format!("status {status} without an explanation"),
            message => shown(message, key),
        };
        let kind = classify(status, &body.code, &body.message);
        let limit = || Limit::of(&body.code, &body.message);
        Self {
            kind,
            limit: (kind == ErrorKind::Limit).then(limit),
            status: Some(status),
            message,
            request_id: body.request_id,
            retry_after: None,
        }
    }
}

/// Neon's body of every error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    request_id: Option<String>,
    code: String,
    message: String,
}

/// A condition's message has room for so many characters of Neon's.
const LONGEST_MESSAGE: usize = 1000;

/// Words of Neon's as they may be shown.
pub(super) fn shown(text: &str, key: &str) -> String {
    redact(text, key).chars().take(LONGEST_MESSAGE).collect()
}

/// The one table: what a status, a code and a message mean together.
///
/// A code names a limit whatever the status. The other meanings of 422 come with an empty code and are told by the
/// message alone; one that is not known is `Rejected`, for only 204 and 404 say that something is gone.
pub(super) fn classify(status: u16, code: &str, message: &str) -> ErrorKind {
    let message = message.to_ascii_lowercase();
    let says = |words: &str| message.contains(words);
    match status {
        401 => ErrorKind::Denied,
        423 => ErrorKind::Locked,
        429 => ErrorKind::RateLimited,
        408 | 500.. => ErrorKind::Server,
        402 => ErrorKind::Limit,
        _ if names_size(code) => ErrorKind::Rejected,
        _ if names_limit(code) => ErrorKind::Limit,
        403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        412 => ErrorKind::PasswordsNotStored,
        422 if says("not ready") => ErrorKind::NotReady,
        422 if says("protected branch") || says("branch is protected") => ErrorKind::Protected,
        422 if says("has children") => ErrorKind::HasChildren,
        422 if speaks_of_a_limit(&message) && says("exceed") => ErrorKind::Limit,
        _ => ErrorKind::Rejected,
    }
}

/// `BRANCHES_LIMIT_EXCEEDED`, `BRANCH_SIZE_LIMIT_EXCEEDED_THRESHOLD`, `COMPUTE_TIME_EXCEEDED` and their like.
fn names_limit(code: &str) -> bool {
    code.contains("LIMIT_EXCEEDED") || code.ends_with("_EXCEEDED")
}

/// A size of a compute: a value that the plan does not have, whatever becomes free.
fn names_size(code: &str) -> bool {
    let parts = code.split('_');
    parts
        .into_iter()
        .any(|part| matches!(part, "CU" | "UNITS" | "AUTOSCALING"))
}

/// The word, and not the name of a field such as `autoscaling_limit_max_cu`, whose value does not fit.
fn speaks_of_a_limit(message: &str) -> bool {
    let mut words = message.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| matches!(word, "limit" | "limits"))
}

#[cfg(test)]
mod tests {
    use super::ErrorKind::{
        Conflict, Denied, HasChildren, Limit, Locked, NotFound, NotReady, PasswordsNotStored,
        Protected, RateLimited, Rejected, Server,
    };
    use super::*;

    /// What has been seen of Neon, row by row.
    const SEEN: &[(u16, &str, &str, ErrorKind)] = &[
        (
            400,
            "",
            r#"requested history retention seconds exceeds allowed maximum; requested_history_retention_seconds:"604800", max:"86400""#,
            Rejected,
        ),
        (401, "", "authorization required", Denied),
        (403, "", "not allowed for project-scoped key", Denied),
        (
            402,
            "",
            "exceeded the limit of concurrently active endpoints",
            Limit,
        ),
        (404, "", "branch not found", NotFound),
        (406, "", "endpoint is disabled", Rejected),
        (
            409,
            "",
            "branch with the provided name already exists",
            Conflict,
        ),
        (
            409,
            "",
            "database with name \"app\" already exists",
            Conflict,
        ),
        (409, "", "read_write endpoint already exists", Conflict),
        (
            412,
            "",
            "project does not store passwords",
            PasswordsNotStored,
        ),
        (
            422,
            "PROJECTS_LIMIT_EXCEEDED",
            "projects limit exceeded",
            Limit,
        ),
        (422, "BRANCHES_LIMIT_EXCEEDED", "", Limit),
        (422, "ROOT_BRANCHES_LIMIT_EXCEEDED", "", Limit),
        (422, "BRANCHES_PROTECTED_LIMIT_EXCEEDED", "", Limit),
        (422, "ACTIVE_ENDPOINTS_LIMIT_EXCEEDED", "", Limit),
        (422, "ENDPOINTS_LIMIT_EXCEEDED", "", Limit),
        (422, "BRANCH_SIZE_LIMIT_EXCEEDED_THRESHOLD", "", Limit),
        (422, "COMPUTE_TIME_EXCEEDED", "", Limit),
        (422, "DATA_TRANSFER_LIMIT_EXCEEDED", "", Limit),
        (422, "ROLES_LIMIT_EXCEEDED", "", Limit),
        (422, "DATABASES_LIMIT_EXCEEDED", "", Limit),
        (422, "NON_PRIMARY_BRANCH_COMPUTE_TIME_EXCEEDED", "", Limit),
        (403, "BRANCHES_LIMIT_EXCEEDED", "", Limit),
        (422, "AUTOSCALING_LIMIT_MAX_CU_EXCEEDED", "", Rejected),
        (422, "", "branches limit exceeded", Limit),
        (
            422,
            "",
            "autoscaling_limit_max_cu exceeds the maximum of 2 compute units of your plan",
            Rejected,
        ),
        (422, "", "cannot delete protected branch", Protected),
        (422, "", "cannot reset protected branch", Protected),
        (
            422,
            "",
            "cannot delete branch that has children: br-a-1, br-b-2",
            HasChildren,
        ),
        (
            422,
            "",
            "Branch has children, preserve_under_name is required",
            HasChildren,
        ),
        (422, "", "branch not ready yet", NotReady),
        (422, "", "something nobody has seen before", Rejected),
        (422, "", "", Rejected),
        (
            423,
            "",
            "project already has running conflicting operations, scheduling of new ones is prohibited",
            Locked,
        ),
        (
            423,
            "",
            "endpoint is in some transitive state, could not suspend",
            Locked,
        ),
        (429, "", "too many requests", RateLimited),
        (429, "RATE_LIMIT_EXCEEDED", "", RateLimited),
        (408, "", "", Server),
        (500, "", "internal server error", Server),
        (502, "", "", Server),
        (503, "", "", Server),
        (503, "BRANCHES_LIMIT_EXCEEDED", "", Server),
        (504, "", "", Server),
        (524, "", "", Server),
        (418, "", "a status nobody has seen before", Rejected),
        (301, "", "", Rejected),
    ];

    #[test]
    fn every_answer_seen_has_its_meaning() {
        for (status, code, message, expected) in SEEN {
            assert_eq!(
                classify(*status, code, message),
                *expected,
                "{status} {code} {message}"
            );
        }
    }

    #[test]
    fn an_answer_about_a_limit_says_which() {
        let body = br#"{"code":"BRANCHES_PROTECTED_LIMIT_EXCEEDED","message":""}"#;
        let error = Error::from_answer(422, body, "");
        assert_eq!(error.limit, Some(super::Limit::ProtectedBranches));
        assert_eq!(Error::from_answer(404, b"", "").limit, None);
    }

    #[test]
    fn neons_words_and_its_id_of_the_request_are_kept() {
        let body = br#"{"request_id":"r-1","code":"","message":"branch not found","more":{}}"#;
        let error = Error::from_answer(404, body, "");
        assert_eq!(error.to_string(), "Neon: branch not found");
        assert_eq!(error.request_id.as_deref(), Some("r-1"));
    }

    #[test]
    fn a_gateways_page_is_not_shown() {
        let error = Error::from_answer(524, b"<html><body>A timeout occurred</body></html>", "");
        assert_eq!(error.kind, Server);
        assert_eq!(error.message, "status 524 without an explanation");
        assert_eq!(Error::from_answer(404, b"", "").kind, NotFound);
    }

    #[test]
    fn neither_key_nor_password_is_ever_shown() {
        let key = "napi_0123456789abcdef";
        let body = br#"{"message":"key napi_0123456789abcdef, password npg_Zz9, uri postgres://a:pw1@h/d"}"#;
        let error = Error::from_answer(400, body, key);
        let shown = format!("{error} {error:?}");
        for secret in ["0123456789abcdef", "Zz9", "pw1"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn a_message_of_any_length_fits() {
        let body = format!(r#"{{"message":"{}"}}"#, "ü".repeat(5000));
        let error = Error::from_answer(400, body.as_bytes(), "");
        assert_eq!(error.message.chars().count(), 1000);
    }
}
