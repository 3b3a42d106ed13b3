//! What can go wrong with a call, classified once. Pure.
//!
//! Neon's status codes are overloaded (422 means a plan's limit, a protected branch, children in the way or a branch
//! that is not ready yet) and most errors carry no code, so the message is part of the contract.

use std::time::Duration;

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
    /// A value that Neon does not accept (400, 406, 412 and every other 4xx). Terminal until the spec changes.
    Rejected,
    /// Not ready yet (404 or 422 shortly after creation). Passes by itself.
    NotReady,
    /// Neon failed (5xx). A mutation may have happened.
    Server,
    /// No answer came: connection refused or broken, time-out, unreadable body. A mutation may have happened.
    Lost,
}

/// A failed call. Its text holds Neon's own words and never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Neon: {message}{}", request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default())]
pub struct Error {
    /// What it means.
    pub kind: ErrorKind,
    /// HTTP status, where an answer came.
    pub status: Option<u16>,
    /// Neon's words, or what the connection said.
    pub message: String,
    /// Neon's id of the request, for its support.
    pub request_id: Option<String>,
    /// How long Neon asked to wait.
    pub retry_after: Option<Duration>,
}
